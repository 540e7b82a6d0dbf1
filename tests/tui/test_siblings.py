from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from critictui.tui.siblings import told_apart

SFT = [
    f"gsm8k-{rest}-pad-no_padding-use_remove_padding-True-mode-spmd.jsonl"
    for rest in (
        "fsdp-fsdp-sp1-fsdp1", "torchtitan-tp1-pp1-cp1-dp1", "torchtitan-tp1-pp1-cp1-dp2", "torchtitan-tp2-pp1-cp1-dp2"
    )
]  # fmt: skip


def test_names_that_differ_in_the_middle_lose_what_they_have_in_common() -> None:
    cut = told_apart(SFT, 40)
    assert len(set(cut)) == 4
    assert "tp1-pp1-cp1-dp2" in cut[2]
    assert all(name.startswith("gsm8k-") and "…" in name for name in cut)


def test_a_name_that_fits_stays_as_it_is() -> None:
    assert told_apart(["a", "b"], 10) == ["a", "b"]
    assert told_apart([SFT[0]], 200) == [SFT[0]]
    assert told_apart([SFT[0]], 20) == ["gsm8k-fsd…spmd.jsonl"]


def test_where_even_the_difference_does_not_fit_its_ends_are_shown() -> None:
    cut = told_apart(SFT, 16)
    assert all(len(name) <= 16 for name in cut)
    assert len(set(cut)) == 4


@given(st.lists(st.text("ab-_/x1", max_size=40), max_size=5), st.integers(0, 50))
def test_no_name_is_wider_than_its_column(names: list[str], width: int) -> None:
    assert all(len(name) <= width for name in told_apart(names, width, "~"))
