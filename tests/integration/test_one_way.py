"""The one-way path over the real stores, the real web app and the simulator: Cases and alerts become events."""

from __future__ import annotations

import itertools
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask, request

from pagerduty_sync.domain.cases import Case, CasePriority, CaseStatus
from pagerduty_sync.domain.connectors import Connector, Destination
from pagerduty_sync.domain.deliveries import Delivery
from pagerduty_sync.domain.presets import ALERT_EVENTS, CASE_EVENTS
from pagerduty_sync.errors import InvalidRequestError, NotFoundError
from pagerduty_sync.simulator import seeds
from pagerduty_sync.stores.deliveries import DeliveryFilters
from tests.harness import JANE, Harness, a_harness, serving

SECRET = "a-secret-of-the-pushes"
KEY = seeds.PAYMENTS_ROUTING_KEY
AUTHORIZED = {"Authorization": f"Bearer {SECRET}"}
_numbers = itertools.count(1)


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    """A deployment whose only rules go by service key to the payments service."""
    with a_harness(database_url, redis_url, tmp_path, events_secret=SECRET) as made:
        execute(made, "DELETE FROM routing_rules")
        a_connector(made)
        yield made


def a_connector(
    harness: Harness, *, url: str = "", condition: str = "true", source: str = "", **given: Any
) -> Connector:
    """A service-key connector that Cases and alerts are routed to, or one of the two."""
    number = next(_numbers)
    connector = harness.application.service_key_connectors.create_service_key_connector(
        f"Key {number}", who="tester", region=url or harness.simulator_url, **({"routing_key": KEY} | given)
    )
    routing = harness.application.routing
    routing.ensure_builtin_presets()
    for kind, name in (("cases", CASE_EVENTS), ("alerts", ALERT_EVENTS)):
        preset = routing.preset_by_name(name)
        assert preset is not None
        if source in ("", kind):
            routing.create_rule(f"{kind} {number}", kind, condition, [Destination(connector.id, preset.id)])
    return connector


def execute(harness: Harness, statement: str, *values: object) -> None:
    with harness.application.database.transaction() as conn:
        conn.execute(statement.encode(), values or None)


def rows(harness: Harness, query: str) -> list[dict[str, Any]]:
    with harness.application.database.transaction() as conn:
        return list(conn.execute(query.encode()).fetchall())


def events(harness: Harness) -> list[dict[str, Any]]:
    """What PagerDuty's Events API was sent, in order."""
    sent = harness.sim("GET", "/_sim/requests", params={"path": "/v2/enqueue"})["requests"]
    return [json.loads(one["body"]) for one in sent]


def actions(harness: Harness) -> list[str]:
    return [event["event_action"] for event in events(harness)]


def attempts(harness: Harness, operation: str = "") -> list[Delivery]:
    found, _ = harness.application.deliveries.find(DeliveryFilters(operation=operation), limit=500)
    return [row for row in reversed(found) if operation or row.operation.endswith("_event")]


def outcomes(harness: Harness, operation: str = "") -> list[tuple[str, str]]:
    return [(row.operation, row.reason.value) for row in attempts(harness, operation)]


def push(harness: Harness, kind: str, body: object, **options: Any) -> requests.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.post(
        f"{harness.web_url}/events/{kind}", data=raw, **({"headers": AUTHORIZED, "timeout": 10} | options)
    )


def an_alert(harness: Harness, **changes: Any) -> requests.Response:
    reply = push(
        harness, "alerts", {"id": "4711", "name": "Disk is full", "priority": "P1", "state": "triggered"} | changes
    )
    assert reply.status_code == 202, reply.text
    harness.run()
    return reply


# ------------------------------------------------------------------ Cases


