"""Every short sequence of what people can do on either side, and every way in which the sync can keep up with it.

Exhaustive on plain values: no database, no HTTP. Five steps long takes minutes, so four are played by default;
INTERLEAVINGS=5 asks for the rest.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pagerduty_sync.domain.cases import CasePriority, CaseStatus
from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.incidents import IncidentStatus
from pagerduty_sync.domain.links import LinkState
from pagerduty_sync.domain.mapping import INCIDENT_STATUS
from tests.link_builders import PRIORITIES, an_incident
from tests.pure_world import World

LENGTH = int(os.environ.get("INTERLEAVINGS", "4"))

TRIGGERED, ACKNOWLEDGED, RESOLVED = IncidentStatus.TRIGGERED, IncidentStatus.ACKNOWLEDGED, IncidentStatus.RESOLVED
CASE_MOVES = {
    "acknowledge": (CaseStatus.ACTIVE, CaseStatus.ACKNOWLEDGED),
    "time-out": (CaseStatus.ACKNOWLEDGED, CaseStatus.ACTIVE),
    "resolve": (None, CaseStatus.RESOLVED),
    "close": (None, CaseStatus.CLOSED),
}


def act_on_case(world: World, act: str) -> bool:
    """What a person does to the Case; False when it cannot be done. A Case neither re-opens nor merges."""
    case = world.case
    if act in CASE_MOVES:
        wanted, becomes = CASE_MOVES[act]
        is_closing = becomes is CaseStatus.CLOSED and case.status is CaseStatus.RESOLVED
        if (not case.status.is_open and not is_closing) or wanted not in (None, case.status):
            return False
        world.case_becomes(becomes)
        return True
    if act != "priority" or not case.status.is_open:
        return False
    override = CasePriority.P2 if case.override_priority is CasePriority.P1 else CasePriority.P1
    world.case = replace(case, override_priority=override, priority_changed_at=world.tick())
    return True


def act_in_pagerduty(world: World, act: str) -> bool:
    """What a responder, or a timer, does to the incident; False when it cannot be done. An incident does not close."""
    status = world.incident.status
    moves = {
        "acknowledge": (status is TRIGGERED, ACKNOWLEDGED),
        "time-out": (status is ACKNOWLEDGED, TRIGGERED),
        "resolve": (status.is_open, RESOLVED),
        "re-open": (status is RESOLVED, TRIGGERED),
    }
    if act in moves:
        is_possible, becomes = moves[act]
        if is_possible:
            world.incident_becomes(becomes)
        return is_possible
    if act == "priority":
        world.incident_priority_becomes("PRIO5" if world.incident.priority_id != "PRIO5" else "PRIO4")
        return True
    if act != "merge" or not status.is_open:
        return False
    world.merge(an_incident(id=f"Q0INC{len(world.left) + 2}", number=70 + len(world.left)))
    return True


ACTS = ("acknowledge", "resolve", "re-open", "merge", "time-out", "priority", "close")
SIDES: dict[str, Callable[[World, str], bool]] = {"Case": act_on_case, "PagerDuty": act_in_pagerduty}
STEPS = [(side, act) for act in ACTS for side in SIDES]

Path = tuple[tuple[str, str], ...]


# ------------------------------------------------------------------ the ways to keep up


def keep_up(world: World) -> None:
    """Every webhook arrives before the next thing happens."""
    for event in world.sent:
        world.deliver(event)
    world.settle()


def hear_nothing(world: World) -> None:
    """No webhook arrives; only changes of the Case are taken up."""
    world.settle()


def sleep(world: World) -> None:
    """Nothing is taken up before the end."""


WAYS = {"each step is kept up with": keep_up, "no webhook arrives": hear_nothing, "all is taken up at the end": sleep}


def end(world: World, *, backwards: bool) -> None:
    """Webhooks arrive in either order, one reconcile reads the incident, and both sides come to rest."""
    for event in reversed(world.sent) if backwards else world.sent:
        world.deliver(event)
    world.settle()
    for _ in range(len(world.left) + 1):
        world.tick(61_000)
        world.link = replace(world.link, is_doubtful=True)
        world.settle()


def played(keep: Callable[[World], None], length: int) -> Iterator[tuple[Path, World]]:
    """Every sequence up to `length` in which each step changed something; a step that changes nothing adds nothing."""

    def further(path: Path, world: World) -> Iterator[tuple[Path, World]]:
        yield path, world
        if len(path) == length:
            return
        for side, act in STEPS:
            next_world = world.fork()
            if SIDES[side](next_world, act):
                keep(next_world)
                yield from further((*path, (side, act)), next_world)

    yield from further((), World())


# ------------------------------------------------------------------ what must hold


def difference(path: Path, world: World) -> str | None:
    """The rule by which two sides may differ at rest; "" when they are in step, None when no rule allows it."""
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
    return None


def check(path: Path, world: World) -> str:
    """Everything that must be true at the end of one sequence; returns the rule that explains its end."""
    rule = difference(path, world)
    assert rule is not None, f"{path}: the Case is {world.case.status}, the incident {world.incident.status}"
    agreed = world.link.agreed(Field.STATUS)
    statuses = (world.case.status.value, world.incident.status.value)
    assert world.link.state is LinkState.ENDED or (agreed.case, agreed.incident) == statuses, path
    if ("PagerDuty", "resolve") not in path and ("Case", "resolve") not in path:
        assert world.case.status is not CaseStatus.RESOLVED, f"{path}: a merge resolved the Case"
    if not {("Case", "acknowledge"), ("Case", "resolve"), ("Case", "priority")} & set(path):
        assert not world.written, f"{path}: the incident was written to without a change of the Case"
    if world.case.status.is_open and ("PagerDuty", "merge") not in path:
        assert PRIORITIES[world.case.priority] == world.incident.priority_id, f"{path}: priorities differ"
    sources = [comment.reference for comment in world.comments]
    assert len(sources) == len(set(sources)), f"{path}: a comment stands twice"
    return rule


TABLE = {
    ("ACTIVE", "triggered", ""),
    ("ACKNOWLEDGED", "acknowledged", ""),
    ("RESOLVED", "resolved", ""),
    ("CLOSED", "triggered", "the Case is closed"),
    ("CLOSED", "acknowledged", "the Case is closed"),
    ("CLOSED", "resolved", "the Case is closed"),
    ("RESOLVED", "triggered", "a resolved Case cannot re-open"),
    ("RESOLVED", "acknowledged", "a resolved Case cannot re-open"),
    ("ACTIVE", "acknowledged", "PagerDuty has no word for un-acknowledging"),
    ("ACTIVE", "acknowledged", "the incident it was merged into is left as it is"),
    ("ACKNOWLEDGED", "triggered", "the incident it was merged into is left as it is"),
    ("RESOLVED", "triggered", "the incident it was merged into is left as it is"),
    ("RESOLVED", "acknowledged", "the incident it was merged into is left as it is"),
}
"""How a sequence may end: the Case, the incident people go on with, and the rule where they differ."""


@pytest.mark.parametrize("way", WAYS)
def test_every_short_sequence_ends_well_and_never_makes_it_worse(way: str) -> None:
    """I5 is asserted by the world itself at each write: it refuses to re-open or to change a Case that is over."""
    ends: Counter[tuple[str, str, str]] = Counter()
    for path, world in played(WAYS[way], LENGTH):
        for backwards in (False, True):
            last = world.fork()
            end(last, backwards=backwards)
            rule = check(path, last)
            ends[last.case.status.value, last.incident.status.value, rule] += 1
            writes = last.writes
            end(last, backwards=False)
            assert last.writes == writes, f"{path}: a world at rest was written to"
    assert set(ends) <= TABLE, sorted(set(ends) - TABLE)
    if LENGTH >= 4 and WAYS[way] is keep_up:
        assert {rule for _, _, rule in ends} == {rule for _, _, rule in TABLE}
