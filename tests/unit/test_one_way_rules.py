"""The rules of the one-way path, as tables: actions, keys, severities, what a push may hold, and how an event reads."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pagerduty_sync.coralogix.pushes import read_alert_push, read_case_push
from pagerduty_sync.domain.cases import Case, CaseCategory, CasePriority, CaseStatus
from pagerduty_sync.domain.connectors import ConnectorPath, Preset
from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.notifications import (
    NOTHING_TOLD,
    Alert,
    EventAction,
    History,
    Severity,
    alert_change_id,
    alert_dedup_key,
    case_change_id,
    case_dedup_key,
    refusal_of_alert,
    severity_of,
    steps_of_case,
)
from pagerduty_sync.domain.presets import ALERT_EVENTS, BUILTIN_PRESETS, CASE_EVENTS
from pagerduty_sync.errors import PayloadError
from pagerduty_sync.handlers.event_text import event_of_alert, event_of_case

TRIGGER, ACKNOWLEDGE, RESOLVE = EventAction.TRIGGER, EventAction.ACKNOWLEDGE, EventAction.RESOLVE
PENDING, ACTIVE, ACKNOWLEDGED = CaseStatus.PENDING_ACTIVATION, CaseStatus.ACTIVE, CaseStatus.ACKNOWLEDGED
RESOLVED, CLOSED = CaseStatus.RESOLVED, CaseStatus.CLOSED
AT = datetime(2026, 4, 1, 12, tzinfo=UTC)
URL = "https://cases.example/cases/CASE-12"
CASE = Case(
    id="11111111-1111-4111-8111-111111111111",
    title="Checkout is slow",
    status=ACTIVE,
    system_priority=CasePriority.P2,
    category=CaseCategory.AVAILABILITY,
    created_at=AT,
    updated_at=AT,
    status_changed_at=AT,
    priority_changed_at=AT,
    readable_id="CASE-12",
    description='p95 over "4 s"',
    labels={"service": ["checkout"], "team": ["payments", "core"]},
)
ALERT = Alert("4711", "Disk is full", TRIGGER, priority="P1", severity="critical")


def told(*actions: EventAction, at: datetime | None = None) -> History:
    return History({action: number for number, action in enumerate(actions, 1)}, at)


# ---------------------------------------------------------------- Cases


@pytest.mark.parametrize(
    ("status", "history", "steps"),
    [
        pytest.param(PENDING, NOTHING_TOLD, (), id="a Case that is not active yet is not told"),
        pytest.param(ACTIVE, NOTHING_TOLD, (TRIGGER,), id="activation triggers"),
        pytest.param(ACKNOWLEDGED, NOTHING_TOLD, (TRIGGER, ACKNOWLEDGE), id="acknowledged before it was told"),
        pytest.param(RESOLVED, NOTHING_TOLD, (), id="over before it was told"),
        pytest.param(CLOSED, NOTHING_TOLD, (), id="closed before it was told"),
        pytest.param(ACTIVE, told(TRIGGER), (), id="nothing new"),
        pytest.param(ACKNOWLEDGED, told(TRIGGER), (ACKNOWLEDGE,), id="acknowledge follows"),
        pytest.param(ACTIVE, told(TRIGGER, ACKNOWLEDGE), (), id="un-acknowledging has no equivalent"),
        pytest.param(RESOLVED, told(TRIGGER), (RESOLVE,), id="resolve follows"),
        pytest.param(CLOSED, told(TRIGGER, ACKNOWLEDGE), (RESOLVE,), id="closing an open Case resolves"),
        pytest.param(CLOSED, told(TRIGGER, RESOLVE), (), id="closing a resolved Case is nothing new"),
    ],
)
def test_what_is_told_of_a_case(status: CaseStatus, history: History, steps: tuple[EventAction, ...]) -> None:
    assert steps_of_case(status, history) == steps


def test_only_a_later_acknowledgement_is_another_change() -> None:
    later = replace(CASE, status_changed_at=AT + timedelta(minutes=1), updated_at=AT + timedelta(minutes=2))
    assert case_change_id(TRIGGER, CASE) == case_change_id(TRIGGER, later)
    assert case_change_id(RESOLVE, CASE) == case_change_id(RESOLVE, later)
    assert case_change_id(ACKNOWLEDGE, CASE) != case_change_id(ACKNOWLEDGE, later)
    assert case_change_id(ACKNOWLEDGE, CASE) == case_change_id(ACKNOWLEDGE, replace(CASE, title="other", updated_at=AT))


# ---------------------------------------------------------------- keys and severities


def test_keys_are_stable_distinct_and_short_enough() -> None:
    assert case_dedup_key(CASE.id) == f"case-{CASE.id}"
    assert alert_dedup_key("4711") == "alert-4711"
    one, other = alert_dedup_key("a" * 400), alert_dedup_key("a" * 399 + "b")
    assert one == alert_dedup_key("a" * 400)
    assert (len(one), len(other)) == (255, 255)
    assert one != other
    assert len(alert_dedup_key("\U0001f600" * 400)) == 255


@pytest.mark.parametrize(
    ("priority", "severity", "expected"),
    [
        ("P1", "", "critical"),
        ("P2", "", "error"),
        ("P3", "", "warning"),
        ("P4", "", "info"),
        ("P5", "", "info"),
        ("p1", "info", "critical"),
        ("", "Critical", "critical"),
        ("", "WARNING", "warning"),
        ("", "Verbose", "info"),
        ("P9", "warning", "warning"),
        ("P9", "catastrophic", "error"),
        ("", "", "error"),
    ],
)
def test_severity(priority: str, severity: str, expected: str) -> None:
    assert severity_of(priority, severity) == expected


# ---------------------------------------------------------------- alerts


@pytest.mark.parametrize(
    ("action", "history", "reason"),
    [
        pytest.param(TRIGGER, NOTHING_TOLD, None, id="the first trigger"),
        pytest.param(RESOLVE, NOTHING_TOLD, Reason.NOT_OPEN, id="resolved without a trigger"),
        pytest.param(ACKNOWLEDGE, NOTHING_TOLD, Reason.NOT_OPEN, id="acknowledged without a trigger"),
        pytest.param(RESOLVE, told(TRIGGER), None, id="resolve follows"),
        pytest.param(RESOLVE, told(TRIGGER, ACKNOWLEDGE), None, id="resolve follows an acknowledge"),
        pytest.param(RESOLVE, told(TRIGGER, RESOLVE), Reason.DUPLICATE, id="resolved twice"),
        pytest.param(TRIGGER, told(TRIGGER, RESOLVE), None, id="it fires again"),
        pytest.param(RESOLVE, told(RESOLVE, TRIGGER), None, id="and is resolved again"),
        pytest.param(TRIGGER, told(TRIGGER, RESOLVE, at=AT + timedelta(1)), Reason.STALE, id="a trigger from before"),
        pytest.param(TRIGGER, told(TRIGGER, RESOLVE, at=AT), None, id="one of the same moment"),
    ],
)
def test_which_pushes_are_told(action: EventAction, history: History, reason: Reason | None) -> None:
    assert refusal_of_alert(replace(ALERT, action=action, occurred_at=AT), history) is reason


def test_a_repeated_push_is_one_change_until_the_alert_turns() -> None:
    first = alert_change_id(TRIGGER, b"{}", NOTHING_TOLD)
    assert alert_change_id(TRIGGER, b"{}", told(TRIGGER)) == first
    assert alert_change_id(TRIGGER, b"{} ", told(TRIGGER)) != first
    assert alert_change_id(TRIGGER, b"{}", told(TRIGGER, RESOLVE)) != first


A_PUSH: dict[str, Any] = {"id": "4711", "name": "Disk is full", "state": "triggered"}


def a_push(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in (A_PUSH | changes).items() if value is not ...}).encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (a_push(), {"action": TRIGGER, "severity": "error"}),
        (a_push(state="RESOLVED", name=...), {"action": RESOLVE, "name": "4711"}),
        (a_push(state=..., status="Firing", id=4711), {"action": TRIGGER, "id": "4711"}),
        (a_push(priority="p1"), {"priority": "P1", "severity": "critical"}),
        (a_push(priority=["odd"], severity="warning"), {"priority": "", "severity": "warning"}),
        (a_push(labels={"a": "x", "b": ["y", 2, None], "c": None}), {"labels": {"a": ["x"], "b": ["y", "2"], "c": []}}),
        (a_push(labels="odd", url="javascript:alert(1)", description=None), {"labels": {}, "url": ""}),
        (a_push(url="https://us/1"), {"url": "https://us/1"}),
        (a_push(timestamp="2026-04-01T12:00:00Z"), {"occurred_at": AT}),
        (a_push(timestamp="2026-04-01T14:00:00+02:00"), {"occurred_at": AT}),
        (a_push(timestamp=AT.timestamp() * 1000), {"occurred_at": AT}),
        (a_push(timestamp="yesterday"), {"occurred_at": None}),
        (json.dumps({"alert": A_PUSH, "extra": 1}).encode(), {"id": "4711", "name": "Disk is full"}),
        (a_push(name="nul \0 half \ud800"), {"name": "nul \ufffd half ?"}),
        (b"\xef\xbb\xbf" + a_push(), {"id": "4711"}),
    ],
)
def test_an_alerts_push_is_read_with_tolerance(body: bytes, expected: dict[str, Any]) -> None:
    alert = read_alert_push(body)
    assert {name: getattr(alert, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"nonsense", None),
        (b"\xff", None),
        (b"[]", None),
        (b'{"id": NaN}', None),
        (b"[" * 100_000, None),
        (a_push(id=""), "id"),
        (a_push(id=None), "id"),
        (a_push(id=True), "id"),
        (a_push(id={"a": 1}), "id"),
        (a_push(id="x" * 1_001), "id"),
        (a_push(name=" "), "name"),
        (a_push(state=...), "state"),
        (a_push(state="exploded"), "state"),
    ],
)
def test_a_push_that_cannot_be_read_names_the_field(body: bytes, field: str | None) -> None:
    with pytest.raises(PayloadError) as refused:
        read_alert_push(body)
    assert refused.value.field == field


def test_a_cases_push_is_only_its_id() -> None:
    assert read_case_push(b'{"id": "CASE-1", "status": "poison"}') == "CASE-1"
    assert read_case_push(b'{"case": {"id": "CASE-1"}, "id": "outer"}') == "CASE-1"
    with pytest.raises(PayloadError) as refused:
        read_case_push(b'{"status": "ACTIVE"}')
    assert refused.value.field == "id"


# ---------------------------------------------------------------- how an event reads


def a_preset(entity: str = "cases", **templates: str) -> Preset:
    return Preset("1", "Mine", ConnectorPath.SERVICE_KEY, entity, templates)


def the_builtin(name: str) -> Preset:
    (found,) = [builtin for builtin in BUILTIN_PRESETS if builtin.name == name]
    return Preset("1", found.name, found.path, found.entity, found.templates, is_builtin=True)


def test_the_builtin_preset_says_what_matters_of_a_case() -> None:
    trigger = event_of_case(the_builtin(CASE_EVENTS), CASE, URL)
    assert trigger.problem == ""
    assert trigger.content == {
        "payload": {
            "summary": "CASE-12: Checkout is slow",
            "severity": "error",
            "source": "checkout",
            "timestamp": "2026-04-01T12:00:00Z",
            "group": "AVAILABILITY",
            "custom_details": {
                "case": "CASE-12",
                "description": 'p95 over "4 s"',
                "priority": "P2",
                "category": "AVAILABILITY",
                "created_at": "2026-04-01T12:00:00Z",
                "labels": {"service": ["checkout"], "team": ["payments", "core"]},
                "url": URL,
            },
        },
        "client": "pagerduty-sync",
        "client_url": URL,
        "links": [{"href": URL, "text": "CASE-12"}],
    }


def test_the_builtin_preset_says_what_matters_of_an_alert() -> None:
    trigger = event_of_alert(the_builtin(ALERT_EVENTS), replace(ALERT, occurred_at=AT, url="https://us/1"))
    assert trigger.problem == ""
    payload = trigger.content["payload"]
    assert (payload["summary"], payload["severity"], payload["source"]) == ("Disk is full", "critical", "Alerts")
    assert payload["timestamp"] == "2026-04-01T12:00:00Z"
    assert payload["custom_details"]["alert"] == "4711"
    assert trigger.content["client_url"] == "https://us/1"


@pytest.mark.parametrize("priority", list(CasePriority))
@pytest.mark.parametrize("preset", [None, the_builtin(CASE_EVENTS)], ids=["plain", "builtin"])
def test_severity_follows_priority_with_and_without_a_preset(priority: CasePriority, preset: Preset | None) -> None:
    payload = event_of_case(preset, replace(CASE, system_priority=priority), URL).content["payload"]
    assert payload["severity"] == severity_of(priority.value)


@pytest.mark.parametrize(
    ("field", "template", "says"),
    [
        ("summary", "{{ case.nothing }}", "summary: line 1"),
        ("summary", "  ", "empty"),
        ("severity", "terrible", "must be one of critical, error, warning, info"),
        ("timestamp", "noon", "not a time"),
        ("source", "{% for a in case.labels %}{{ a.b }}{% endfor %}", "source: line 1"),
        ("custom_details", "plain words", "json_encode"),
        ("custom_details", "[1]", "no object"),
        ("custom_details", '{"a": 1e999}', "JSON"),
        ("custom_details", '{"a": NaN}', "JSON"),
    ],
)
def test_a_template_that_fails_gives_way_to_the_plain_text_and_says_so(field: str, template: str, says: str) -> None:
    plain, trigger = event_of_case(None, CASE, URL), event_of_case(a_preset(**{field: template}), CASE, URL)
    assert trigger.content == plain.content
    assert says in trigger.problem
    assert "Preset Mine failed" in trigger.problem


def test_every_severity_word_is_pagerdutys() -> None:
    assert {severity_of(priority.value) for priority in CasePriority} == set(Severity)
