"""Numerals: what trainers print is read, what merely looks like a number is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critictui.run.numeral import number, step_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5), ("-3", -3.0), ("1e-05", 1e-5), (".5", 0.5), ("1.", 1.0), ("+2E+3", 2000.0), ("-inf", -math.inf),
        ("np.float64(0.5)", 0.5), ("np.int64(3)", 3.0), ("np.float32(-1e-07)", -1e-7), ("numpy.float64(inf)", math.inf),
        ("tensor(0.3, device='cuda:0')", 0.3), ("tensor(1.)", 1.0), ("tensor(0.3, grad_fn=<MeanBackward0>)", 0.3),
        ("array(0.25, dtype=float32)", 0.25), ("tensor(0.3, device='cuda:0', dtype=torch.bfloat16)", 0.3),
    ],
)  # fmt: skip
@pytest.mark.fault("L03")
def test_what_trainers_print_is_read(text: str, value: float) -> None:
    assert number(text.encode()) == value


@pytest.mark.parametrize("text", ["nan", "NaN", "np.float64(nan)", "tensor(nan, device='cuda:0')"])
@pytest.mark.fault("L03")
def test_nan_is_a_number_that_was_written(text: str) -> None:
    found = number(text.encode())
    assert found is not None
    assert math.isnan(found)


@pytest.mark.parametrize(
    "text",
    ["1_000", "٣", "１.５", "1,234.5", "None", "True", "0x10", "--", "-", "", ".", "5%", "1e", "1.2.3", "tensor([0.3])",
     "np.float64()", "np.float64(0.5", "eval(1)", "1" * 401, "1e400", "infinite", " 1", "0.5(WorkerDict"],
)  # fmt: skip
@pytest.mark.fault("L03")
def test_what_only_looks_like_a_number_is_refused(text: str) -> None:
    assert number(text.encode()) is None


@given(st.floats(allow_nan=False))
@pytest.mark.fault("L03")
def test_every_float_comes_back_as_it_was_printed(value: float) -> None:
    for text in (repr(value), f"np.float64({value!r})", f"tensor({value!r}, device='cuda:0')"):
        assert number(text.encode()) == value


@given(st.binary(max_size=30))
@pytest.mark.fault("L03")
def test_any_bytes_are_a_number_or_none(text: bytes) -> None:
    found = number(text)
    assert found is None or isinstance(found, float)


@pytest.mark.parametrize(
    ("value", "step"),
    [
        (3, 3),
        (3.0, 3),
        (3.5, None),
        (True, None),
        ("3", None),
        (math.nan, None),
        (1 << 63, None),
        (-1, -1),
        (None, None),
    ],
)
def test_a_step_is_a_whole_number_of_64_bits(value: object, step: int | None) -> None:
    assert step_number(value) == step