def test_a_case_triggers_and_its_acknowledge_and_resolve_follow(harness: Harness) -> None:
    case = harness.open_case("Checkout is slow", CasePriority.P1)
    (incident,) = harness.incidents_opened()
    assert (incident["title"], incident["status"]) == (f"{case.name}: Checkout is slow", "triggered")
    assert incident["service"]["id"] == seeds.PAYMENTS_SERVICE_ID
    harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    assert harness.incidents_opened()[0]["status"] == "acknowledged"
    harness.application.cases.resolve(case.id, JANE, "rolled back")
    harness.application.cases.close(case.id, JANE)
    harness.run()
    assert [one["status"] for one in harness.incidents_opened()] == ["resolved"]
    assert actions(harness) == ["trigger", "acknowledge", "resolve"]
    assert {event["dedup_key"] for event in events(harness)} == {f"case-{case.id}"}
    assert events(harness)[0]["payload"]["severity"] == "critical"
    assert outcomes(harness) == [(f"{action}_event", "applied") for action in ("trigger", "acknowledge", "resolve")]
    (trigger, *_) = attempts(harness)
    assert (trigger.case_id, trigger.case_name, trigger.http_status) == (case.id, case.name, 202)
    assert trigger.cause.startswith("case_event:")
    assert trigger.connector_id is not None
    assert "no_route" not in harness.reasons(case.id)


def test_nothing_of_it_comes_back_to_the_case(harness: Harness) -> None:
    case = harness.open_case()
    (incident,) = harness.incidents_opened()
    harness.responder(
        "PUT", f"/incidents/{incident['id']}", {"incident": {"type": "incident_reference", "status": "resolved"}}
    )
    harness.run()
    assert harness.case(case.id).status is CaseStatus.ACTIVE
    assert harness.comments(case.id) == []
    assert harness.application.links.of_case(case.id) is None


def test_what_happened_before_anybody_looked_is_told_in_order(harness: Harness) -> None:
    case = harness.application.cases.create_case("Slow", CasePriority.P3, actor=JANE)
    harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    assert actions(harness) == ["trigger", "acknowledge"]
    over = harness.application.cases.create_case("False alarm", CasePriority.P3, actor=JANE)
    harness.application.cases.resolve(over.id, JANE)
    harness.run()
    assert actions(harness) == ["trigger", "acknowledge"]
    assert set(harness.reasons(over.id)) == {"not_open"}


def test_what_has_no_equivalent_says_so_and_a_second_acknowledge_is_told(harness: Harness) -> None:
    case = harness.open_case()
    cases = harness.application.cases
    for change in (cases.acknowledge, cases.unacknowledge, cases.acknowledge):
        change(case.id, JANE)
        harness.run()
    cases.add_comment(case.id, JANE, "looking")
    cases.override_priority(case.id, JANE, CasePriority.P1)
    harness.run()
    assert actions(harness) == ["trigger", "acknowledge", "acknowledge"]
    assert harness.reasons(case.id, "statusChanged") == ["no_equivalent"]
    assert harness.reasons(case.id, "comment") == ["no_equivalent"]
    assert harness.reasons(case.id, "priorityDetailsChanged") == ["no_equivalent"]


def test_whoever_was_told_of_the_beginning_is_told_of_the_end(harness: Harness) -> None:
    execute(harness, "UPDATE routing_rules SET condition = 'case.status == \"ACTIVE\"'")
    case = harness.open_case()
    other = a_connector(harness, condition="false")
    harness.application.cases.resolve(case.id, JANE)
    harness.run()
    assert actions(harness) == ["trigger", "resolve"]
    assert other.id not in {row.connector_id for row in attempts(harness)}
    assert {"no_route", "not_open"}.isdisjoint(harness.reasons(case.id))


def test_a_case_no_rule_matches_says_so_once(harness: Harness) -> None:
    execute(harness, "UPDATE routing_rules SET condition = 'false'")
    case = harness.open_case()
    assert harness.reasons(case.id) == ["no_route"]
    assert events(harness) == []


