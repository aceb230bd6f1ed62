"""What must hold when a sequence has ended: how the two sides may differ, and by which rule."""

from __future__ import annotations

from typing import NamedTuple

from pagerduty_sync.domain.cases import CaseStatus
from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.links import LinkState
from pagerduty_sync.domain.mapping import INCIDENT_STATUS
from tests.interleavings.play import ACKNOWLEDGED, Path, end
from tests.link_builders import PRIORITIES
from tests.pure_world import PROMISES_OF_A_WRITE, World, hold

UNEXPLAINED = "the two sides differ and no rule says why"
NOT_AGREED = "the link remembers something else than the two sides"
UNASKED = "an incident was changed without a change of its Case"
PRIORITIES_DIFFER = "the priorities differ"
COMMENT_TWICE = "a comment stands twice"
ORDER_COUNTED = "the order of the webhooks changed the end"
RESTLESS = "a world at rest was written to"
FAILED = "the sync failed"
PROMISES = (
    *PROMISES_OF_A_WRITE,
    UNEXPLAINED,
    NOT_AGREED,
    UNASKED,
    PRIORITIES_DIFFER,
    COMMENT_TWICE,
    ORDER_COUNTED,
    RESTLESS,
    FAILED,
)
"""What must never be, in the words of the report."""


class End(NamedTuple):
    """How a sequence ended: the Case, the incident people go on with, and the rule where they differ."""

    case: str
    incident: str
    rule: str


TABLE = (
    End("ACTIVE", "triggered", ""),
    End("ACKNOWLEDGED", "acknowledged", ""),
    End("RESOLVED", "resolved", ""),
    End("CLOSED", "triggered", "the Case is closed"),
    End("CLOSED", "acknowledged", "the Case is closed"),
    End("CLOSED", "resolved", "the Case is closed"),
    End("RESOLVED", "triggered", "a resolved Case cannot re-open"),
    End("RESOLVED", "acknowledged", "a resolved Case cannot re-open"),
    End("ACTIVE", "acknowledged", "PagerDuty has no word for un-acknowledging"),
    End("ACTIVE", "acknowledged", "the incident it was merged into is left as it is"),
    End("ACKNOWLEDGED", "triggered", "the incident it was merged into is left as it is"),
    End("RESOLVED", "triggered", "the incident it was merged into is left as it is"),
    End("RESOLVED", "acknowledged", "the incident it was merged into is left as it is"),
)
"""Every way in which a sequence may end."""


def judged(path: Path, world: World) -> tuple[End, list[World]]:
    """Bring a sequence to its end with the webhooks in either order; returns how it ended, and both worlds.

    Raises BrokenPromiseError where something does not hold.
    """
    ended = []
    for backwards in (False, True):
        last = world.fork()
        end(last, backwards=backwards)
        ended.append(last)
        check(path, last)
        rest = last.fork()
        end(rest, backwards=False)
        hold(RESTLESS, rest.writes == last.writes)
    first, second = map(outcome, ended)
    hold(ORDER_COUNTED, first == second, f"{first}, backwards {second}")
    return end_of(path, ended[0]), ended


def check(path: Path, world: World) -> None:
    """Everything that must be true of one world at its end; the world itself has checked each write."""
    case, incident = world.case.status, world.incident.status
    statuses = f"the Case is {case}, the incident {incident}"
    hold(UNEXPLAINED, end_of(path, world) in TABLE, statuses)
    agreed = world.link.agreed(Field.STATUS)
    is_agreed = (agreed.case, agreed.incident) == (case.value, incident.value)
    hold(NOT_AGREED, world.link.state is LinkState.ENDED or is_agreed, f"{statuses}, agreed is {agreed}")
    if not {("Case", "acknowledge"), ("Case", "resolve"), ("Case", "priority")} & set(path):
        hold(UNASKED, not world.written, ", ".join(world.written))
    if case.is_open and ("PagerDuty", "merge") not in path:
        priorities = (world.case.priority, world.incident.priority_id)
        hold(PRIORITIES_DIFFER, PRIORITIES[priorities[0]] == priorities[1], f"{priorities}")
    sources = [comment.reference for comment in world.comments]
    hold(COMMENT_TWICE, len(sources) == len(set(sources)), f"{sources}")


def end_of(path: Path, world: World) -> End:
    """How this world stands after its sequence; the rule is "unexplained" where none allows the difference."""
    case, incident = world.case.status, world.incident.status
    return End(case.value, incident.value, _rule(path, world))


def _rule(path: Path, world: World) -> str:
    case, incident = world.case.status, world.incident.status
    if INCIDENT_STATUS.get(case) is incident:
        return ""
    if case is CaseStatus.CLOSED:
        return "the Case is closed"
    if case is CaseStatus.RESOLVED and ("PagerDuty", "re-open") in path:
        return "a resolved Case cannot re-open"
    if ("PagerDuty", "merge") in path and incident.is_open:
        return "the incident it was merged into is left as it is"
    if case is CaseStatus.ACTIVE and incident is ACKNOWLEDGED and ("Case", "time-out") in path:
        return "PagerDuty has no word for un-acknowledging"
    return "unexplained"


def outcome(world: World) -> tuple[str | None, ...]:
    """What operators see when all is at rest: both sides, and which incident the link ended at."""
    case, incident, link = world.case, world.incident, world.link
    sides = (case.status.value, case.priority.value, incident.id, incident.status.value, incident.priority_id)
    return (*sides, link.state.value, link.incident_id)
