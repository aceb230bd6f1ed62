"""Properties of the planner: any order, any repetition, any loss followed by one read: the same end, and no echo."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pagerduty_sync.domain.cases import CasePriority, CaseStatus
from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.incidents import IncidentEvent, IncidentStatus
from pagerduty_sync.domain.links import Seen
from pagerduty_sync.domain.mapping import INCIDENT_STATUS
from pagerduty_sync.domain.merging import Observed, observe
from tests.link_builders import at
from tests.pure_world import World

TRIGGERED, ACKNOWLEDGED, RESOLVED = IncidentStatus.TRIGGERED, IncidentStatus.ACKNOWLEDGED, IncidentStatus.RESOLVED

STATUS_STEPS = st.sampled_from(["acknowledge", "unacknowledge", "priority1", "priority5", "clear", "note"])
PEOPLE_IN_PAGERDUTY = st.lists(STATUS_STEPS, min_size=1, max_size=8)


def act_in_pagerduty(world: World, step: str) -> None:
    match step:
        case "acknowledge":
            if world.incident.status.is_open:
                world.incident_becomes(ACKNOWLEDGED)
        case "unacknowledge":
            if world.incident.status.is_open:
                world.incident_becomes(TRIGGERED)
        case "resolve":
            world.incident_becomes(RESOLVED)
        case "reopen":
            world.incident_becomes(TRIGGERED)
        case "priority1":
            world.incident_priority_becomes("PRIO1")
        case "priority5":
            world.incident_priority_becomes("PRIO5")
        case "clear":
            world.incident_priority_becomes(None)
        case "note":
            world.note(f"note {len(world.notes)}")


def in_step(world: World) -> bool:
    return INCIDENT_STATUS.get(world.case.status) is world.incident.status


def end_of(world: World) -> tuple[object, ...]:
    return (
        world.case.status,
        world.case.priority,
        world.case.override_priority,
        world.incident.status,
        world.incident.priority_id,
        sorted(comment.text for comment in world.comments),
        sorted(note.text for note in world.notes),
    )


@given(steps=PEOPLE_IN_PAGERDUTY, resolves=st.booleans(), data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_order_and_any_repetition_ends_the_same(steps: list[str], resolves: bool, data: st.DataObject) -> None:
    before = World()
    for step in [*steps, *(["resolve"] if resolves else [])]:
        act_in_pagerduty(before, step)
    events = list(before.sent)
    ordered, shuffled = copy.deepcopy(before), copy.deepcopy(before)
    deliver_all(ordered, events)
    arrivals = data.draw(st.permutations(events)) + data.draw(st.lists(st.sampled_from(events or [None]), max_size=5))  # type: ignore[list-item]
    deliver_all(shuffled, [event for event in arrivals if event is not None])
    assert end_of(shuffled) == end_of(ordered)
    assert in_step(shuffled)


def deliver_all(world: World, events: list[IncidentEvent]) -> None:
    for event in events:
        world.deliver(event)
        world.settle()


@given(
    steps=st.lists(
        st.sampled_from(
            [
                *("acknowledge", "unacknowledge", "resolve", "reopen", "priority1", "priority5", "clear", "note"),
                *("case acknowledge", "case unacknowledge", "case resolve", "case close", "case comment", "case P1"),
                "sync",
            ]
        ),
        max_size=14,
    ),
    data=st.data(),
)
@settings(max_examples=300, deadline=None)
def test_whatever_people_do_and_whatever_is_lost_both_sides_come_to_rest(steps: list[str], data: st.DataObject) -> None:
    """Webhooks are lost, late, repeated and out of order; at the end one read. Then: at rest, in step or settled."""
    world = World()
    delivered = 0
    for step in steps:
        if step.startswith("case "):
            act_on_case(world, step)
        elif step == "sync":
            world.settle()
        else:
            act_in_pagerduty(world, step)
        waiting = world.sent[delivered:]
        if waiting and data.draw(st.booleans()):
            for event in data.draw(st.permutations(waiting)):
                if data.draw(st.integers(0, 3)):
                    world.deliver(event)
            delivered = len(world.sent)
            world.settle()
    heal(world)
    statuses = (world.case.status, world.incident.status)
    agreed = world.link.agreed(Field.STATUS)
    assert agreed == type(agreed)(statuses[0].value, statuses[1].value)
    if not in_step(world):
        # Only these differences stand: each has a rule that says why nothing is written.
        assert (
            world.case.status is CaseStatus.CLOSED
            or (world.case.status is CaseStatus.RESOLVED and world.incident.status.is_open)
            or (world.case.status is CaseStatus.ACTIVE and world.incident.status is ACKNOWLEDGED)
        )
    assert_comments_once(world)
    writes = world.writes
    for event in world.sent:
        world.events_seen.discard(event.id)
    heal(world)
    assert world.writes == writes, "a world at rest was written to"


def act_on_case(world: World, step: str) -> None:
    status = world.case.status
    moves: dict[str, tuple[Callable[[], bool], CaseStatus]] = {
        "case acknowledge": (lambda: status is CaseStatus.ACTIVE, CaseStatus.ACKNOWLEDGED),
        "case unacknowledge": (lambda: status is CaseStatus.ACKNOWLEDGED, CaseStatus.ACTIVE),
        "case resolve": (lambda: status.is_open, CaseStatus.RESOLVED),
        "case close": (lambda: status is not CaseStatus.CLOSED, CaseStatus.CLOSED),
    }
    if step in moves:
        allowed, becomes = moves[step]
        if allowed():
            world.case_becomes(becomes)
    elif step == "case comment":
        world.comment(f"comment {len(world.comments)}")
    elif status.is_open:
        world.case = replace(world.case, override_priority=CasePriority.P1, priority_changed_at=world.tick())


def heal(world: World) -> None:
    """One reconcile: read the incident and its notes, and let both sides settle."""
    world.tick(61_000)
    world.link = replace(world.link, is_doubtful=True, wants_notes=True)
    world.settle()


def assert_comments_once(world: World) -> None:
    written = [comment.text for comment in world.comments if comment.reference is None]
    from_notes = [comment.text for comment in world.comments if comment.reference is not None]
    for text in written:
        assert sum(f": {text} [c-" in note.text for note in world.notes) == 1, text
    for note in world.notes:
        if note.by is not None and note.by.id == "PADA001":
            assert from_notes.count(note.text) == 1, note.text


def test_a_note_whose_reply_was_lost_is_found_and_not_sent_twice() -> None:
    world = World()
    world.comment("looking")
    world.settle(loses_note_reply=True)
    assert len(world.notes) == 1
    world.settle()
    assert len(world.notes) == 1
    assert [entry.state for entry in world.ledger.entries] == ["placed"]


VALUES = st.sampled_from(["triggered", "acknowledged", "resolved"])


@given(st.lists(st.tuples(VALUES, st.integers(0, 20)), min_size=1, max_size=6), st.data())
def test_webhooks_fold_to_the_same_picture_in_every_order(found: list[tuple[str, int]], data: st.DataObject) -> None:
    observations = [Seen(value, at(tenths / 10), at(tenths / 10)) for value, tenths in found]

    def fold(items: list[Seen]) -> Seen | None:
        known: Seen | None = None
        for item in items:
            known = observe(known, item).seen
        return known

    shuffled = data.draw(st.permutations(observations))
    assert fold(shuffled + shuffled[:2]) == fold(observations)


def test_a_webhook_of_the_second_of_a_read_is_a_doubt_and_not_a_guess() -> None:
    read = Seen("acknowledged", at(5), at(5), is_read=True)
    assert observe(read, Seen("resolved", at(5.8), at(5.8))).observed is Observed.DOUBT
    assert observe(read, Seen("resolved", at(6.1), at(6.1))).observed is Observed.NEW
    assert observe(read, Seen("resolved", at(4.9), at(4.9))).observed is Observed.STALE


def test_a_read_is_believed_though_updated_at_did_not_move_once_no_replica_can_lag_so_far() -> None:
    event = Seen("PRIO1", at(5.2), at(5.2))
    read = Seen("PRIO2", at(1), at(1), is_read=True)
    assert observe(event, read, at(30)).seen.value == "PRIO1"
    assert observe(event, read, at(70)).seen.value == "PRIO2"
