"""A chat template that writes the day's date gives one text on every day, and says so."""

from __future__ import annotations

import copy
import datetime as real
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from critictui.scoring.fixed_set import FixedSet
from critictui.scoring.recipe import Recipe
from critictui.worker.model import Critic
from critictui.worker.score import score_critic
from critictui.worker.tokenizer import template_hash, template_in_effect
from critictui.worker.tokens import prompt_ids

pytestmark = pytest.mark.torch

LLAMA = (
    "{%- if not date_string is defined %}\n    {%- if strftime_now is defined %}\n"
    "        {%- set date_string = strftime_now('%d %b %Y') %}\n    {%- else %}\n"
    "        {%- set date_string = '26 Jul 2024' %}\n    {%- endif %}\n{%- endif %}\n"
    "{{- 'Today Date: ' + date_string + '\\n' }}\n"
)


@pytest.fixture
def on_day(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set the clock that transformers gives to templates."""
    import transformers.utils.chat_template_utils as utils

    def shift(days: int) -> None:
        class Shifted(real.datetime):
            @classmethod
            def now(cls, tz: real.tzinfo | None = None) -> Any:
                return real.datetime.now(tz) + real.timedelta(days=days)

        monkeypatch.setattr(utils, "datetime", Shifted)

    return shift


def dated(tokenizer: Any, before: str = LLAMA) -> Any:
    made = copy.deepcopy(tokenizer)
    made.chat_template = before + made.chat_template
    return made


def test_a_score_does_not_move_with_the_date_and_says_that_it_was_pinned(
    critic: Critic, fixed_set: FixedSet, tokenizer: Any, on_day: Callable[[int], None]
) -> None:
    made = dated(tokenizer)
    results = []
    for days in (0, 5, 200):
        on_day(days)
        results.append(score_critic(replace(critic, open_tokenizer=lambda: made), fixed_set, Recipe())[0])
    assert len({r.teacher_score_mean for r in results}) == 1
    for result in results:
        assert [w for w in result.warnings if "rendered as of 26 Jul 2024" in w] != []
    plain = score_critic(critic, fixed_set, Recipe())[0]
    assert plain.teacher_score_mean != results[0].teacher_score_mean
    assert not any("rendered as of" in w for w in plain.warnings)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (LLAMA, "Today Date: 26 Jul 2024\n"),
        ("\n  {% if true %}{{ strftime_now('%Y-%m-%d, %-d.%-m.') }}{% endif %}\n", None),
        ("{{ strftime_now('%A %H:%M') }}", "Friday 00:00"),
    ],
)
def test_everything_but_the_date_is_rendered_as_before(tokenizer: Any, template: str, text: str | None) -> None:
    """As where the clock itself stands still, blanks and line breaks included."""
    import transformers.utils.chat_template_utils as utils

    class Still(real.datetime):
        @classmethod
        def now(cls, tz: real.tzinfo | None = None) -> Any:
            return real.datetime(2024, 7, 26)  # noqa: DTZ001 - as transformers asks

    made = dated(tokenizer, template)
    messages = [{"role": "user", "content": "alpha"}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "datetime", Still)
        expected = made.apply_chat_template(messages, tokenize=False)
    found = made.apply_chat_template(messages, chat_template=template_in_effect(made), tokenize=False)
    assert found == expected
    assert text is None or found.startswith(text)


def test_the_recipe_s_own_template_is_pinned_too(tokenizer: Any, on_day: Callable[[int], None]) -> None:
    given = LLAMA + tokenizer.chat_template
    first = prompt_ids(tokenizer, "alpha", given)
    on_day(40)
    assert prompt_ids(tokenizer, "alpha", given).tolist() == first.tolist()


def test_scores_of_a_dated_template_never_join_those_from_before_it_was_pinned(tokenizer: Any) -> None:
    import hashlib

    made = dated(tokenizer)
    assert template_hash(made) != hashlib.sha256(made.chat_template.encode()).hexdigest()
    assert template_hash(tokenizer) == hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()
