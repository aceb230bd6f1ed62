"""The steps people can take, the ways in which the sync can keep up with them, and the walk through all sequences.

Knows what may happen; what must hold at the end is in `checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pagerduty_sync.domain.cases import CasePriority, CaseStatus
from pagerduty_sync.domain.incidents import IncidentStatus
from tests.link_builders import an_incident
from tests.pure_world import World

TRIGGERED, ACKNOWLEDGED, RESOLVED = IncidentStatus.TRIGGERED, IncidentStatus.ACKNOWLEDGED, IncidentStatus.RESOLVED
CASE_MOVES = {
    "acknowledge": (CaseStatus.ACTIVE, CaseStatus.ACKNOWLEDGED),
    "time-out": (CaseStatus.ACKNOWLEDGED, CaseStatus.ACTIVE),
    "resolve": (None, CaseStatus.RESOLVED),
    "close": (None, CaseStatus.CLOSED),
}

# ------------------------------------------------------------------ the steps


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

Step = tuple[str, str]
Path = tuple[Step, ...]

STEPS: tuple[Step, ...] = tuple((side, act) for act in ACTS for side in SIDES)


def take(world: World, step: Step) -> bool:
    """One step of a person; False, and nothing has changed, when it cannot be taken."""
    side, act = step
    return SIDES[side](world, act)


# ------------------------------------------------------------------ the ways to keep up


def keep_up(world: World) -> None:
    """Every webhook arrives before the next thing happens."""
    _hear(world, on_their_way=0)


def lag(world: World) -> None:
    """The latest webhook, perhaps that of our own write, is overtaken by the next thing that happens."""
    _hear(world, on_their_way=1)


def _hear(world: World, on_their_way: int) -> None:
    """Webhooks arrive, also those of what the sync makes of them, until only so many are still on their way."""
    while True:
        arrived = max(0, len(world.sent) - on_their_way)
        for event in world.sent[:arrived]:
            world.deliver(event)
        world.settle()
        if len(world.sent) - on_their_way <= arrived:
            return


def hear_nothing(world: World) -> None:
    """No webhook arrives before the end; only changes of the Case are taken up."""
    world.settle()


def sleep(world: World) -> None:
    """Nothing is taken up before the end."""


WAYS = {
    "all webhooks arrive": keep_up,
    "the latest is late": lag,
    "none arrives before the end": hear_nothing,
    "all is taken up at the end": sleep,
}


def end(world: World, *, backwards: bool) -> None:
    """Webhooks arrive in either order, one reconcile reads the incident, and both sides come to rest."""
    for event in reversed(world.sent) if backwards else world.sent:
        world.deliver(event)
    world.settle()
    for _ in range(len(world.left) + 1):
        world.tick(61_000)
        world.link = replace(world.link, is_doubtful=True)
        world.settle()


# ------------------------------------------------------------------ all sequences


@dataclass(frozen=True, slots=True)
class Part:
    """The sequences that begin with `start` and are up to `length` steps long, kept up with in one way."""

    way: str
    length: int
    start: Path = ()


def parts(length: int) -> Iterator[Part]:
    """Everything up to `length`, in parts that share no sequence: the shortest, then one part a pair of first steps."""
    for way in WAYS:
        yield Part(way, min(length, 1))
        pairs = [(first, second) for first in STEPS for second in STEPS] if length > 1 else []
        yield from (Part(way, length, pair) for pair in pairs)


def played(part: Part) -> Iterator[tuple[Path, World | Exception]]:
    """Every sequence of the part in which each step changed something, and the world after its last step.

    A sequence with a step that changes nothing ends as the one without it, so it is not played. Where the sync itself
    failed on the way, the error comes in place of the world, and no longer sequence is tried from there.
    """
    keep = WAYS[part.way]

    def further(path: Path, world: World) -> Iterator[tuple[Path, World | Exception]]:
        begun = len(path)
        is_inside = begun >= len(part.start)
        if is_inside:
            yield path, world
        if begun >= part.length:
            return
        for step in STEPS if is_inside else (part.start[begun],):
            next_world = world.fork()
            if not take(next_world, step):
                continue
            try:
                keep(next_world)
            except Exception as exc:
                if begun + 1 >= len(part.start):
                    yield (*path, step), exc
                continue
            yield from further((*path, step), next_world)

    return further((), World())
