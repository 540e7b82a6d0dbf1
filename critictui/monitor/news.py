"""What is worth a message: changed alerts go in, one piece of news an event comes out, the cause in front."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from critictui.health.alert import SEVERITIES, Alert
from critictui.health.order import TOGETHER, events_of


@dataclass(frozen=True, slots=True)
class News:
    """One event: it began, or it is over."""

    alert: Alert
    """What explains the others; of the worst severity among them."""
    others: tuple[Alert, ...] = ()
    """What changed with it."""

    @property
    def message(self) -> str:
        """What was seen, and by which rules besides; or how long it lasted."""
        names = dict.fromkeys(alert.rule for alert in self.others if alert.rule != self.alert.rule)
        also = f" With it: {', '.join(names)}." if names else ""
        return f"{said_of(self.alert)}{also}"


def said_of(alert: Alert) -> str:
    """The alert's message; once it is over, since when and until when it was so: its numbers are of the past."""
    if alert.state != "resolved":
        return alert.message
    about = f" of {alert.metric}" if alert.metric else ""
    return f"{alert.rule}{about} is over: it began at step {alert.since_step} and was last seen at step {alert.step}."


def news_in(fresh: Iterable[Alert], alerts: Sequence[Alert]) -> list[News]:
    """The events among alerts that have just changed. `alerts` are all of the run, as they stand now.

    What joins an event that was told before is no news, unless it is worse; an event is over when nothing of it fires.
    """
    changed = [alert for alert in fresh if alert.state != "pending"]
    firing = [alert for alert in alerts if alert.state == "firing"]
    keys = {alert.key for alert in changed}
    told = [alert for alert in firing if alert.key not in keys]
    found: list[News] = []
    for state, before in (("resolved", firing), ("firing", told)):
        for event in events_of(alert for alert in changed if alert.state == state):
            first, *others = sorted(event, key=lambda alert: -SEVERITIES.index(alert.severity))
            if not any(_covers(known, first, whatever=state == "resolved") for known in before):
                found.append(News(first, tuple(others)))
    return found


def _covers(known: Alert, alert: Alert, *, whatever: bool) -> bool:
    """Whether `known` is of the same event, and as bad (or `whatever` it is)."""
    near = known.session == alert.session and abs(known.since_step - alert.since_step) <= TOGETHER
    return near and (whatever or SEVERITIES.index(known.severity) >= SEVERITIES.index(alert.severity))