def test_both_paths_have_their_look_at_the_same_case(harness: Harness) -> None:
    preset = harness.application.routing.ensure_builtin_presets()[0]
    harness.application.routing.create_rule("Both", "cases", "true", [Destination(harness.connector_id, preset.id)])
    case = harness.open_case()
    harness.application.cases.resolve(case.id, JANE, "done")
    harness.run()
    assert harness.incident(case.id)["status"] == "resolved"
    assert actions(harness) == ["trigger", "resolve"]
    assert [one["status"] for one in harness.incidents_opened()] == ["resolved", "resolved"]


def test_every_connector_that_matches_is_told_with_its_own_key(harness: Harness) -> None:
    a_connector(harness, routing_key=seeds.CHECKOUT_ROUTING_KEY)
    a_connector(harness, routing_key=seeds.DISABLED_ROUTING_KEY, condition='case.priority == "P5"')
    case = harness.open_case()
    harness.application.cases.resolve(case.id, JANE)
    harness.run()
    told = {(event["routing_key"], event["event_action"]) for event in events(harness)}
    assert told == {(key, action) for key in (KEY, seeds.CHECKOUT_ROUTING_KEY) for action in ("trigger", "resolve")}


def test_a_template_that_fails_never_keeps_a_page_back(harness: Harness) -> None:
    execute(harness, 'UPDATE presets SET templates = \'{"summary": "{{ case.nothing }}", "severity": "no"}\'')
    case = harness.open_case("Checkout is slow")
    assert [one["title"] for one in harness.incidents_opened()] == [f"{case.name}: Checkout is slow"]
    (row,) = attempts(harness)
    assert row.reason.value == "applied"
    assert "failed, so the plain text was used (summary: line 1" in row.detail


# ------------------------------------------------------------------ keys by template


def labelled(harness: Harness, **labels: list[str]) -> Case:
    case = harness.application.cases.create_case("Slow", CasePriority.P3, actor=JANE, labels=labels)
    harness.run()
    return case


def test_a_template_chooses_the_key_and_what_follows_goes_where_the_trigger_went(harness: Harness) -> None:
    execute(harness, "DELETE FROM routing_rules")
    a_connector(harness, key_template="{{ case.labels.key | first }}", routing_key=None)
    case = labelled(harness, key=[seeds.CHECKOUT_ROUTING_KEY])
    execute(harness, "UPDATE cases SET labels = '{}'")
    harness.application.cases.resolve(case.id, JANE)
    harness.run()
    assert [event["routing_key"] for event in events(harness)] == [seeds.CHECKOUT_ROUTING_KEY] * 2
    stored = str(rows(harness, "SELECT notifications::text AS row FROM notifications"))
    assert seeds.CHECKOUT_ROUTING_KEY not in stored


def test_a_key_template_that_fails_uses_the_connectors_own_key(harness: Harness) -> None:
    execute(harness, "DELETE FROM routing_rules")
    a_connector(harness, key_template="{{ case.labels.key | first }}")
    labelled(harness)
    assert [event["routing_key"] for event in events(harness)] == [KEY]
    assert "so the connector's own key was used" in attempts(harness)[0].detail


def test_without_any_key_the_event_ends_with_its_reason(harness: Harness) -> None:
    execute(harness, "DELETE FROM routing_rules")
    a_connector(harness, key_template="no key", routing_key=None)
    case = labelled(harness)
    harness.application.cases.resolve(case.id, JANE)
    harness.run()
    assert events(harness) == []
    assert outcomes(harness) == [("trigger_event", "not_found"), ("resolve_event", "not_open")]
    assert "there is no other key" in attempts(harness)[0].detail


# ------------------------------------------------------------------ trouble


