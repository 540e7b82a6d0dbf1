"""A rollout is a student's response to the one prompt whose rendering its whole input is, or to none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from critictui.scoring.fixed_set import Message
from critictui.scoring.recipe import ScoringError
from critictui.scoring.rollouts import join_rollouts
from critictui.scoring.source_data import Prompt, SourceRow


def rendered(prompt: Prompt) -> str:
    """As ChatML gives it without its special tokens."""
    turns = [Message("user", prompt)] if isinstance(prompt, str) else list(prompt)
    return "".join(f"{m.role}\n{m.content}\n" for m in turns) + "assistant\n"


def joined(
    place: Path, prompts: Sequence[Prompt], sampled: Sequence[int], inputs: Sequence[str], limit: int = 9
) -> tuple[dict[str, list[str]], list[str]]:
    """Row numbers with the outputs they got (the inputs' numbers), and what was said of the others."""
    lines = [json.dumps({"input": text, "output": str(number)}) for number, text in enumerate(inputs)]
    (place / "1.jsonl").write_text("\n".join(lines) + "\n")
    rows = [SourceRow(str(n), prompts[n], "teacher", ()) for n in sampled]
    found, complaints = join_rollouts(rows, prompts, place, limit)
    assert complaints.count == len(complaints.kept)
    return {row.id: [s.text for s in row.students] for row in found}, complaints.kept


def test_a_prompt_that_is_part_of_another_gets_none_of_its_responses(tmp_path: Path) -> None:
    prompts = ["2", "12", "is 12 even ?"]
    found, said = joined(tmp_path, prompts, [0, 2], [rendered("12"), rendered("is 12 even ?"), rendered("2"), "12"])
    assert found == {"0": ["2"], "2": ["1"]}
    assert said == []  # those of a prompt that was not sampled are nobody's loss


def test_chats_that_end_in_the_same_words_are_told_apart(tmp_path: Path) -> None:
    def chat(*said: str) -> Prompt:
        return tuple(Message("assistant" if n % 2 else "user", text) for n, text in enumerate(said))

    prompts = [chat("a river", "yes ?", "go on"), chat("a stone", "yes ?", "go on"), chat("go on")]
    found, said = joined(tmp_path, prompts, [0, 2], [rendered(p) for p in prompts])
    assert found == {"0": ["0"], "2": ["2"]}
    assert said == []


def test_what_fits_no_prompt_or_two_is_counted_and_named(tmp_path: Path) -> None:
    prompts = ["a  b", "a b", "c"]
    found, said = joined(tmp_path, prompts, [0, 1, 2], [rendered("a b"), rendered("c"), rendered("c, but more")])
    assert found == {"2": ["1"]}
    assert said == [
        "1.jsonl line 1: its prompt fits 2 prompts of the data",
        "1.jsonl line 3: its prompt is none of the data",
    ]


def test_rows_of_one_prompt_share_nothing_twice(tmp_path: Path) -> None:
    found, said = joined(tmp_path, ["a", "a", "b"], [0, 1, 2], [rendered("a")] * 3, limit=2)
    assert found == {"0": ["0", "1"]}
    assert said == []


@pytest.mark.parametrize(
    "text",
    [
        "what is it ?",
        "user\nwhat is it ?\nassistant\n",
        "<|im_start|>user\nwhat is it ?<|im_end|>\n<|im_start|>assistant\n",
        "system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.\nuser\nwhat is it ?\nassistant\n",
        "system\n\nCutting Knowledge Date: December 2023\n\nuser\n\nwhat is it ?assistant\n\n",
        "user\nwhat is it ?\nmodel\n",
    ],
)
def test_the_usual_templates_are_known(tmp_path: Path, text: str) -> None:
    found, _ = joined(tmp_path, ["what is it ?", "what is it"], [0, 1], [text])
    assert found == {"0": ["0"]}


def test_a_system_message_is_the_templates_own_only_where_the_data_has_none(tmp_path: Path) -> None:
    brief = (Message("system", "be brief"), Message("user", "why ?"))
    found, said = joined(tmp_path, ["why ?", brief], [0, 1], [rendered(brief), "system\nbe long\n" + rendered("why ?")])
    assert found == {"1": ["0"]}
    assert len(said) == 1


def test_where_nothing_fits_the_first_reason_and_a_remedy_are_said(tmp_path: Path) -> None:
    with pytest.raises(ScoringError, match=r"none of its 1 rollouts .* its prompt is none of the data; .*--tokenizer"):
        joined(tmp_path, ["a"], [0], ["b"])
