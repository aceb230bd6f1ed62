"""The built-in Case system against a real server: its states, its timeline, and the rows it leaves for the sync."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from pagerduty_sync.domain.cases import SYSTEM, Actor, CasePriority, CaseStatus
from pagerduty_sync.errors import InvalidRequestError, NotFoundError, TransitionError
from pagerduty_sync.stores.case_events import CaseEvents
from pagerduty_sync.stores.case_listing import CaseFilters, CaseOrder
from pagerduty_sync.stores.cases import CaseStore
from pagerduty_sync.stores.database import Database

JANE = Actor("pagerDuty", "PUSER01", "Jane Doe", "jane@example.com")
KEY = Actor("apiKey", "7f0c", "deploy bot")
USER = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER_USER = "7c9e6679-7425-40de-944b-e07fc1f90ae7"

PENDING, ACTIVE, ACKNOWLEDGED, RESOLVED, CLOSED = CaseStatus


@pytest.fixture(scope="module")
def pool(shared_database_url):
    database = Database(shared_database_url, max_size=8)
    yield database
    database.close()


@pytest.fixture
def database(pool):
    with pool.transaction() as connection:
        connection.execute("DELETE FROM cases; DELETE FROM case_events")
    return pool


@pytest.fixture
def cases(database):
    return CaseStore(database)


@pytest.fixture
def events(database):
    return CaseEvents(database)


def a_case(cases, status=ACTIVE, title="Checkout is slow", **given):
    case = cases.create_case(title, CasePriority.P3, actor=SYSTEM, activate=status is not PENDING, **given)
    if status is ACKNOWLEDGED:
        case = cases.acknowledge(case.id, KEY)
    if status in (RESOLVED, CLOSED):
        case = cases.resolve(case.id, KEY)
    if status is CLOSED:
        case = cases.close(case.id, KEY)
    assert case.status is status
    return case


def traces(cases, events, case):
    """Everything a change may leave behind."""
    return cases.get_case(case.id), cases.list_events(case.id), events.waiting(case.id)


MOVES = {
    "activate": (ACTIVE, lambda cases, case: cases.activate(case.id, JANE)),
    "acknowledge": (ACKNOWLEDGED, lambda cases, case: cases.acknowledge(case.id, JANE)),
    "unacknowledge": (ACTIVE, lambda cases, case: cases.unacknowledge(case.id, JANE)),
    "resolve": (RESOLVED, lambda cases, case: cases.resolve(case.id, JANE, "Rolled back")),
    "close": (CLOSED, lambda cases, case: cases.close(case.id, JANE)),
}
ALLOWED = {
    ("activate", PENDING),
    ("acknowledge", ACTIVE),
    ("unacknowledge", ACKNOWLEDGED),
    ("resolve", PENDING),
    ("resolve", ACTIVE),
    ("resolve", ACKNOWLEDGED),
    ("close", ACTIVE),
    ("close", ACKNOWLEDGED),
    ("close", RESOLVED),
}


@pytest.mark.parametrize("start", CaseStatus, ids=lambda status: f"from {status}")
@pytest.mark.parametrize("move", MOVES)
def test_the_state_machine(cases, events, move, start):
    case = a_case(cases, start)
    before = traces(cases, events, case)
    to, make = MOVES[move]

    if start is to:
        assert make(cases, case) == case
        assert traces(cases, events, case) == before
    elif (move, start) in ALLOWED:
        changed = make(cases, case)
        assert changed == cases.get_case(case.id)
        assert (changed.status, changed.status_changed_at) == (to, changed.updated_at)
        assert changed.updated_at > case.updated_at
        added = cases.list_events(case.id)[len(before[1])]
        assert (added.kind, added.content, added.actor) == (
            "statusChanged",
            {"oldStatus": start, "newStatus": to},
            JANE,
        )
        (told,) = events.waiting(case.id)[len(before[2]) :]
        assert (told.kind, told.actor, told.timeline_event_id) == ("statusChanged", JANE, added.event_id)
        assert told.occurred_at == changed.updated_at == added.created_at
        assert make(cases, case) == changed
        assert len(events.waiting(case.id)) == len(before[2]) + 1
    else:
        with pytest.raises(TransitionError, match=f"is {start} and cannot become {to}"):
            make(cases, case)
        assert traces(cases, events, case) == before


def test_a_new_case_has_a_readable_id_unless_it_waits_for_its_activation(cases):
    active, waiting = a_case(cases), a_case(cases, PENDING)

    assert active.readable_id is not None
    assert active.readable_id.startswith("CASE-")
    assert waiting.readable_id is None
    assert cases.get_case(active.readable_id) == active
    assert cases.activate(waiting.id, SYSTEM).readable_id not in (None, active.readable_id)


def test_a_new_case_stands_on_its_timeline_with_its_actor(cases, events):
    case = cases.create_case(" Slow ", CasePriority.P2, actor=KEY, labels={"team": ["pay", "web"]}, description=" x ")

    (created,) = cases.list_events(case.id)
    assert (created.kind, created.content, created.actor) == ("created", {"priority": "P2"}, KEY)
    assert [event.kind for event in events.waiting(case.id)] == ["created"]
    assert (case.title, case.description, case.labels) == ("Slow", "x", {"team": ["pay", "web"]})


def test_the_times_of_a_case_follow_its_states(cases):
    case = a_case(cases, ACKNOWLEDGED)
    assert case.acknowledged_at == case.status_changed_at
    assert cases.unacknowledge(case.id, KEY).acknowledged_at is None

    resolved = cases.resolve(case.id, JANE, "  Rolled back\n")
    assert resolved.resolution_reason == "Rolled back"
    assert resolved.resolved_at == resolved.resolution_changed_at == resolved.status_changed_at
    assert resolved.resolved_by == JANE
    closed = cases.close(case.id, KEY)
    assert (closed.resolved_at, closed.resolved_by) == (resolved.resolved_at, JANE)


def test_each_change_is_later_than_the_one_before_even_if_the_clock_is_set_back(cases, database):
    case = a_case(cases)
    with database.transaction() as connection:
        connection.execute("UPDATE cases SET updated_at = now() + interval '1 hour'")

    changed = cases.acknowledge(case.id, KEY)

    assert changed.updated_at > case.updated_at + timedelta(minutes=59)


@pytest.mark.parametrize("status", CaseStatus)
def test_the_priority_is_overridden_only_while_open(cases, events, status):
    case = a_case(cases, status)
    before = traces(cases, events, case)
    if not status.is_open:
        with pytest.raises(TransitionError):
            cases.override_priority(case.id, JANE, CasePriority.P1)
        assert cases.override_priority(case.id, JANE, None) == case
        assert traces(cases, events, case) == before
        return

    raised = cases.override_priority(case.id, JANE, CasePriority.P1)
    assert (raised.priority, raised.system_priority) == ("P1", "P3")
    assert cases.override_priority(case.id, JANE, CasePriority.P1) == raised
    cleared = cases.override_priority(case.id, JANE, None)
    assert (cleared.priority, cleared.override_priority) == ("P3", None)
    assert [event.content for event in cases.list_events(case.id)[-2:]] == [
        {"from": {"system": "P3"}, "to": {"system": "P3", "override": "P1"}},
        {"from": {"system": "P3", "override": "P1"}, "to": {"system": "P3"}},
    ]
    assert [event.kind for event in events.waiting(case.id)[len(before[2]) :]] == ["priorityDetailsChanged"] * 2


def test_a_system_priority_behind_an_override_changes_nothing_that_counts(cases):
    case = cases.override_priority(a_case(cases).id, KEY, CasePriority.P1)

    changed = cases.set_system_priority(case.id, SYSTEM, CasePriority.P5)

    assert (changed.priority, changed.system_priority) == ("P1", "P5")
    assert changed.priority_changed_at == case.priority_changed_at
    with pytest.raises(TransitionError):
        cases.set_system_priority(a_case(cases, RESOLVED).id, SYSTEM, CasePriority.P1)


@pytest.mark.parametrize("status", CaseStatus)
def test_the_resolution_reason_is_set_only_while_resolved(cases, events, status):
    case = a_case(cases, status)
    before = traces(cases, events, case)
    if status is not RESOLVED:
        with pytest.raises(TransitionError):
            cases.set_resolution_reason(case.id, JANE, "Rolled back")
        assert traces(cases, events, case) == before
        return

    first = cases.set_resolution_reason(case.id, JANE, "Rolled back")
    assert cases.set_resolution_reason(case.id, JANE, " Rolled back ") == first
    cases.set_resolution_reason(case.id, JANE, "Rolled forward")
    assert [(event.kind, event.content) for event in cases.list_events(case.id)[-2:]] == [
        ("resolutionReasonChangedEvent", {"to": "Rolled back"}),
        ("resolutionReasonChangedEvent", {"from": "Rolled back", "to": "Rolled forward"}),
    ]


def test_resolving_a_resolved_case_keeps_its_reason(cases):
    case = cases.resolve(a_case(cases).id, KEY, "first")
    assert cases.resolve(case.id, JANE, "second") == case


def test_an_update_with_one_wrong_half_changes_nothing(cases, events):
    case = a_case(cases)
    before = traces(cases, events, case)
    with pytest.raises(TransitionError):
        cases.update(case.id, KEY, title="New", resolution_reason="too early")
    assert traces(cases, events, case) == before

    assert cases.update(case.id, KEY, title=" New ").title == "New"
    assert cases.list_events(case.id)[-1].content == {"from": "Checkout is slow", "to": "New"}


def test_assigning_and_unassigning(cases):
    case = a_case(cases)
    assert cases.unassign(case.id, KEY) == case
    assigned = cases.assign(case.id, KEY, USER.upper())
    assert assigned.assignee_user_id == USER
    assert cases.assign(case.id, KEY, USER) == assigned
    cases.assign(case.id, KEY, OTHER_USER)
    cases.unassign(case.id, KEY)
    assert [(event.kind, event.content) for event in cases.list_events(case.id)[1:]] == [
        ("assigned", {"assigneeUserId": USER}),
        ("assigned", {"assigneeUserId": OTHER_USER, "previousAssigneeUserId": USER}),
        ("unassigned", {"previousAssigneeUserId": OTHER_USER}),
    ]
    with pytest.raises(InvalidRequestError):
        cases.assign(case.id, KEY, "jane")


@pytest.mark.parametrize("status", CaseStatus)
def test_a_case_takes_comments_in_any_state(cases, events, status):
    case = a_case(cases, status)
    handled = len(events.waiting(case.id))

    added = cases.add_comment(case.id, JANE, "  Looking\n")

    assert (added.kind, added.content["unsafeText"], added.actor) == ("comment", "Looking", JANE)
    assert [comment.text for comment in cases.list_comments(case.id)] == ["Looking"]
    (told,) = events.waiting(case.id)[handled:]
    assert (told.kind, told.timeline_event_id) == ("comment", added.event_id)


def test_a_comment_is_edited_and_deleted_and_the_sync_is_told(cases, events):
    case = a_case(cases)
    first, second = (cases.add_comment(case.id, JANE, text) for text in ("one", "two"))

    edited = cases.update_comment(first.event_id, KEY, "uno")
    assert (edited.content["unsafeText"], edited.actor) == ("uno", JANE)
    assert edited.updated_at is not None
    assert cases.update_comment(first.event_id, KEY, "uno") == edited == cases.get_event(first.event_id)
    assert cases.delete_comment(second.event_id, KEY) == case.id

    assert [comment.text for comment in cases.list_comments(case.id)] == ["uno"]
    assert [event.kind for event in cases.list_events(case.id)] == ["created", "comment"]
    for gone in (cases.get_event, lambda event_id: cases.delete_comment(event_id, KEY)):
        with pytest.raises(NotFoundError):
            gone(second.event_id)
    assert [(event.kind, event.actor) for event in events.waiting(case.id)[-2:]] == [
        ("commentUpdated", KEY),
        ("commentDeleted", KEY),
    ]


def test_only_comments_can_be_edited(cases):
    (created,) = cases.list_events(a_case(cases).id)
    with pytest.raises(NotFoundError):
        cases.update_comment(created.event_id, KEY, "rewritten history")


def test_a_comment_placed_twice_stands_once_and_is_not_put_back_when_deleted(cases, events):
    case = a_case(cases)
    event_id = cases.place_comment(case.id, JANE, "note", "ledger-1")
    assert cases.place_comment(case.readable_id, JANE, "note, said again", "ledger-1") == event_id
    assert cases.place_comment(case.id, JANE, "note", "ledger-2") != event_id
    assert [(comment.text, comment.reference) for comment in cases.list_comments(case.id)] == [
        ("note", "ledger-1"),
        ("note", "ledger-2"),
    ]
    assert len(events.waiting(case.id)) == 3

    cases.delete_comment(event_id, KEY)
    assert cases.place_comment(case.id, JANE, "note", "ledger-1") == event_id
    assert [comment.reference for comment in cases.list_comments(case.id)] == ["ledger-2"]


def test_many_that_place_the_same_comment_at_once_place_one(cases, events):
    case = a_case(cases)
    with ThreadPoolExecutor(8) as threads:
        placed = list(threads.map(lambda _: cases.place_comment(case.id, JANE, "note", "ledger-1"), range(24)))

    assert len(set(placed)) == 1
    assert len(cases.list_comments(case.id)) == 1
    assert [event.kind for event in events.waiting(case.id)] == ["created", "comment"]


def test_many_that_acknowledge_at_once_leave_one_trace(cases, events):
    case = a_case(cases)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: cases.acknowledge(case.id, JANE), range(16)))

    assert [event.kind for event in cases.list_events(case.id)] == ["created", "statusChanged"]
    assert len(events.waiting(case.id)) == 2


def test_a_bulk_is_all_or_nothing_and_names_each_case_once(cases, events):
    first, second, closed = a_case(cases), a_case(cases), a_case(cases, CLOSED)
    for names, error in (([first.id, closed.id], TransitionError), ([first.id, "CASE-9999"], NotFoundError)):
        with pytest.raises(error):
            cases.change_all(names, KEY, lambda changes, case_id: changes.acknowledge(case_id))
        assert cases.get_case(first.id) == first

    changed = cases.change_all(
        [second.id, first.readable_id, first.id.upper()], KEY, lambda changes, case_id: changes.acknowledge(case_id)
    )

    assert [(case.id, case.status) for case in changed] == [(second.id, ACKNOWLEDGED), (first.id, ACKNOWLEDGED)]
    assert len(events.waiting(first.id)) == 2


def test_bulks_in_opposite_order_do_not_wait_for_each_other(cases):
    names = [a_case(cases).id for _ in range(12)]

    def move(order):
        for _ in range(4):
            cases.change_all(order, KEY, lambda changes, case_id: changes.acknowledge(case_id))
            cases.change_all(order, KEY, lambda changes, case_id: changes.unacknowledge(case_id))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(move, [names, names[::-1]]))


TEXTS = {"blank": " \n\t", "empty": "", "NUL": "a\0b", "half a surrogate pair": "a\ud800", "too long": "x" * 10_001}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda cases, case, text: cases.add_comment(case.id, KEY, text), id="comment"),
        pytest.param(lambda cases, case, text: cases.place_comment(case.id, KEY, text, "r"), id="placed comment"),
        pytest.param(lambda cases, case, text: cases.update(case.id, KEY, title=text), id="title"),
        pytest.param(lambda cases, case, text: cases.create_case(text, CasePriority.P1, actor=KEY), id="new title"),
        pytest.param(
            lambda cases, case, text: cases.create_case("x", CasePriority.P1, actor=KEY, labels={"k": [text]}),
            id="label",
        ),
    ],
)
def test_a_text_a_case_cannot_take_is_refused(cases, events, write, text):
    case = a_case(cases)
    before = traces(cases, events, case)
    with pytest.raises(InvalidRequestError) as caught:
        write(cases, case, text)
    assert caught.value.field
    assert traces(cases, events, case) == before


def test_the_longest_comment_is_taken(cases):
    case = a_case(cases)
    cases.add_comment(case.id, KEY, "é" * 10_000)
    assert len(cases.list_comments(case.id)[0].text) == 10_000


@pytest.mark.parametrize("name", [USER, "CASE-404", "case-1", "", "x" * 500, "a\0", "é", "CASE-１", "\ud800"])
def test_a_case_nobody_knows_is_not_found(cases, name):
    for look in (cases.get_case, cases.list_events, cases.list_comments, cases.get_event):
        with pytest.raises(NotFoundError):
            look(name)
    with pytest.raises(NotFoundError):
        cases.acknowledge(name, KEY)


def pages(cases, *args, size=3, **kwargs):
    found, token = [], None
    while True:
        page, token = cases.list_cases(*args, page_size=size, page_token=token, **kwargs)
        assert len(page) <= size
        found += page
        if token is None:
            return found


@pytest.mark.parametrize("order", CaseOrder)
@pytest.mark.parametrize("descending", [True, False], ids=["descending", "ascending"])
def test_pages_in_any_order_hold_every_case_once(cases, order, descending):
    made = [a_case(cases, status, str(number)) for number, status in enumerate([*CaseStatus, ACTIVE, RESOLVED])]
    cases.override_priority(made[1].id, KEY, CasePriority.P1)
    key = {
        CaseOrder.CREATED_AT: lambda case: case.created_at,
        CaseOrder.UPDATED_AT: lambda case: case.updated_at,
        CaseOrder.PRIORITY: lambda case: -int(case.priority[1]),
        CaseOrder.STATUS: lambda case: list(CaseStatus).index(case.status),
        CaseOrder.CATEGORY: lambda case: case.category,
        CaseOrder.DURATION: lambda case: 0,
    }[order]

    found = pages(cases, None, order, descending=descending)

    assert {case.id for case in found} == {case.id for case in made}
    assert len(found) == len(made)
    assert [key(case) for case in found] == sorted((key(case) for case in made_now(cases, made)), reverse=descending)


def made_now(cases, made):
    return [cases.get_case(case.id) for case in made]


def test_a_case_that_is_added_meanwhile_neither_repeats_nor_hides_another(cases):
    made = [a_case(cases) for _ in range(4)]
    page, token = cases.list_cases(page_size=2)
    a_case(cases)
    rest, end = cases.list_cases(page_size=2, page_token=token)
    assert [case.id for case in page + rest] == [case.id for case in reversed(made)]
    assert end is None


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"statuses": [ACTIVE]}, {"b", "c"}),
        ({"statuses": [RESOLVED, CLOSED]}, {"a"}),
        ({"priorities": [CasePriority.P1]}, {"b"}),
        ({"priorities": [CasePriority.P3]}, {"a", "c"}),
        ({"assignees": [USER]}, {"c"}),
        ({"assignees": [None]}, {"a", "b"}),
        ({"assignees": [USER, None]}, {"a", "b", "c"}),
        ({"labels": [("team", ["pay", "web"])]}, {"a", "b"}),
        ({"labels": [("team", ["pay"]), ("env", ["prod"])]}, {"a"}),
        ({"flat_labels": [("team", "web"), ("env", "prod")]}, {"a", "b"}),
        ({"groupings": [("service", ["cart"])]}, {"c"}),
        ({"title_contains": "B"}, {"b"}),
        ({"title_contains": "%"}, set()),
        ({"statuses": [ACTIVE], "labels": [("team", ["pay"])]}, set()),
    ],
)
def test_filters(cases, filters, expected):
    cases.resolve(a_case(cases, title="a", labels={"team": ["pay"], "env": ["prod"]}).id, KEY)
    cases.override_priority(a_case(cases, title="b", labels={"team": ["web", "app"]}).id, KEY, CasePriority.P1)
    cases.assign(a_case(cases, title="c", groupings={"service": ["cart"]}).id, KEY, USER)

    assert {case.title for case in pages(cases, CaseFilters(**filters))} == expected


def test_a_span_of_time_means_the_cases_that_were_open_in_it(cases):
    old = cases.resolve(a_case(cases, title="old").id, KEY)
    young = a_case(cases, title="young")

    def found(**span):
        return [case.title for case in cases.list_cases(CaseFilters(**span))[0]]

    assert found(since=old.resolved_at) == ["young", "old"]
    assert found(since=young.created_at) == ["young"]
    assert found(until=old.created_at) == ["old"]
    assert found(until=old.created_at, since=old.created_at, by_creation=True) == ["old"]


def test_a_token_of_another_question_is_refused(cases):
    for _ in range(3):
        a_case(cases)
    _, token = cases.list_cases(page_size=1)
    for question in ({"descending": False}, {"filters": CaseFilters(statuses=[ACTIVE])}, {"order": CaseOrder.STATUS}):
        with pytest.raises(InvalidRequestError) as caught:
            cases.list_cases(page_token=token, **question)
        assert caught.value.field == "pageToken"


def test_what_the_sync_has_looked_at_no_longer_waits(cases, events, database):
    first, second = a_case(cases), a_case(cases)
    cases.acknowledge(first.id, KEY)

    assert events.cases_waiting(10) == [first.id, second.id]
    assert events.cases_waiting(1) == [first.id]
    assert events.cases_waiting(10, older_than_seconds=60) == []
    ids = [event.id for event in events.waiting(first.id)]
    with database.transaction() as connection:
        assert events.mark_handled(connection, ids) == 2
    assert events.mark_handled(None, ids) == 0
    assert events.waiting(first.id) == []
    assert events.cases_waiting(10) == [second.id]


def test_a_change_that_is_rolled_back_tells_nobody(cases, events):
    case = a_case(cases)
    with pytest.raises(ZeroDivisionError), cases.changes(KEY) as changes:
        changes.acknowledge(case.id)
        _ = 1 / 0

    assert cases.get_case(case.id) == case
    assert [event.kind for event in events.waiting(case.id)] == ["created"]


def test_the_actor_comes_back_whole(cases):
    case = cases.resolve(a_case(cases).id, replace(JANE, email=""))
    assert case.resolved_by == Actor("pagerDuty", "PUSER01", "Jane Doe")