ENQUEUE = {"match": {"method": "POST", "path": "/v2/enqueue"}}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param({"rate_limit": {"next": 1} | ENQUEUE}, "rate_limited", id="429"),
        pytest.param({"fail_before": {"next": 1, "status": 503} | ENQUEUE}, "unavailable", id="503"),
        pytest.param({"lose_reply": {"next": 1} | ENQUEUE}, "no_reply", id="lost reply"),
    ],
)
def test_a_failure_that_passes_is_tried_again_in_order(harness: Harness, fault: dict[str, Any], reason: str) -> None:
    harness.faults(**fault)
    case = harness.open_case()
    harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    assert outcomes(harness) == [("trigger_event", reason)]
    (waiting, behind) = rows(harness, "SELECT *, due_at > now() AS is_later FROM notifications ORDER BY id")
    assert (waiting["state"], waiting["attempts"], waiting["is_later"]) == ("waiting", 1, True)
    assert (behind["state"], behind["attempts"]) == ("waiting", 0)
    harness.hurry()
    harness.run()
    assert outcomes(harness) == [
        ("trigger_event", reason),
        ("trigger_event", "applied"),
        ("acknowledge_event", "applied"),
    ]
    assert [row.attempt for row in attempts(harness)] == [1, 2, 1]
    assert [one["status"] for one in harness.incidents_opened()] == ["acknowledged"]


def test_what_pagerduty_refuses_is_final_and_what_depends_on_it_is_not_sent(harness: Harness) -> None:
    execute(harness, "DELETE FROM routing_rules")
    a_connector(harness, routing_key="f" * 32)
    case = harness.open_case()
    harness.application.cases.acknowledge(case.id, JANE)
    harness.application.cases.resolve(case.id, JANE)
    harness.hurry()
    harness.run()
    assert actions(harness) == ["trigger"]
    assert outcomes(harness) == [("trigger_event", "refused"), ("resolve_event", "not_open")]
    refused = attempts(harness)[0]
    assert refused.http_status == 400
    assert "Event object is invalid" in refused.detail
    assert [row["state"] for row in rows(harness, "SELECT state FROM notifications ORDER BY id")] == [
        "failed",
        "dropped",
    ]


def test_retrying_ends_and_a_resolve_is_sent_all_the_same(harness: Harness) -> None:
    harness.faults(fail_before={"next": 2, "status": 500} | ENQUEUE)
    case = harness.open_case()
    execute(harness, "UPDATE notifications SET failing_since = now() - interval '3 days'")
    harness.hurry()
    harness.run()
    harness.application.cases.resolve(case.id, JANE)
    harness.run()
    assert outcomes(harness) == [
        ("trigger_event", "unavailable"),
        ("trigger_event", "gave_up"),
        ("resolve_event", "applied"),
    ]


def test_more_than_the_budget_waits_without_a_failure(harness: Harness) -> None:
    for number in range(25):
        harness.application.cases.create_case(f"Case {number}", CasePriority.P3, actor=JANE)
    harness.run()
    # The burst, and what is earned while it is sent.
    sent = len(events(harness))
    assert 20 <= sent < 25
    waiting = rows(harness, "SELECT attempts, due_at FROM notifications WHERE state = 'waiting' ORDER BY due_at")
    assert [row["attempts"] for row in waiting] == [0] * (25 - sent)
    gaps = [(later["due_at"] - earlier["due_at"]).total_seconds() for earlier, later in itertools.pairwise(waiting)]
    assert all(0.5 < gap < 1 for gap in gaps), gaps
    harness.hurry()
    harness.run()
    assert len(harness.incidents_opened()) == 25
    assert {row.reason.value for row in attempts(harness)} == {"applied"}


def test_a_connector_that_is_gone_leaves_a_reason(harness: Harness) -> None:
    harness.faults(fail_before={"next": 1, "status": 500} | ENQUEUE)
    harness.open_case()
    execute(harness, "DELETE FROM routing_rules")
    execute(harness, "DELETE FROM connectors WHERE path = 'service_key'")
    harness.hurry()
    harness.run()
    assert outcomes(harness) == [("trigger_event", "unavailable"), ("trigger_event", "not_found")]


