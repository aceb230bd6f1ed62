"""Trying again what was attempted: today's rules answer, what is in step stays, and each replay is on record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pagerduty_sync.domain.cases import CasePriority, CaseStatus
from pagerduty_sync.domain.connectors import Destination, Field, FieldDirection, IntegrationStatus
from pagerduty_sync.domain.deliveries import Direction, Reason
from pagerduty_sync.errors import NotFoundError
from pagerduty_sync.handlers.replay_report import Report
from pagerduty_sync.pagerduty.signature import sign
from pagerduty_sync.simulator import seeds
from pagerduty_sync.stores.deliveries import DeliveryFilters
from pagerduty_sync.stores.inbox import Received
from tests.harness import JANE, Harness, a_harness
from tests.integration.test_explain import sql, typed

P1, P3 = CasePriority.P1, CasePriority.P3
P1_ID = seeds.PRIORITY_IDS["P1"]


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    with a_harness(database_url, redis_url, tmp_path) as made:
        yield made


def attempts(harness: Harness, **filters: Any) -> list[Any]:
    """Oldest first."""
    return harness.application.deliveries.find(DeliveryFilters(**filters), limit=500)[0][::-1]


def replay(harness: Harness, *, is_dry: bool = False, runs: bool = True, **filters: Any) -> Report:
    this = harness.application.replay
    report = this.run(this.chosen_by_filter(DeliveryFilters(**filters), 500), is_dry=is_dry)
    if runs:
        harness.run()
    return report


def world(harness: Harness, case_ids: list[str]) -> Any:
    """Everything a person can see on both sides, and what both sides agreed on."""
    this = harness.application
    links = [this.links.of_case(case_id) for case_id in case_ids]
    return (
        [this.cases.get_case(case_id) for case_id in case_ids],
        [harness.comments(case_id) for case_id in case_ids],
        harness.incidents_opened(),
        [(link.state, link.parked, {name: link.agreed(name) for name in link.pictures}) for link in links if link],
        this.integrations.only(),
    )


# ------------------------------------------------------------------ a whole log


def test_a_whole_log_replayed_twice_on_a_converged_system_changes_nothing(harness: Harness) -> None:
    this = harness.application
    lively, closed, merged, target, unrouted = (harness.open_case(name) for name in "abcde")
    sql(harness, "UPDATE routing_rules SET condition = 'case.priority == \"P1\"'")
    alone = harness.open_case("alone")
    harness.next_second()
    for status in ("acknowledged", "resolved"):
        harness.set_incident(lively.id, status=status)
        harness.next_second()
    harness.add_note(lively.id, "Resolution Note: it was the cache")
    harness.add_note(lively.id, "and the disk")
    harness.set_incident(lively.id, priority={"id": P1_ID, "type": "priority_reference"})
    harness.run()
    harness.set_incident(lively.id, status="triggered")
    this.cases.add_comment(closed.id, JANE, "on it")
    harness.set_incident(closed.id, status="acknowledged")
    harness.run()
    this.cases.close(closed.id, JANE)
    harness.run()
    harness.next_second()
    harness.set_incident(closed.id, status="resolved")
    harness.run()
    source = {"id": harness.link(merged.id).incident_id, "type": "incident_reference"}
    into = harness.link(target.id).incident_id
    harness.responder("PUT", f"/incidents/{into}/merge", {"source_incidents": [source]})
    this.cases.override_priority(unrouted.id, JANE, P1)
    this.cases.override_priority(unrouted.id, JANE, None)
    this.cases.resolve(unrouted.id, JANE, "rolled back")
    harness.run()
    case_ids = [case.id for case in (lively, closed, merged, target, unrouted, alone)]
    before = world(harness, case_ids)
    for _ in range(2):
        rehearsed = replay(harness, is_dry=True)
        assert [one for one in rehearsed.changes if one.changes] == []
        report = replay(harness)
        assert report.counts["queued"] > 20
        assert world(harness, case_ids) == before
    assert len(attempts(harness, reason=Reason.REPLAYED)) > 40


def test_a_replay_is_a_new_attempt_that_names_the_old_one_and_moves_no_health_counter(harness: Harness) -> None:
    case = harness.open_case()
    harness.next_second()
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    this = harness.application
    this.client(harness.integration_id).ping_webhook_subscription(this.subscriptions.held(harness.integration_id)[0].id)
    harness.run()
    heard = this.integrations.heard_from(harness.integration_id)
    old = next(one for one in attempts(harness, case=case.id) if one.operation == "incident.acknowledged")
    replay(harness)
    (new,) = [one for one in attempts(harness, case=case.id) if one.cause == f"delivery:{old.id}"]
    assert (new.reason, new.direction, new.attempt) == (Reason.REPLAYED, Direction.INBOUND, 2)
    assert new.event_id == old.event_id
    assert attempts(harness, case=case.id)[-1].reason is Reason.ECHO
    assert this.integrations.heard_from(harness.integration_id) == heard
    link = harness.link(case.id)
    assert (link.attempts, link.failing_since) == (0, None)
    # The new attempt may be named in its turn, and leads back to the webhook.
    chosen = this.replay.chosen_by_id([new.id])
    assert this.replay.run(chosen, is_dry=True).results[0].inbox_id is not None
    with pytest.raises(NotFoundError):
        this.replay.chosen_by_id([10**9])


# ------------------------------------------------------------------ inbound: today's mapping


def test_an_unmapped_priority_is_applied_once_the_table_is_complete(harness: Harness) -> None:
    connectors = harness.application.connectors
    connectors.update(harness.connector_id, priority_map={P3: seeds.PRIORITY_IDS["P3"]})
    case = harness.open_case(priority=P3)
    harness.next_second()
    harness.set_incident(case.id, priority={"id": P1_ID, "type": "priority_reference"})
    harness.run()
    assert "unmapped_priority" in harness.reasons(case.id)
    assert replay(harness, reason=Reason.UNMAPPED_PRIORITY).changes[0].changes == ()
    assert harness.case(case.id).priority is P3
    connectors.update(harness.connector_id, priority_map={P3: seeds.PRIORITY_IDS["P3"], P1: P1_ID})
    rehearsed = replay(harness, is_dry=True, case=case.id)
    assert rehearsed.changes[0].changes == ("override the Case's priority with P1 as Ada Responder",)
    assert harness.case(case.id).priority is P3
    replay(harness, case=case.id)
    assert harness.case(case.id).override_priority is P1
    assert harness.incident(case.id)["priority"]["id"] == P1_ID


def test_what_a_direction_kept_out_comes_in_once_it_is_open(harness: Harness) -> None:
    connectors = harness.application.connectors
    out = {Field.STATUS: FieldDirection.OUT, Field.COMMENTS: FieldDirection.OUT}
    connectors.update(harness.connector_id, directions=out)
    case = harness.open_case()
    harness.next_second()
    harness.add_note(case.id, "looking into it")
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    assert harness.case(case.id).status is CaseStatus.ACTIVE
    connectors.update(harness.connector_id, directions={})
    replay(harness, reason=Reason.DIRECTION_OFF)
    assert harness.case(case.id).status is CaseStatus.ACKNOWLEDGED
    assert harness.comments(case.id).count("looking into it") == 1
    replay(harness, case=case.id)
    assert harness.comments(case.id).count("looking into it") == 1


def test_while_two_way_is_off_a_webhook_is_only_judged(harness: Harness) -> None:
    case = harness.open_case()
    harness.application.integrations.set_two_way(harness.integration_id, False)
    harness.next_second()
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    incident = harness.link(case.id).incident_id
    (one,) = replay(harness, incident_id=incident, operation="incident.acknowledged").results
    assert (one.result, one.reason) == ("nothing", "direction_off")
    harness.application.integrations.set_two_way(harness.integration_id, True)
    replay(harness, incident_id=incident)
    assert harness.case(case.id).status is CaseStatus.ACKNOWLEDGED


def test_a_secret_that_was_exchanged_meanwhile_is_not_asked_for(harness: Harness) -> None:
    case = harness.open_case()
    harness.next_second()
    harness.add_note(case.id, "one")
    harness.run()
    sql(harness, "DELETE FROM webhook_subscriptions")
    report = replay(harness, operation="incident.annotated")
    assert report.counts == {"queued": 1}
    assert harness.comments(case.id).count("one") == 1


def test_a_webhook_past_its_retention_is_told_as_such(harness: Harness) -> None:
    case = harness.open_case()
    sql(harness, "DELETE FROM inbox")
    results = replay(harness, case=case.id, direction=Direction.INBOUND).results
    assert {(one.result.value, one.detail) for one in results if one.operation == "incident.triggered"} == {
        ("impossible", "the webhook itself is past its retention")
    }


# ------------------------------------------------------------------ outbound: the precondition again


def test_a_refused_opening_is_tried_again_and_looks_first(harness: Harness) -> None:
    sql(harness, "UPDATE connectors SET service_id = 'PNOSUCH'")
    case = harness.open_case()
    assert "open" in harness.link(case.id).parked
    assert replay(harness, reason=Reason.REFUSED).changes[0].undone == ("the opening is tried again",)
    assert "open" in harness.link(case.id).parked, "the service is still wrong"
    sql(harness, "UPDATE links SET service_id = %s", seeds.CHECKOUT_SERVICE_ID)
    replay(harness, case=case.id)
    assert len(harness.incidents_opened()) == 1
    assert harness.link(case.id).parked == {}


def test_a_refused_resolve_is_tried_again_unless_somebody_was_faster(harness: Harness) -> None:
    first, second = harness.open_case("one"), harness.open_case("two")
    sql(harness, "UPDATE integrations SET user_email = %s", seeds.RESTRICTED_EMAIL)
    for case in (first, second):
        harness.application.cases.resolve(case.id, JANE)
    harness.run()
    assert "incident:status" in harness.link(first.id).parked
    sql(harness, "UPDATE integrations SET user_email = %s", seeds.BOT_EMAIL)
    harness.next_second()
    harness.set_incident(second.id, status="resolved")
    harness.run()
    harness.next_second()
    harness.set_incident(second.id, status="triggered")
    harness.run()
    report = replay(harness, reason=Reason.REFUSED)
    changes = {one.case_name: list(one.changes) for one in report.changes}
    assert changes == {first.name: ["set the incident to resolved"], second.name: []}
    assert harness.incident(first.id)["status"] == "resolved"
    assert harness.incident(second.id)["status"] == "triggered"
    assert harness.link(first.id).parked == harness.link(second.id).parked == {}


def test_a_refused_note_stands_once_also_when_it_stood_there_all_the_time(harness: Harness) -> None:
    case = harness.open_case()
    harness.faults(notes_limit=1)
    for text in ("first", "one too many"):
        harness.application.cases.add_comment(case.id, JANE, text)
        harness.run()
    harness.faults(notes_limit=None)
    replay(harness, operation="post_note")
    assert [("first" in one, "one too many" in one) for one in harness.notes(case.id)] == [(True, False), (False, True)]
    assert harness.link(case.id).parked == {}
    replay(harness, operation="post_note")
    assert len(harness.notes(case.id)) == 2


def test_a_comment_kept_in_by_its_direction_goes_out_once_it_is_open(harness: Harness) -> None:
    connectors = harness.application.connectors
    connectors.update(
        harness.connector_id, directions={Field.COMMENTS: FieldDirection.IN, Field.PRIORITY: FieldDirection.IN}
    )
    case = harness.open_case()
    harness.application.cases.add_comment(case.id, JANE, "on it")
    harness.application.cases.override_priority(case.id, JANE, P1)
    harness.run()
    replay(harness, reason=Reason.DIRECTION_OFF)
    assert harness.notes(case.id) == []
    connectors.update(harness.connector_id, directions={})
    rehearsed = replay(harness, is_dry=True, reason=Reason.DIRECTION_OFF).changes[0]
    assert rehearsed.changes == (
        f"set the incident's priority to {P1_ID}",
        "write a note on the incident for Jane Doe: on it",
    )
    for _ in range(2):
        replay(harness, reason=Reason.DIRECTION_OFF)
        assert len(harness.notes(case.id)) == 1
        assert harness.incident(case.id)["priority"]["id"] == P1_ID


def test_a_case_no_rule_matched_is_routed_by_today_s_rules(harness: Harness) -> None:
    sql(harness, "UPDATE routing_rules SET condition = 'case.priority == \"P1\"'")
    case = harness.open_case(priority=P3)
    replay(harness, reason=Reason.NO_ROUTE)
    assert harness.reasons(case.id) == ["no_route", "replayed", "no_route"]
    this = harness.application
    preset = this.routing.ensure_builtin_presets()[0]
    this.routing.create_rule("All", "cases", "true", [Destination(harness.connector_id, preset.id)])
    assert "routed_later" in [cause.code for cause in this.explain.case(case.id).now.causes]
    assert replay(harness, is_dry=True, case=case.id).changes[0].changes == ("open an incident through Checkout",)
    assert harness.incidents_opened() == []
    replay(harness, reason=Reason.NO_ROUTE)
    assert len(harness.incidents_opened()) == 1


def test_while_disconnected_a_call_is_queued_and_goes_out_after_the_reconnect(harness: Harness) -> None:
    case = harness.open_case()
    sql(harness, "UPDATE integrations SET user_email = %s", seeds.RESTRICTED_EMAIL)
    harness.application.cases.resolve(case.id, JANE)
    harness.run()
    sql(harness, "UPDATE integrations SET user_email = %s", seeds.BOT_EMAIL)
    this = harness.application
    this.integrations.set_status(harness.integration_id, IntegrationStatus.DISCONNECTED, "revoked")
    assert replay(harness, is_dry=True, reason=Reason.REFUSED).changes[0].changes == ("set the incident to resolved",)
    replay(harness, reason=Reason.REFUSED)
    assert harness.incident(case.id)["status"] == "triggered"
    assert this.integrations.only().status is IntegrationStatus.DISCONNECTED  # type: ignore[union-attr]
    this.integrations.set_status(harness.integration_id, IntegrationStatus.CONNECTED)
    harness.hurry()
    harness.run()
    assert harness.incident(case.id)["status"] == "resolved"


def test_a_link_a_worker_has_is_left_alone(harness: Harness) -> None:
    case = harness.open_case()
    assert harness.application.leases.claim(harness.link(case.id).id) is not None
    report = replay(harness, runs=False, case=case.id, direction=Direction.OUTBOUND)
    assert set(report.counts) == {"busy"}


# ------------------------------------------------------------------ quarantine


def unread(harness: Harness, name: str, body: bytes) -> None:
    """A webhook that PagerDuty has signed."""
    this = harness.application
    (held,) = this.subscriptions.held(harness.integration_id)
    signature = sign(body, this.subscriptions.secrets(harness.integration_id)[held.id])
    this.inbox.insert([Received(harness.integration_id, name, held.id, signature, body)])


def a_new_type(harness: Harness, case_id: str) -> bytes:
    """An event that the version before could not read, and this one can."""
    incident = harness.link(case_id).incident_id
    note = {"id": "PNOTE77", "type": "incident_note", "content": "from the future", "incident": {"id": incident}}
    event = {"id": "01NEW", "event_type": "incident.annotated", "occurred_at": "2040-01-01T00:00:00.000Z", "data": note}
    return json.dumps({"event": event}).encode()


def test_quarantine_is_listed_shown_replayed_and_discarded(harness: Harness) -> None:
    case = harness.open_case()
    unread(harness, "w1", b"\xff\xfe not json \x1b[31m")
    unread(
        harness, "w2", b'{"event": {"id": "E9", "event_type": "incident.sang", "occurred_at": "2026-01-01T00:00:00Z"}}'
    )
    harness.run()
    this = harness.application
    found, more = this.quarantine.find(limit=1)
    assert (found[0].reason, bool(more)) == ("unreadable", True)
    assert found[0].text == "\\xff\\xfe not json \\x1b[31m"
    (other,), _ = this.quarantine.find(page_token=more)
    assert (other.reason, other.event_id) == ("unknown_event", "E9")
    report = this.replay.run(this.replay.chosen_in_quarantine(100))
    assert [(one.result, one.reason) for one in report.results] == [
        ("nothing", "unreadable"),
        ("nothing", "unknown_event"),
    ]
    assert len(this.quarantine.ids(10)) == 2
    # After an upgrade the bytes are understood.
    sql(harness, "UPDATE inbox SET body = %s WHERE id = %s", a_new_type(harness, case.id), found[0].id)
    assert (
        "comment on the Case"
        in this.replay.run(this.replay.chosen_in_quarantine(100), is_dry=True).changes[0].changes[0]
    )
    this.replay.run(this.replay.chosen_in_quarantine(100))
    harness.run()
    assert harness.comments(case.id).count("from the future") == 1
    assert this.quarantine.ids(10) == [other.id]
    old = attempts(harness, reason=Reason.UNREADABLE)[0]
    assert f"delivery:{old.id}" in [one.cause for one in attempts(harness, reason=Reason.REPLAYED)]
    assert this.discarding.discard([other.id, found[0].id], "a song", who="tester") == [other.id]
    with pytest.raises(NotFoundError):
        this.quarantine.get(other.id)
    entry = this.audit.latest(1)[0]
    assert (entry.action, entry.subject, entry.after) == ("discard", f"webhook {other.id}", {"reason": "a song"})


def test_a_quarantined_repeat_of_a_known_event_is_a_duplicate(harness: Harness) -> None:
    case = harness.open_case()
    unread(harness, "w1", a_new_type(harness, case.id))
    harness.run()
    unread(harness, "w2", b"not json")
    harness.run()
    (id_,) = harness.application.quarantine.ids(10)
    sql(harness, "UPDATE inbox SET body = %s WHERE id = %s", a_new_type(harness, case.id), id_)
    this = harness.application.replay
    (one,) = this.run(this.chosen_in_quarantine(10)).results
    assert (one.result, one.reason) == ("nothing", "duplicate")
    assert harness.application.quarantine.ids(10) == []
    assert harness.comments(case.id).count("from the future") == 1


# ------------------------------------------------------------------ where it is asked


def test_api_and_shell_replay_and_keep_quarantine(harness: Harness) -> None:
    case = harness.open_case()
    unread(harness, "w1", b"not json")
    harness.run()
    this = harness.application
    token = this.tokens.create("replayer", {"deliveries:Read", "deliveries:Replay"})[1]
    rehearsed = call(harness, "POST", "/deliveries/replay", token, {"filter": {"case": case.name}, "dry_run": True})
    assert rehearsed.status_code == 200, rehearsed.text
    assert (rehearsed.json()["is_dry_run"], rehearsed.json()["changes"]) == (True, [])
    assert this.audit.latest(1) == []
    ids = [one.id for one in attempts(harness, case=case.id)][:2]
    done = call(harness, "POST", "/deliveries/replay", token, {"ids": ids})
    assert done.json()["counts"] == {"queued": 2}
    entry = this.audit.latest(1)[0]
    assert (entry.action, entry.after) == ("replay", {"asked": {"ids": ids, "limit": 500}, "results": {"queued": 2}})
    for wrong, status in (
        ({}, 400),
        ({"ids": [1], "quarantined": True}, 400),
        ({"ids": [10**9]}, 404),
        ({"ids": []}, 400),
        ({"filter": {}}, 400),
    ):
        assert call(harness, "POST", "/deliveries/replay", token, wrong).status_code == status
    reader = this.tokens.create("reader", {"deliveries:Read"})[1]
    assert call(harness, "POST", "/deliveries/replay", reader, {"ids": ids}).status_code == 403
    (listed,) = call(harness, "GET", "/quarantine", reader).json()["webhooks"]
    assert (listed["reason"], listed["size"]) == ("unreadable", 8)
    assert call(harness, "GET", f"/quarantine/{listed['id']}", reader).json()["body"] == "not json"
    assert call(harness, "GET", "/quarantine/99", reader).status_code == 404
    assert "not json" in typed(harness, "quarantine", "show", str(listed["id"]))
    assert "unreadable" in typed(harness, "quarantine", "list")
    shown = typed(harness, "replay", "--quarantined", "--dry-run")
    assert "Nothing would change." in shown and "Rehearsed: 1 nothing." in shown
    assert "Tried again: 1 queued" in typed(harness, "replay", str(ids[0]))
    assert "one of the three" in typed(harness, "replay", exits=2)
    assert "Tried again" in typed(harness, "replay", "--case", case.name, "--yes")
    body = {"ids": [listed["id"]], "reason": "noise"}
    assert call(harness, "POST", "/quarantine/discard", reader, body).status_code == 403
    assert call(harness, "POST", "/quarantine/discard", token, body).json() == {"discarded": [listed["id"]]}
    assert "Nothing is in quarantine." in typed(harness, "quarantine", "list")
    assert "None of these" in typed(harness, "quarantine", "discard", "99", "--reason", "noise", exits=1)


def call(harness: Harness, method: str, path: str, token: str, body: Any = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.request(method, f"{harness.web_url}/api/v1{path}", json=body, headers=headers, timeout=10)
