"""A fixed set is read in every form, and no row that is in doubt is used or goes unmentioned."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critictui.scoring import read_set
from critictui.scoring.fixed_set import FixedPrompt, Message, Response
from critictui.scoring.read_set import look_at_set, read_fixed_set
from critictui.scoring.recipe import ScoringError
from critictui.scoring.source_data import read_source
from critictui.scoring.write_set import SetWriter, prompt_to_json

ROWS = [
    {"prompt": "p1", "teacher_response": "t1", "student_response": "s1"},
    {"prompt": "p1", "teacher_response": "t1", "student_response": "s2"},
    {"prompt": "p2", "teacher_response": "t2", "student_response": "s3"},
]


def lines(path: Path, rows: list[Any], *, end: str = "\n") -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + end, encoding="utf-8")
    return path


def shape(path: Path, **options: Any) -> list[tuple[object, str, list[str]]]:
    found = read_fixed_set(path, **options)
    return [(p.prompt, p.teacher.text, [s.text for s in p.students]) for p in found.prompts]


EXPECTED = [("p1", "t1", ["s1", "s2"]), ("p2", "t2", ["s3"])]


def test_rows_of_one_prompt_are_its_students_in_jsonl_and_parquet_and_pt(tmp_path: Path) -> None:
    import pandas

    torch = pytest.importorskip("torch", reason="needs the extra [score]")
    from critictui.worker.read_pt import load_pt

    pandas.DataFrame(ROWS).to_parquet(tmp_path / "set.parquet")
    torch.save(ROWS, tmp_path / "set.pt")
    assert shape(lines(tmp_path / "set.jsonl", ROWS)) == EXPECTED
    assert shape(tmp_path / "set.parquet") == EXPECTED
    assert shape(tmp_path / "set.pt", load_pt=load_pt) == EXPECTED
    # the form is told by its content
    (tmp_path / "set.txt").write_bytes((tmp_path / "set.parquet").read_bytes())
    assert shape(tmp_path / "set.txt") == EXPECTED


def test_a_set_that_was_begun_and_holds_nothing_yet_is_begun_anew_with_other_parameters(tmp_path: Path) -> None:
    item = FixedPrompt("p", "why?", Response("so"), (Response("no"),))
    with SetWriter(tmp_path / "set.jsonl", {"schema": 1, "seed": 1}):
        pass
    with SetWriter(tmp_path / "set.jsonl", {"schema": 1, "seed": 2}) as writer:
        writer.add(item)
    with pytest.raises(ScoringError, match="begun with other data or parameters"):
        SetWriter(tmp_path / "set.jsonl", {"schema": 1, "seed": 3})


def test_data_that_is_none_is_named_as_such(tmp_path: Path) -> None:
    for data, said in ((bytes(range(128, 256)) * 9, "line 1: not UTF-8"), (b"\n\n", "not one row in it")):
        (tmp_path / "data").write_bytes(b"x" + data if data.strip() else data)
        with pytest.raises(ScoringError, match=said):
            read_source(tmp_path / "data", prompt="content", teacher="teacher_response", count=100)


def test_what_has_a_usable_row_passes_a_first_look(tmp_path: Path) -> None:
    import pandas

    pandas.DataFrame(ROWS).to_parquet(tmp_path / "set.parquet")
    with SetWriter(tmp_path / "own.jsonl", {"schema": 1}) as writer:
        writer.add(FixedPrompt("p", "why?", Response("so"), (Response("no"),)))
        writer.finish(["p"])
    good = lines(tmp_path / "set.jsonl", [*[{"x": 1}] * 20, *ROWS])
    for path in (good, tmp_path / "set.parquet", tmp_path / "own.jsonl"):
        assert look_at_set(path) == hashlib.sha256(path.read_bytes()).hexdigest() == read_fixed_set(path).sha256
    named = lines(tmp_path / "named.jsonl", [{"q": "p", "t": "a", "s": "b"}])
    look_at_set(named, {"prompt": "q", "teacher_response": "t", "student_response": "s"})


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("empty", b"", "the file is empty"),
        ("noise", bytes(range(128, 256)) * 20, "no usable row in it; line 1: not UTF-8"),
        ("train.log", b"step:1 - loss:2\n" * 5000, "no usable row in it; line 1: not JSON"),
        ("other.jsonl", b'{"step": 1, "data": {}}\n' * 5000, "column 'prompt' or 'content' is missing"),
        ("new.jsonl", b'{"schema": 99}\n', "schema 99"),
        ("cut.parquet", b"PAR1" + bytes(100), "not a whole parquet file"),
        ("cut.pt", b"PK\x03\x04" + bytes(100), "cut or damaged .pt archive"),
    ],
    ids=["empty", "noise", "log", "other", "newer", "parquet", "pt"],
)
def test_a_file_that_is_no_fixed_set_is_refused_at_the_first_look(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ScoringError, match=said) as raised:
        look_at_set(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_of_a_pt_file_the_first_look_takes_rows_and_no_dict(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra [score]")
    for good in (ROWS, ROWS[:1], tuple(ROWS), tuple(ROWS * 2)):
        torch.save(good, tmp_path / "good.pt")
        look_at_set(tmp_path / "good.pt")
    for bad in ({"rows": ROWS}, {"a": 1, "b": torch.zeros(2)}):
        torch.save(bad, tmp_path / "bad.pt")
        with pytest.raises(ScoringError, match="a list of rows was expected"):
            look_at_set(tmp_path / "bad.pt")


@pytest.mark.fault("C09")
def test_a_pt_file_without_torch_or_with_code_in_it_is_refused(tmp_path: Path) -> None:
    import pandas

    torch = pytest.importorskip("torch", reason="needs the extra [score]")
    from critictui.worker.read_pt import load_pt

    torch.save(ROWS, tmp_path / "set.pt")
    with pytest.raises(ScoringError, match="by the worker only"):
        read_fixed_set(tmp_path / "set.pt")
    torch.save(pandas.DataFrame(ROWS), tmp_path / "frame.pt")
    with pytest.raises(ScoringError, match=r"frame\.pt.*plain lists"):
        read_fixed_set(tmp_path / "frame.pt", load_pt=load_pt)
    (tmp_path / "half.pt").write_bytes((tmp_path / "set.pt").read_bytes()[:300])
    with pytest.raises(ScoringError, match=r"half\.pt"):
        read_fixed_set(tmp_path / "half.pt", load_pt=load_pt)


def test_what_the_writer_writes_is_read_back(tmp_path: Path) -> None:
    prompts = [
        FixedPrompt(
            "7",
            (Message("system", "be \u2028brief"), Message("user", "q\n")),
            Response(" t ", (1, 2)),
            (Response("s", (3,), "stop", 5), Response("", (), "length", 6)),
        ),
        FixedPrompt("a", '中文 \\ "quoted"', Response("x"), (Response("y", None, "", None),)),
    ]
    path = tmp_path / "set.jsonl"
    with SetWriter(path, {"schema": 1, "generation": {"temperature": 0.6}}) as writer:
        for item in reversed(prompts):
            writer.add(item)
        writer.finish(["7", "a"])
    found = read_fixed_set(path)
    assert list(found.prompts) == prompts
    assert found.header["generation"] == {"temperature": 0.6}
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.pairs == 3
    assert found.problems == ()


text = st.text(max_size=30)


@given(
    st.lists(
        st.builds(
            FixedPrompt,
            id=text.filter(bool),
            prompt=text | st.lists(st.builds(Message, text.filter(bool), text), min_size=1, max_size=3).map(tuple),
            teacher=st.builds(Response, text, st.none() | st.lists(st.integers(0, 1 << 30), max_size=5).map(tuple)),
            students=st.lists(
                st.builds(
                    Response, text, st.none(), st.sampled_from(["stop", "length", ""]), st.none() | st.integers(0)
                ),
                min_size=1,
                max_size=3,
            ).map(tuple),
        ),
        min_size=1,
        max_size=4,
        unique_by=(lambda p: p.id, lambda p: (p.prompt, *((r.text, r.ids) for r in (p.teacher, *p.students)))),
    )
)
@settings(max_examples=50, deadline=None)
def test_any_set_survives_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, made: list[FixedPrompt]
) -> None:
    path = tmp_path_factory.mktemp("set") / "set.jsonl"
    body = "".join(json.dumps(prompt_to_json(p)) + "\n" for p in made)
    path.write_text('{"schema": 1}\n' + body, encoding="utf-8")
    assert list(read_fixed_set(path).prompts) == made


def test_the_same_prompt_and_responses_under_other_ids_are_no_more_evidence(tmp_path: Path) -> None:
    good = {"id": "1", "prompt": "p", "teacher": {"text": "t"}, "students": [{"text": "s"}, {"text": "s"}]}
    rows = [good, {**good, "id": "2"}, {**good, "id": "3", "students": [{"text": "s"}]}, {**good, "id": "4"}]
    found = read_fixed_set(lines(tmp_path / "set.jsonl", rows))
    assert [p.id for p in found.prompts] == ["1", "3"]
    assert found.pairs == 3, "two samples of one student that are equal are two samples"
    assert found.bad_rows == 2
    assert "of id '1' again" in found.problems[0]


@pytest.mark.fault("C09")
def test_prompts_are_never_turned_into_text(tmp_path: Path) -> None:
    import pandas

    chat = np.array([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}], dtype=object)
    rows = [{"content": chat[:1], "teacher_response": chat, "student_response": np.array(["s1", "s2"], dtype=object)}]
    pandas.DataFrame(rows).to_parquet(tmp_path / "set.parquet")
    [found] = read_fixed_set(tmp_path / "set.parquet").prompts
    assert found.prompt == (Message("user", "hi"),)
    assert found.teacher.text == "yo"
    assert [s.text for s in found.students] == ["s1", "s2"]
    assert read_set.as_prompt(chat) == (Message("user", "hi"), Message("assistant", "yo"))
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
    assert read_set.as_prompt(parts) == (Message("user", "ab"),)


BAD: list[tuple[object, str]] = [
    ({"prompt": None, "teacher_response": "t", "student_response": "s"}, "prompt is empty"),
    ({"prompt": float("nan"), "teacher_response": "t", "student_response": "s"}, "prompt is NaN"),
    ({"prompt": "p", "teacher_response": float("nan"), "student_response": "s"}, "teacher_response is NaN"),
    ({"prompt": "p", "teacher_response": 5, "student_response": "s"}, "teacher_response is a int"),
    ({"prompt": "p", "teacher_response": "t"}, "'student_response' is missing"),
    ({"prompt": [], "teacher_response": "t", "student_response": "s"}, "prompt is empty"),
    ({"prompt": [{"content": "x"}], "teacher_response": "t", "student_response": "s"}, "without a role"),
    ({"prompt": [{"role": "user", "content": [{"type": "image"}]}], "teacher_response": "t", "student_response": "s"},
     "other than text"),
    ({"prompt": "p", "teacher_response": [{"role": "user", "content": "x"}], "student_response": "s"},
     "0 assistant messages"),
    ([1, 2], "not a row"),
    ("just text", "not a row"),
]  # fmt: skip


@pytest.mark.fault("C09")
def test_rows_that_cannot_be_used_are_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in [*ROWS, *(row for row, _ in BAD)]) + '\n{"prompt": "cut sh')
    found = read_fixed_set(path)
    assert [(p.prompt, len(p.students)) for p in found.prompts] == [("p1", 2), ("p2", 1)]
    assert found.bad_rows == len(BAD) + 1 == len(found.problems)
    for (_, said), problem in zip(BAD, found.problems, strict=False):
        assert said in problem
    assert found.problems[0].startswith("line 4")
    assert "cut short" in found.problems[-1]


@pytest.mark.fault("C09")
def test_own_rows_that_cannot_be_used_are_counted_and_named(tmp_path: Path) -> None:
    good = {"id": "1", "prompt": "p", "teacher": {"text": "t"}, "students": [{"text": "s"}]}
    rows: list[Any] = [
        {"schema": 1},
        good,
        {**good, "prompt": "another"},
        {**good, "id": "2", "students": []},
        {**good, "id": "3", "teacher": {"ids": [1]}},
        {**good, "id": "4", "students": [{"text": "s", "ids": [1, -1]}]},
        {**good, "id": "5", "students": [{"text": None}]},
        {**good, "id": [6]},
        {"id": "7"},
    ]
    found = read_fixed_set(lines(tmp_path / "set.jsonl", rows))
    assert [p.id for p in found.prompts] == ["1"]
    assert found.prompts[0].prompt == "p"
    assert found.bad_rows == 7
    assert "there twice" in found.problems[0]


@pytest.mark.fault("C09")
def test_a_byte_order_mark_windows_line_ends_and_odd_separators_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    odd = {"prompt": "p\u2028\x85\x1c", "teacher_response": "t", "student_response": "s"}
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(odd, ensure_ascii=False).encode() + b"\r\n\r\n" + b'{"\xff": 1}\n')
    found = read_fixed_set(path)
    assert found.prompts[0].prompt == "p\u2028\x85\x1c"
    assert found.problems == ("line 3: not UTF-8",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n\n\n", "no usable row"),
        (b'{"schema": 1}\n', "no usable row"),
        (b'{"schema": 2}\n', "schema 2"),
        (b'{"a": 1}\n', "no usable row.*'prompt' or 'content' is missing"),
        (b"PAR1 and then nothing", "parquet"),
        (b"\x00" * 100, "no usable row"),
    ],
)
@pytest.mark.fault("C09")
def test_a_file_without_one_usable_row_is_refused_by_name(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "broken.set"
    path.write_bytes(content)
    with pytest.raises(ScoringError, match=rf"broken\.set.*{said}"):
        read_fixed_set(path)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ScoringError, match=r"nothing\.jsonl.*critictui prepare"):
        read_fixed_set(tmp_path / "nothing.jsonl")
    with pytest.raises(ScoringError, match="directory"):
        read_fixed_set(tmp_path)


@pytest.mark.fault("C09")
def test_a_truncated_parquet_is_refused(tmp_path: Path) -> None:
    import pandas

    pandas.DataFrame(ROWS).to_parquet(tmp_path / "set.parquet")
    whole = (tmp_path / "set.parquet").read_bytes()
    for cut in (8, len(whole) // 2, len(whole) - 4):
        (tmp_path / "cut.parquet").write_bytes(whole[:cut])
        with pytest.raises(ScoringError, match=r"cut\.parquet"):
            read_fixed_set(tmp_path / "cut.parquet")


@pytest.mark.fault("C09")
def test_a_row_of_a_gigabyte_is_stepped_over_in_bounded_memory(tmp_path: Path) -> None:
    path = lines(tmp_path / "set.jsonl", ROWS)
    with path.open("ab") as file:
        file.write(b'{"prompt": "')
        file.truncate(file.tell() + (256 << 20))
        file.seek(0, 2)
        file.write(b'"}\n' + json.dumps(ROWS[2] | {"prompt": "p3"}).encode() + b"\n")
    tracemalloc.start()
    found = read_fixed_set(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [p.prompt for p in found.prompts] == ["p1", "p2", "p3"]
    assert found.problems == ("line 4: longer than 16 MiB",)
    assert peak < 80 << 20


def test_columns_are_named_by_the_caller(tmp_path: Path) -> None:
    path = lines(tmp_path / "set.jsonl", [{"q": "p", "good": "t", "bad": "s", "prompt": "not this"}])
    names = {"prompt": "q", "teacher_response": "good", "student_response": "bad"}
    assert shape(path, columns=names) == [("p", "t", ["s"])]
    with pytest.raises(ScoringError, match="'teacher'"):
        read_fixed_set(path, columns={"teacher": "good"})


@pytest.mark.fault("C09")
def test_an_old_pyarrow_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow

    (tmp_path / "set.parquet").write_bytes(b"PAR1....PAR1")
    monkeypatch.setattr(pyarrow, "__version__", "14.0.0")
    with pytest.raises(ScoringError, match="CVE-2023-47248"):
        read_fixed_set(tmp_path / "set.parquet")


@pytest.mark.fault("O03")
def test_another_writer_and_a_full_disk_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "set.jsonl"
    item = FixedPrompt("1", "p", Response("t"), (Response("s"),))
    with SetWriter(path, {"schema": 1}) as writer:
        with pytest.raises(ScoringError, match="another `prepare`"):
            SetWriter(path, {"schema": 1})
        writer.add(item)

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("critictui.scoring.write_set.os.fsync", full)
        with pytest.raises(ScoringError, match="No space left"):
            writer.add(FixedPrompt("2", "p", Response("t"), (Response("s"),)))
    monkeypatch.undo()
    with SetWriter(path, {"schema": 1}) as writer:
        assert "1" in writer.done
        writer.finish(["1"])
    assert [p.id for p in read_fixed_set(path).prompts] == ["1"]
