"""Cases and timelines in Coralogix's JSON: what is written, what is read back, and how tolerant the reading is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from pagerduty_sync.coralogix.listing import ListCases
from pagerduty_sync.coralogix.requests import WriteComment, load
from pagerduty_sync.coralogix.wire import actor_json, case_from, case_json, event_from, event_json, time_text
from pagerduty_sync.domain.cases import Actor, Case, CaseCategory, CasePriority, CaseStatus, TimelineEvent
from pagerduty_sync.errors import InvalidRequestError, PayloadError

AT = datetime(2026, 4, 1, 2, 3, 4, 567_000, tzinfo=UTC)
USER = "0f8fad5b-d9cb-469f-a165-70867728950e"
JANE = Actor("pagerDuty", "PUSER01", "Jane Doe", "jane@example.com")


def a_case(**changed):
    case = Case(
        id="3f166e9f-3c88-4af2-b52e-138f339dab3e",
        readable_id="CASE-12",
        title="Checkout is slow",
        status=CaseStatus.ACTIVE,
        system_priority=CasePriority.P3,
        category=CaseCategory.AVAILABILITY,
        created_at=AT,
        updated_at=AT,
        status_changed_at=AT,
        priority_changed_at=AT,
    )
    return replace(case, **changed)


def an_event(kind="comment", content=None, actor=JANE, **changed):
    event = TimelineEvent("f56645c5-9cd4-4b9f-961f-4f852d8835a0", a_case().id, kind, actor, content or {}, AT)
    return replace(event, **changed)


def test_a_case_that_is_open_has_neither_resolution_nor_duration():
    shown = case_json(a_case())
    assert not {"resolutionDetails", "duration", "acknowledgeTime", "assignee"} & set(shown)
    assert shown["priorityDetails"] == {"system": "CASE_PRIORITY_P3"}
    assert (shown["labels"], shown["groupings"], shown["impactedEntities"]) == ([], [], [])


def test_the_override_is_what_counts():
    shown = case_json(a_case(override_priority=CasePriority.P1))
    assert shown["priority"] == "CASE_PRIORITY_P1"
    assert shown["priorityDetails"] == {"system": "CASE_PRIORITY_P3", "override": "CASE_PRIORITY_P1"}


def test_a_resolved_case_tells_who_when_why_and_how_long_as_text():
    shown = case_json(
        a_case(
            status=CaseStatus.RESOLVED,
            resolved_at=AT + timedelta(days=400),
            resolved_by=JANE,
            resolution_reason="Rolled back",
        )
    )
    assert shown["duration"] == "34560000000"
    assert shown["resolutionDetails"] == {
        "reason": "Rolled back",
        "resolveTime": "2027-05-06T02:03:04.567000Z",
        "resolvedBy": {"pagerDuty": {}},
    }


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        (JANE, {"pagerDuty": {"pagerDutyUserId": "PUSER01", "displayName": "Jane Doe", "userEmail": JANE.email}}),
        (Actor("pagerDuty", "PUSER01"), {"pagerDuty": {"pagerDutyUserId": "PUSER01", "displayName": "PUSER01"}}),
        (Actor("apiKey", "7", "bot"), {"apiKey": {"id": "7", "name": "bot"}}),
        (Actor("apiKey"), {"apiKey": {}}),
        (Actor("user", USER, "Jane"), {"user": {"id": USER}}),
        (Actor("user", "not-a-uuid"), {"user": {}}),
        (Actor("system", name="system"), {"system": {}}),
        (Actor("apiKey", name="x" * 999), {"apiKey": {"name": "x" * 256}}),
    ],
)
def test_an_actor_is_one_member_with_what_is_known(actor, expected):
    assert actor_json(actor) == expected


def test_times_are_utc_and_end_in_z():
    assert time_text(AT.astimezone(timezone(timedelta(hours=2)))) == "2026-04-01T02:03:04.567000Z"


EVENTS = [
    ("created", {"priority": "P2"}, {"priority": "CASE_PRIORITY_P2"}),
    (
        "statusChanged",
        {"oldStatus": "ACTIVE", "newStatus": "RESOLVED"},
        {"oldStatus": "CASE_STATUS_ACTIVE", "newStatus": "CASE_STATUS_RESOLVED"},
    ),
    (
        "priorityDetailsChanged",
        {"from": {"system": "P3"}, "to": {"system": "P3", "override": "P1"}},
        {
            "from": {"system": "CASE_PRIORITY_P3"},
            "to": {"system": "CASE_PRIORITY_P3", "override": "CASE_PRIORITY_P1"},
        },
    ),
    ("comment", {"unsafeText": "<b>", "attachments": []}, {"unsafeText": "<b>", "attachments": []}),
    ("titleChangedEvent", {"from": "a", "to": "b"}, {"from": "a", "to": "b"}),
    ("assigned", {"assigneeUserId": USER}, {"assigneeUserId": USER}),
]


@pytest.mark.parametrize(("kind", "content", "written"), EVENTS, ids=[kind for kind, *_ in EVENTS])
def test_an_event_is_written_and_read_back(kind, content, written):
    event = an_event(kind, content, updated_at=AT)
    body = event_json(event)
    assert body["eventData"] == {kind: written}
    assert event_from(body, event.case_id) == event


def test_a_long_resolution_reason_is_cut_where_the_contract_cuts_it():
    body = event_json(an_event("resolutionReasonChangedEvent", {"to": "x" * 4_096}))
    assert len(body["eventData"]["resolutionReasonChangedEvent"]["to"]) == 500


@pytest.mark.parametrize(
    "case",
    [
        a_case(),
        a_case(override_priority=CasePriority.P1, labels={"team": ["a", "b"]}, groupings={"service": ["c"]}),
        a_case(status=CaseStatus.ACKNOWLEDGED, acknowledged_at=AT, assignee_user_id=USER),
        a_case(readable_id=None, status=CaseStatus.PENDING_ACTIVATION),
        a_case(
            status=CaseStatus.RESOLVED,
            resolved_at=AT,
            resolved_by=Actor("pagerDuty"),
            resolution_reason="Rolled back",
            resolution_changed_at=AT,
        ),
    ],
    ids=["active", "overridden", "acknowledged", "pending", "resolved"],
)
def test_a_case_that_is_written_reads_back_as_itself(case):
    assert case_from(case_json(case)) == case


def test_what_is_newer_than_this_code_is_read_past():
    body = {
        **case_json(a_case()),
        "aiSummary": "x",
        "resolutionDetails": {"resolveTime": "2026-04-01T02:03:04Z", "resolvedBy": {"robot": {}}, "mood": 1},
    }
    assert case_from(body).resolved_by == Actor("system", name="system")
    event = event_from(
        {**event_json(an_event()), "eventData": {"danced": {"how": "well"}}, "actor": {"robot": {}}}, "c"
    )
    assert (event.kind, event.content, event.actor.kind) == ("danced", {"how": "well"}, "system")


@pytest.mark.parametrize(
    "broken",
    [{"status": "CASE_STATUS_LOST"}, {"createTime": "soon"}, {"createTime": "2026-04-01T00:00:00"}, {"labels": [1]}],
)
def test_what_the_sync_could_not_decide_by_is_refused(broken):
    with pytest.raises(PayloadError):
        case_from({**case_json(a_case()), **broken})
    with pytest.raises(PayloadError):
        case_from({})
    with pytest.raises(PayloadError):
        event_from({"eventData": []}, "c")


def test_an_empty_request_for_a_list_means_the_newest_first():
    asked = load(ListCases, {})
    assert (asked["order"], asked["descending"], asked.get("page_size", 100)) == ("CREATED_AT", True, 100)


def test_a_text_is_trimmed_before_it_is_measured():
    assert load(WriteComment, {"text": " " * 20_000 + "x"})["text"] == "x"
    with pytest.raises(InvalidRequestError) as caught:
        load(WriteComment, {"text": " "})
    assert caught.value.field == "text"