def test_a_worker_that_dies_is_followed_by_another(harness: Harness) -> None:
    queue = harness.application.event_queue
    case = harness.application.cases.create_case("Slow", CasePriority.P3, actor=JANE)
    (first,) = harness.application.notifier.look([case.id])
    claimed = queue.claim(first)
    assert claimed is not None
    assert queue.claim(first) is None
    assert queue.due(10, 0) == []
    execute(harness, "UPDATE notifications SET lease_until = now() - interval '1 second'")
    assert queue.due(10, 0) == [first]
    assert harness.application.event_sender.send([first]) == []
    with harness.application.database.transaction() as conn:
        assert queue.end(conn, claimed, "failed", "refused") is False
    assert [row["state"] for row in rows(harness, "SELECT state FROM notifications")] == ["done"]


# ------------------------------------------------------------------ twice is once


def test_everything_run_twice_has_one_effect(harness: Harness) -> None:
    case = harness.open_case()
    harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    an_alert(harness)
    before = events(harness)
    ids = [row["id"] for row in rows(harness, "SELECT id FROM notifications")]
    execute(harness, "UPDATE case_events SET handled_at = NULL, notified_at = NULL")
    execute(harness, "UPDATE pushes SET state = 'received'")
    assert harness.application.event_sender.send([*ids, *ids]) == []
    harness.run()
    assert harness.application.notifier.look_again(case.id, "push") == []
    assert events(harness) == before


def test_workers_at_the_same_moment_tell_each_thing_once(harness: Harness) -> None:
    case = harness.application.cases.create_case("Slow", CasePriority.P3, actor=JANE)
    harness.application.cases.acknowledge(case.id, JANE)
    for _ in range(3):
        assert push(harness, "alerts", {"id": "1", "name": "n", "state": "triggered"}).status_code == 202
    push_ids = harness.application.pushes.found_late(10, 0)
    started = threading.Barrier(4)

    def work() -> None:
        started.wait()
        ids = harness.application.notifier.look([case.id])
        ids += harness.application.push_reader.take(push_ids).notification_ids
        harness.application.event_sender.send(harness.application.event_queue.due(10, 0) + ids)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    harness.run()
    assert sorted(actions(harness)) == ["acknowledge", "trigger", "trigger"]
    assert actions(harness).index("acknowledge") > 0


def test_without_a_service_key_connector_changes_are_passed_over_cheaply(harness: Harness) -> None:
    execute(harness, "DELETE FROM routing_rules")
    execute(harness, "DELETE FROM connectors WHERE path = 'service_key'")
    case = harness.open_case()
    assert harness.application.notifications.cases_unseen(10, 0) == []
    assert harness.reasons(case.id) == ["no_route"]


# ------------------------------------------------------------------ the sweep and retention


def test_the_sweep_finds_whatever_lost_its_nudge(harness: Harness) -> None:
    case = harness.application.cases.create_case("Slow", CasePriority.P3, actor=JANE)
    (made,) = harness.application.notifier.look([case.id])
    harness.application.cases.acknowledge(case.id, JANE)
    assert push(harness, "alerts", {"id": "1", "name": "n", "state": "triggered"}).status_code == 202
    assert harness.application.sweep.find().notification_ids == []
    execute(harness, "UPDATE notifications SET due_at = now() - interval '10 seconds'")
    execute(harness, "UPDATE case_events SET occurred_at = now() - interval '10 seconds'")
    execute(harness, "UPDATE pushes SET received_at = now() - interval '10 seconds'")
    found = harness.application.sweep.find()
    assert (found.notification_ids, found.untold_case_ids, len(found.push_ids)) == ([made], [case.id], 1)


def test_only_histories_that_are_over_are_pruned(harness: Harness) -> None:
    over, still_open = harness.open_case("over"), harness.open_case("open")
    harness.application.cases.resolve(over.id, JANE)
    harness.run()
    an_alert(harness)
    execute(harness, "UPDATE notifications SET ended_at = now() - interval '100 days'")
    execute(harness, "UPDATE pushes SET received_at = now() - interval '100 days'")
    harness.application.upkeep.prune()
    left = {row["source_id"] for row in rows(harness, "SELECT source_id FROM notifications")}
    assert left == {still_open.id, "4711"}
    assert rows(harness, "SELECT 1 FROM pushes") == []


# ------------------------------------------------------------------ pushes


