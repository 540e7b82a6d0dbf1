"""One event is one message: the cause first, what joins it later is no news, and the end is told once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from critictui.config import Config
from critictui.health.alert import Alert
from critictui.health.judge import judge_all
from critictui.monitor.news import News, news_in, said_of
from critictui.monitor.notify import message_of
from critictui.run.reader import RunReader

CAUSE = Alert(
    "margin-collapse", "critical", "firing", "critic/score_diff", 120, 125, None, 130, 0, 0, "It fell.", "Do."
)
CHANCE = replace(CAUSE, rule="chance-accuracy", metric="critic/d_acc", fired_step=126, message="Chance.")
MILD = replace(CAUSE, rule="score-scale", severity="warning", since_step=124, fired_step=128)


def test_alerts_of_one_look_are_one_piece_of_news() -> None:
    (news,) = news_in([CHANCE, MILD, CAUSE], [CAUSE, CHANCE, MILD])
    assert news == News(CAUSE, (CHANCE, MILD))
    assert news.message == "It fell. With it: chance-accuracy, score-scale."


def test_what_joins_an_event_later_is_no_news_unless_it_is_worse() -> None:
    assert news_in([CHANCE], [CAUSE, CHANCE]) == []
    assert news_in([CHANCE], [MILD, CHANCE]) == [News(CHANCE)]
    elsewhere = replace(CHANCE, since_step=200)
    assert news_in([elsewhere], [CAUSE, elsewhere]) == [News(elsewhere)]


def test_an_event_is_over_when_nothing_of_it_fires_and_its_end_is_a_sentence_of_its_own() -> None:
    over = replace(CHANCE, state="resolved", resolved_step=205, step=195)
    assert news_in([over], [CAUSE, over]) == []
    (news,) = news_in([over], [over])
    assert (
        news.message == "chance-accuracy of critic/d_acc is over: it began at step 120 and was last seen at step 195."
    )
    message = message_of(news, Path("run"), None)
    assert (message.step, message.state, message.advice) == (205, "resolved", "")


def test_a_message_says_the_step_at_which_it_fired() -> None:
    assert message_of(News(CAUSE), Path("run"), None).title == "run: critical margin-collapse at step 125"
    assert said_of(CAUSE) == "It fell."


def test_a_collapse_is_one_message_however_many_rules_see_it(recorded_run: Callable[..., Path]) -> None:
    reader = RunReader(recorded_run("collapse"), Config())
    alerts = judge_all(reader.read_all(), Config()).alerts
    reader.close()
    told: list[News] = []
    shown: list[Alert] = []
    for alert in sorted(alerts, key=lambda alert: alert.fired_step or 0):  # as they fire, one by one
        shown.append(alert)
        told += news_in([alert], shown)
    assert len(shown) >= 3
    (news,) = told
    assert news.alert == shown[0]  # whichever rule saw it first
