"""What webhooks mean: the published samples, bodies made by hand, and everything that is no webhook at all."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagerduty_sync.domain.cases import Actor
from pagerduty_sync.domain.incidents import IncidentStatus
from pagerduty_sync.errors import PayloadError
from pagerduty_sync.pagerduty.schemas import KNOWN_EVENT_TYPES, SUBSCRIBED_EVENT_TYPES, parse_event
from tests.builders import (
    A_USER,
    a_merge_webhook,
    a_note_webhook,
    a_ping,
    a_reference,
    a_webhook,
    an_envelope,
    as_bytes,
)

SHARED = Path(os.environ.get("PAGERDUTY_SYNC_SHARED") or Path(__file__).parents[3] / "shared")
SAMPLES = SHARED / "samples" / "pagerduty-webhooks"
needs_samples = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason=f"no sample webhooks at {SAMPLES}; PAGERDUTY_SYNC_SHARED names the folder above them"
)

TRIGGERED, ACKNOWLEDGED, RESOLVED = IncidentStatus.TRIGGERED, IncidentStatus.ACKNOWLEDGED, IncidentStatus.RESOLVED


def parse(webhook):
    return parse_event(as_bytes(webhook))


# ---- real deliveries ------------------------------------------------------------------------------------------------


@needs_samples
@pytest.mark.parametrize(
    ("name", "incident_id", "status", "priority_id", "service_id", "changes_status"),
    [
        ("incident.triggered", "PFQZPSY", TRIGGERED, None, "PA2P440", True),
        ("incident.triggered.automation-client", "Q2X369CTEOAGYM", TRIGGERED, None, "P6V6QVD", True),
        ("incident.acknowledged", "PQ1K5C8", ACKNOWLEDGED, None, "PA2P440", True),
        ("incident.unacknowledged", "PQ1K5C8", TRIGGERED, None, "PA2P440", True),
        ("incident.resolved", "PCPZE64", RESOLVED, None, "PA2P440", True),
        ("incident.reopened", "Q05XJA8GDXGOB3", TRIGGERED, "PGPAA68", "PLVTM9H", True),
        ("incident.priority_updated", "Q3B15VLMF3ASBD", TRIGGERED, "PJLLAIY", "PLVTM9H", False),
        ("official-docs.incident.priority_updated", "PGR0VU2", TRIGGERED, "PSO75BM", "PF9KMXH", False),
        ("incident.reassigned", "PIQUG8X", TRIGGERED, None, "PA2P440", False),
    ],
)
def test_a_sample_with_an_incident_is_read_whole(name, incident_id, status, priority_id, service_id, changes_status):
    event = parse_event((SAMPLES / f"{name}.json").read_bytes())
    incident = event.incident
    assert event.incident_id == incident.id == incident_id
    assert (incident.status, incident.priority_id, incident.service_id) == (status, priority_id, service_id)
    assert incident.seen_at == event.occurred_at
    assert incident.status_changed_at == (event.occurred_at if changes_status else None)
    assert incident.by == event.agent
    assert incident.merged_into is None
    assert event.note is None


@needs_samples
def test_a_sample_keeps_what_people_see():
    incident = parse_event((SAMPLES / "incident.priority_updated.json").read_bytes()).incident
    assert incident.number == 5
    assert incident.title == "Critical: Checkout API High Latency"
    assert incident.html_url.endswith("/incidents/Q3B15VLMF3ASBD")
    assert incident.incident_key == "d387d7bd2e0a4294a5307339dfe1669a"
    assert incident.urgency == "high"
    assert incident.seen_at == datetime(2026, 4, 1, 2, 15, 36, 315000, tzinfo=UTC)
    assert incident.by == Actor("pagerDuty", id="PXRUEF2", name="Harsh Santwani")


@needs_samples
@pytest.mark.parametrize(
    ("name", "incident_id", "note_id", "text", "resolution"),
    [
        (
            "incident.annotated",
            "Q3B15VLMF3ASBD",
            "PEMJB6G",
            "Running KILL on long-running queries from the reporting-service.",
            None,
        ),
        ("incident.annotated.resolution-note", "Q16GF6R130M4EU", "PJ9TB62", "Resolution Note: asd", "asd"),
    ],
)
def test_a_sample_with_a_note_is_a_note(name, incident_id, note_id, text, resolution):
    event = parse_event((SAMPLES / f"{name}.json").read_bytes())
    assert event.incident is None
    assert event.incident_id == incident_id
    assert (event.note.id, event.note.text, event.note.resolution_text) == (note_id, text, resolution)
    assert event.note.by == event.agent
    assert event.note.created_at == event.occurred_at
    assert not event.note.is_trimmed


@needs_samples
@pytest.mark.parametrize(
    ("name", "incident_id"),
    [
        ("incident.conference_bridge.updated", "Q3B15VLMF3ASBD"),
        ("incident.status_update_published", "Q3B15VLMF3ASBD"),
        ("official-docs.service.updated", None),
        ("pagey.ping", None),
    ],
)
def test_a_sample_of_another_kind_names_its_incident_if_it_has_one(name, incident_id):
    event = parse_event((SAMPLES / f"{name}.json").read_bytes())
    assert event.event_type in KNOWN_EVENT_TYPES
    assert (event.incident_id, event.incident, event.note) == (incident_id, None, None)
    assert event.is_ping == (name == "pagey.ping")


@needs_samples
@pytest.mark.parametrize("name", ["official-docs.create-subscription-request", "official-docs.data-shapes"])
def test_a_sample_that_is_no_webhook_is_refused(name):
    with pytest.raises(PayloadError):
        parse_event((SAMPLES / f"{name}.json").read_bytes())


@needs_samples
def test_every_documented_data_shape_is_read():
    shapes = json.loads((SAMPLES / "official-docs.data-shapes.json").read_bytes())
    for kind, content in shapes.items():
        event = parse(an_envelope("incident.of_tomorrow", content))
        expected = content["id"] if kind == "incident" else content.get("incident", {}).get("id")
        assert event.incident_id == expected, kind


# ---- by hand --------------------------------------------------------------------------------------------------------


def test_a_merge_names_its_target():
    assert parse(a_merge_webhook("PINC001", into="PINC002")).incident.merged_into == "PINC002"


def test_an_open_incident_is_not_merged_whatever_its_resolve_reason_still_says():
    reason = {"type": "merge_resolve_reason", "incident": a_reference("incident", "PINC002")}
    assert parse(a_webhook("incident.reopened", resolve_reason=reason)).incident.merged_into is None


def test_another_resolve_reason_is_an_ordinary_resolve():
    event = parse(a_webhook("incident.resolved", resolve_reason={"type": "timer_resolve_reason"}))
    assert event.incident.status is RESOLVED
    assert event.incident.merged_into is None


def test_a_merge_without_a_target_is_not_taken_for_a_resolve():
    with pytest.raises(PayloadError) as caught:
        parse(a_webhook("incident.resolved", resolve_reason={"type": "merge_resolve_reason", "incident": None}))
    assert caught.value.field == "event.data.resolve_reason.incident"


def test_a_cleared_priority_is_no_priority():
    event = parse(a_webhook("incident.priority_updated", priority=None))
    assert event.incident.priority_id is None
    assert event.incident.status_changed_at is None


def test_a_missing_priority_is_not_a_cleared_one():
    webhook = a_webhook("incident.acknowledged", "PINC001")
    del webhook["event"]["data"]["priority"]
    event = parse(webhook)
    assert event.incident is None
    assert event.incident_id == "PINC001"


@pytest.mark.parametrize(
    ("agent", "actor"),
    [
        pytest.param(None, None, id="automation"),
        pytest.param(A_USER, Actor("pagerDuty", id="PUSER01", name="Jane Doe"), id="a user"),
        pytest.param(
            a_reference("inbound_integration", "PINT001", "Prometheus"),
            Actor("pagerDuty", id="PINT001", name="Prometheus"),
            id="an integration",
        ),
        pytest.param({"id": "PX", "summary": None}, Actor("pagerDuty", id="PX"), id="no name"),
        pytest.param("somebody", None, id="unreadable"),
        pytest.param({}, None, id="empty"),
        pytest.param({"id": 7, "summary": ["x"]}, None, id="of wrong types"),
    ],
)
def test_the_agent_is_who_did_it(agent, actor):
    event = parse(a_webhook("incident.acknowledged", agent=agent))
    assert event.agent == event.incident.by == actor


@pytest.mark.parametrize(
    ("content", "trimmed", "text", "is_trimmed"),
    [
        ("all of it", False, "all of it", False),
        ("the begin", True, "the begin", True),
        ("all of it", None, "all of it", False),
        (None, False, "", True),
        ("", False, "", False),
    ],
)
def test_a_note_says_whether_it_was_cut(content, trimmed, text, is_trimmed):
    note = parse(a_note_webhook(content, trimmed=trimmed)).note
    assert (note.text, note.is_trimmed) == (text, is_trimmed)


@pytest.mark.parametrize(
    "name", ["number", "title", "html_url", "incident_key", "urgency", "service", "resolve_reason"]
)
@pytest.mark.parametrize("is_null", [True, False], ids=["null", "missing"])
def test_an_incident_may_lack(name, is_null):
    webhook = a_webhook("incident.acknowledged")
    webhook["event"]["data"][name] = None
    if not is_null:
        del webhook["event"]["data"][name]
    assert parse(webhook).incident.status is ACKNOWLEDGED


@pytest.mark.parametrize("number", [-1, 2**63, 10**400, True, "7", 1.5, None])
def test_an_odd_incident_number_is_none_at_all(number):
    assert parse(a_webhook(number=number)).incident.number == 0


@pytest.mark.parametrize("event_type", sorted(KNOWN_EVENT_TYPES - {"incident.annotated", "pagey.ping"}))
def test_every_known_type_with_an_incident_body_is_read(event_type):
    assert parse(a_webhook(event_type)).incident.id == "PINC001"


def test_what_we_subscribe_to_is_known_and_named_once():
    assert set(SUBSCRIBED_EVENT_TYPES) < KNOWN_EVENT_TYPES
    assert len(set(SUBSCRIBED_EVENT_TYPES)) == len(SUBSCRIBED_EVENT_TYPES)
    assert "pagey.ping" not in SUBSCRIBED_EVENT_TYPES


@pytest.mark.parametrize(
    ("content", "incident_id"),
    [
        (a_webhook()["event"]["data"], "PINC001"),
        ({"type": "incident", "id": "PINC001", "status": "exploded"}, "PINC001"),
        ({"type": "novelty", "id": "PNOVEL1", "incident": {"id": "PINC001"}}, "PINC001"),
        ({"type": "novelty", "incident": "PINC001"}, None),
        ({"type": "incident", "id": 7}, None),
        ({}, None),
        (None, None),
        ([1], None),
        ("text", None),
    ],
)
def test_an_unknown_type_is_accepted_unread(content, incident_id):
    event = parse(an_envelope("incident.of_tomorrow", content))
    assert (event.incident_id, event.incident, event.note) == (incident_id, None, None)


def test_unknown_fields_are_ignored():
    webhook = a_webhook(novelty={"a": [1]})
    webhook["event"]["novelty"] = webhook["novelty"] = "x"
    assert parse(webhook).incident.status is TRIGGERED


def test_a_ping_is_a_ping():
    assert parse(a_ping()).is_ping


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-04-01T02:15:36.315Z", datetime(2026, 4, 1, 2, 15, 36, 315000, tzinfo=UTC)),
        ("2026-04-01T04:15:36+02:00", datetime(2026, 4, 1, 2, 15, 36, tzinfo=UTC)),
        ("2026-04-01T02:15:36", datetime(2026, 4, 1, 2, 15, 36, tzinfo=UTC)),
    ],
)
def test_times_are_utc(text, instant):
    event = parse(a_webhook(occurred_at=text))
    assert event.occurred_at == instant
    assert event.occurred_at.utcoffset().total_seconds() == 0


# ---- hostile and broken ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("status", "exploded", "event.data.status"),
        ("status", None, "event.data.status"),
        ("status", 7, "event.data.status"),
        ("status", {"a": 1}, "event.data.status"),
        ("status", ["triggered"], "event.data.status"),
        ("id", "", "event.data.id"),
        ("id", " ", "event.data.id"),
        ("id", 7, "event.data.id"),
        ("id", "P\x00", "event.data.id"),
        ("id", "P" * 300, "event.data.id"),
        ("type", "incident_note", "event.data.type"),
        ("type", None, "event.data.type"),
        ("priority", "P1", "event.data.priority"),
        ("priority", {}, "event.data.priority.id"),
        ("priority", {"id": None}, "event.data.priority.id"),
        ("resolve_reason", "merged", "event.data.resolve_reason"),
    ],
)
def test_a_wrong_field_that_matters_is_named(name, value, field):
    with pytest.raises(PayloadError) as caught:
        parse(a_webhook("incident.acknowledged", **{name: value}))
    assert caught.value.field == field
    assert field in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("id", None, "event.data.id"),
        ("content", 7, "event.data.content"),
        ("incident", None, "event.data.incident"),
        ("incident", {"id": 7}, "event.data.incident.id"),
        ("type", "incident", "event.data.type"),
    ],
)
def test_a_note_without_what_makes_it_one_is_refused(name, value, field):
    with pytest.raises(PayloadError) as caught:
        parse(a_note_webhook(**{name: value}))
    assert caught.value.field == field


@pytest.mark.parametrize("name", ["id", "event_type", "occurred_at"])
@pytest.mark.parametrize(
    "value", [None, "", 7, [], {}, True, ...], ids=lambda value: "missing" if value is ... else None
)
def test_an_envelope_needs_id_type_and_time(name, value):
    webhook = a_webhook()
    webhook["event"][name] = value
    if value is ...:
        del webhook["event"][name]
    with pytest.raises(PayloadError) as caught:
        parse(webhook)
    assert caught.value.field == f"event.{name}"


@pytest.mark.parametrize("text", ["yesterday", "2026-04-01", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "T"])
def test_an_impossible_time_is_refused(text):
    with pytest.raises(PayloadError):
        parse(a_webhook(occurred_at=text))


@pytest.mark.parametrize("content", [None, [], "text", 7])
def test_an_incident_event_without_an_object_is_refused(content):
    with pytest.raises(PayloadError) as caught:
        parse(an_envelope("incident.resolved", content))
    assert caught.value.field == "event.data"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"not json", id="no JSON"),
        pytest.param(b"\xff\xfe{", id="no UTF-8"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"event"', id="a text"),
        pytest.param(b"{}", id="no event"),
        pytest.param(b'{"event": null}', id="a null event"),
        pytest.param(b'{"event": []}', id="an event that is a list"),
        pytest.param(b'{"event": {"id": NaN}}', id="NaN"),
        pytest.param(b'{"event": {"id": -Infinity}}', id="infinity"),
        pytest.param(b'{"event": ' + b"9" * 5000 + b"}", id="a number of 5,000 digits"),
        pytest.param(b"[" * 200_000, id="200,000 lists"),
        pytest.param(b'{"event":' * 100_000 + b"1" + b"}" * 100_000, id="100,000 objects"),
    ],
)
def test_what_is_no_webhook_is_refused(body):
    with pytest.raises(PayloadError):
        parse_event(body)


def test_of_a_repeated_member_the_last_counts():
    body = as_bytes(a_webhook("incident.acknowledged")).replace(
        b'"status": "acknowledged"', b'"status": "triggered", "status": "resolved"'
    )
    assert parse_event(body).incident.status is RESOLVED


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_python_takes_for_json_and_nobody_else_is_refused_everywhere(constant):
    body = as_bytes(a_webhook(novelty="HERE")).replace(b'"HERE"', constant)
    with pytest.raises(PayloadError):
        parse_event(body)


def test_deep_nesting_in_a_field_nobody_reads_changes_nothing():
    deep: object = 1
    for _ in range(300):
        deep = [deep]
    assert parse(a_webhook(conference_bridge=deep)).incident.status is TRIGGERED


def test_text_that_a_database_cannot_hold_is_replaced():
    event = parse(a_webhook(title="a\x00b\ud800c", agent={"id": "P\x00", "summary": "J\udfff"}))
    assert event.incident.title == "a\ufffdb\ufffdc"
    assert event.agent == Actor("pagerDuty", id="P\ufffd", name="J\ufffd")
    assert parse(a_note_webhook("x\x00\ud800")).note.text == "x\ufffd\ufffd"
    assert parse(a_note_webhook("\U0001f600")).note.text == "\U0001f600"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def read_or_refuse(body):
    try:
        event = parse_event(body)
    except PayloadError as exc:
        assert "\x00" not in str(exc)
        return None
    assert event.id
    assert event.occurred_at.tzinfo is not None
    return event


@given(st.binary())
def test_arbitrary_bytes_are_read_or_refused(body):
    read_or_refuse(body)


@given(JSON)
def test_arbitrary_json_is_read_or_refused(value):
    read_or_refuse(json.dumps(value).encode())


@given(
    st.sampled_from(sorted(KNOWN_EVENT_TYPES)),
    st.sampled_from([*a_webhook()["event"]["data"], *a_note_webhook()["event"]["data"]]),
    JSON,
    st.booleans(),
)
def test_any_value_in_any_field_is_read_or_refused(event_type, name, value, is_note):
    webhook = a_note_webhook() if is_note else a_webhook(event_type)
    webhook["event"]["data"][name] = value
    read_or_refuse(json.dumps(webhook).encode())


@given(st.sampled_from(["id", "event_type", "occurred_at", "agent", "client", "data", "resource_type"]), JSON)
def test_any_value_in_the_envelope_is_read_or_refused(name, value):
    webhook = a_webhook()
    webhook["event"][name] = value
    read_or_refuse(json.dumps(webhook).encode())