def test_an_alert_travels_there_and_is_resolved(harness: Harness) -> None:
    an_alert(harness, labels={"service": "db-1"})
    (event,) = events(harness)
    assert (event["dedup_key"], event["payload"]["severity"], event["payload"]["source"]) == (
        "alert-4711",
        "critical",
        "db-1",
    )
    assert [one["title"] for one in harness.incidents_opened()] == ["Disk is full"]
    an_alert(harness, state="resolved", name="")
    assert [one["status"] for one in harness.incidents_opened()] == ["resolved"]
    assert outcomes(harness) == [("trigger_event", "applied"), ("resolve_event", "applied")]
    assert [row.cause.split(":")[0] for row in attempts(harness)] == ["push", "push"]
    assert outcomes(harness, "alert_push") == [("alert_push", "applied")] * 2


def test_an_alert_that_fires_again_opens_again_and_repeats_do_nothing(harness: Harness) -> None:
    for state in ("triggered", "triggered", "resolved", "resolved", "triggered", "resolved"):
        an_alert(harness, state=state)
    assert actions(harness) == ["trigger", "resolve", "trigger", "resolve"]
    assert [reason for _, reason in outcomes(harness, "alert_push")] == [
        *("applied", "duplicate", "applied", "duplicate", "applied", "applied")
    ]


def test_pushes_of_one_alert_are_taken_in_the_order_they_came(harness: Harness) -> None:
    for state in ("triggered", "acknowledged", "resolved"):
        assert push(harness, "alerts", {"id": "1", "name": "n", "state": state}).status_code == 202
    (*_, last) = harness.application.pushes.found_late(10, 0)
    assert len(harness.application.push_reader.take([last]).notification_ids) == 3
    harness.run()
    assert actions(harness) == ["trigger", "acknowledge", "resolve"]


def test_a_push_that_comes_too_late_or_to_nobody_says_so(harness: Harness) -> None:
    an_alert(harness, id="1", timestamp="2026-04-01T12:00:00Z")
    an_alert(harness, id="1", state="resolved", timestamp="2026-04-01T13:00:00Z")
    an_alert(harness, id="1", timestamp="2026-04-01T12:30:00Z")
    an_alert(harness, id="2", state="resolved")
    execute(harness, "UPDATE routing_rules SET condition = 'alert.priority == \"P5\"'")
    an_alert(harness, id="3")
    assert actions(harness) == ["trigger", "resolve"]
    assert [reason for _, reason in outcomes(harness, "alert_push")][2:] == ["stale", "not_open", "no_route"]


def test_an_alert_never_goes_through_a_bidirectional_connector(harness: Harness) -> None:
    execute(harness, "DELETE FROM routing_rules")
    preset = harness.application.routing.ensure_builtin_presets()[0]
    harness.application.routing.create_rule("Odd", "alerts", "true", [Destination(harness.connector_id, preset.id)])
    an_alert(harness)
    assert outcomes(harness, "alert_push") == [("alert_push", "no_route")]
    assert harness.incidents_opened() == []


def test_a_cases_push_has_the_case_looked_at_and_nothing_in_it_believed(harness: Harness) -> None:
    case = harness.application.cases.create_case("Slow", CasePriority.P3, actor=JANE)
    execute(harness, "UPDATE case_events SET handled_at = now(), notified_at = now()")
    body = {"id": case.name, "status": "RESOLVED", "title": "poison"}
    for _ in range(2):
        assert push(harness, "cases", body).status_code == 202
        harness.run()
    assert [event["payload"]["summary"] for event in events(harness)] == [f"{case.name}: Slow"]
    assert outcomes(harness, "case_push") == [("case_push", "checked")] * 2
    assert push(harness, "cases", {"id": "CASE-999"}).status_code == 202
    harness.run()
    assert outcomes(harness, "case_push")[-1] == ("case_push", "not_found")


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", f"Basic {SECRET}", f"Bearer {SECRET}x", "Bearer é"]
)
def test_without_the_secret_nothing_is_taken(harness: Harness, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode()}
    for kind in ("cases", "alerts"):
        reply = push(harness, kind, {"id": "1"}, headers=headers)
        assert reply.status_code == 401
        assert "WWW-Authenticate" in reply.headers
        assert SECRET not in reply.text
    assert rows(harness, "SELECT 1 FROM pushes") == []


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        ("alerts", b"", None),
        ("alerts", b"nonsense", None),
        ("alerts", b"[]", None),
        ("alerts", b"\xff\xfe", None),
        ("alerts", b'{"id": "1", "name": "n", "state": "exploded"}', "state"),
        ("alerts", b'{"id": "1", "state": "triggered"}', "name"),
        ("cases", b'{"title": "no id"}', "id"),
        ("cases", b'{"id": ""}', "id"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_field(
    harness: Harness, kind: str, body: bytes, field: str | None
) -> None:
    reply = push(harness, kind, body)
    assert reply.status_code == 400
    assert reply.json().get("field") == field
    assert rows(harness, "SELECT 1 FROM pushes") == []


def test_what_is_too_large_is_refused_whichever_way_it_comes(harness: Harness) -> None:
    body = json.dumps({"id": "1", "name": "n", "state": "triggered", "description": "x" * 262_144}).encode()
    assert push(harness, "alerts", body).status_code == 413
    chunks = (body[start : start + 8192] for start in range(0, len(body), 8192))
    reply = requests.post(f"{harness.web_url}/events/alerts", data=chunks, headers=AUTHORIZED, timeout=10)
    assert reply.status_code == 413


def test_while_no_secret_is_set_pushes_are_put_off(database_url: str, redis_url: str, tmp_path: Path) -> None:
    with a_harness(database_url, redis_url, tmp_path) as harness:
        reply = push(harness, "alerts", {"id": "1"})
        assert reply.status_code == 503
        assert "PAGERDUTY_SYNC_EVENTS_SECRET" in reply.json()["detail"]


# ------------------------------------------------------------------ connectors


def test_a_test_of_a_connector_reports_what_pagerduty_said(harness: Harness) -> None:
    use_cases = harness.application.service_key_connectors
    (name,) = [one.name for one in harness.application.connectors.list_all() if one.service_id is None]
    tested = use_cases.test_connector(name)
    assert tested.is_good
    assert actions(harness) == ["trigger", "resolve"]
    assert [one["status"] for one in harness.incidents_opened()] == ["resolved"]
    assert "accepted the trigger event (202)" in tested.said[0]
    bad = use_cases.create_service_key_connector(
        "Bad", who="tester", routing_key="f" * 32, region=harness.simulator_url
    )
    tested = use_cases.test_connector(bad.name)
    assert not tested.is_good
    assert "Event object is invalid" in tested.said[0]
    assert {row.cause for row in attempts(harness)} == {"connector test"}
    both_ways = use_cases.test_connector("Checkout")
    assert both_ways.is_good
    assert seeds.CHECKOUT_API in both_ways.said[0]
    harness.faults(revoked_keys=[seeds.FULL_KEY])
    refused = use_cases.test_connector("Checkout")
    assert not refused.is_good
    assert "does not accept the API key" in refused.said[0]
    with pytest.raises(NotFoundError):
        use_cases.test_connector("Nobody")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"routing_key": None}, "routing_key"),
        ({"routing_key": "short"}, "routing_key"),
        ({"routing_key": f"{KEY}\r\nX: y"}, "routing_key"),
        ({"key_template": "{{ case."}, "key_template"),
        ({"region": "mars"}, "region"),
        ({"region": "ftp://x"}, "region"),
        ({"name": " "}, "name"),
        ({"name": "Checkout"}, "name"),
    ],
)
def test_a_connector_that_could_not_work_is_refused(harness: Harness, given: dict[str, Any], field: str) -> None:
    wanted = {"name": "New", "who": "tester", "routing_key": KEY} | given
    with pytest.raises(InvalidRequestError) as refused:
        harness.application.service_key_connectors.create_service_key_connector(**wanted)
    assert refused.value.field == field
    assert KEY not in str(refused.value)


def test_no_key_is_in_any_row_or_log(harness: Harness, caplog: pytest.LogCaptureFixture, capsys: Any) -> None:
    with caplog.at_level(logging.DEBUG):
        harness.faults(fail_before={"next": 1, "status": 500} | ENQUEUE)
        case = harness.open_case()
        harness.hurry()
        harness.run()
        a_connector(harness, routing_key="f" * 32)
        harness.application.cases.acknowledge(case.id, JANE)
        harness.run()
        an_alert(harness)
    tables = ("notifications", "pushes", "notification_deliveries", "audit", "connectors", "case_events", "presets")
    stored = "".join(str(rows(harness, f"SELECT t::text AS row FROM {table} t")) for table in tables)
    written = caplog.text + "".join(capsys.readouterr())
    for secret in (KEY, "f" * 32, SECRET):
        assert secret not in stored
        assert secret not in written


# ------------------------------------------------------------------ unchanged beside the two-way sync


@contextmanager
def a_recorder(recorded: list[tuple[str, str, list[tuple[str, str]], bytes]]) -> Iterator[str]:
    """An Events API that keeps every request as it came."""
    app = Flask("recorder")

    @app.post("/v2/enqueue")
    def enqueue() -> tuple[dict[str, str], int]:
        recorded.append((request.method, request.full_path, sorted(request.headers.items()), request.get_data()))
        return {"status": "success"}, 202

    with serving(app) as url:
        yield url


def live(harness: Harness) -> None:
    """One Case and one alert from beginning to end, the same in every deployment."""
    execute(
        harness,
        """
        INSERT INTO cases (id, readable_id, title, description, status, system_priority, category, labels,
                           created_at, updated_at, status_changed_at, priority_changed_at)
        SELECT '11111111-1111-4111-8111-111111111111', 'CASE-7', 'Größer als "gedacht"', 'p95 > 4 s', 'ACTIVE', 'P2',
               'SECURITY', '{"service": ["checkout"], "team": ["a", "b"]}', at, at, at, at
        FROM (SELECT timestamptz '2026-04-01 12:00:00Z' AS at) t
        """,
    )
    for status in ("ACTIVE", "ACKNOWLEDGED", "RESOLVED"):
        execute(harness, "UPDATE cases SET status = %s, updated_at = now(), status_changed_at = now()", status)
        execute(
            harness,
            """
            INSERT INTO case_events (case_id, kind, actor)
            SELECT id, 'statusChanged', '{"kind": "user", "name": "Jane Doe"}' FROM cases
            """,
        )
        harness.run()
    an_alert(harness)
    an_alert(harness, state="resolved")


def test_switching_to_two_way_changes_no_byte_of_what_is_sent(
    database_url: str, empty_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    from pagerduty_sync.stores.database import migrate

    migrate(empty_database_url)
    before: list[Any] = []
    after: list[Any] = []
    recorded: list[Any] = []
    settings = {"events_secret": SECRET, "public_url": "https://cases.example"}
    with a_recorder(recorded) as url:
        with a_harness(empty_database_url, redis_url, tmp_path, **settings) as harness:
            for table in ("routing_rules", "webhook_subscriptions", "connectors", "integrations"):
                execute(harness, f"DELETE FROM {table}")
            a_connector(harness, url=url)
            live(harness)
            assert harness.incidents_opened() == []
            before, recorded[:] = list(recorded), []
        with a_harness(database_url, redis_url, tmp_path, **settings) as harness:
            a_connector(harness, url=url)
            live(harness)
            assert [one["status"] for one in harness.incidents_opened()] == ["resolved"]
            assert len(harness.link("CASE-7").incident_id or "") > 0
            after = list(recorded)
    assert [json.loads(body)["event_action"] for *_, body in before] == [
        *("trigger", "acknowledge", "resolve", "trigger", "resolve")
    ]
    assert after == before
