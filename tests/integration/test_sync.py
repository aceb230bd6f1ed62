"""Both rides over the real stores, the web app and the simulator: what people do on one side, seen on the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pagerduty_sync.domain.cases import CasePriority, CaseStatus
from pagerduty_sync.domain.connectors import Field, IntegrationStatus
from pagerduty_sync.domain.links import LinkState
from pagerduty_sync.simulator import seeds
from tests.harness import JANE, Harness, a_harness

P1, P2, P3, P5 = CasePriority.P1, CasePriority.P2, CasePriority.P3, CasePriority.P5


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    with a_harness(database_url, redis_url, tmp_path) as made:
        yield made


# ------------------------------------------------------------------ opening


def test_a_routed_case_opens_one_incident_and_each_links_to_the_other(harness: Harness) -> None:
    case = harness.open_case("Checkout is slow", P2)
    incident = harness.incident(case.id)
    assert incident["title"] == f"{case.name}: Checkout is slow"
    assert incident["status"] == "triggered"
    assert incident["priority"]["id"] == seeds.PRIORITY_IDS["P2"]
    assert incident["service"]["id"] == seeds.CHECKOUT_SERVICE_ID
    assert f"/cases/{case.name}" in incident["body"]["details"]
    assert [incident["html_url"] in text for text in harness.comments(case.id)] == [True]
    assert len(harness.incidents_opened()) == 1
    assert "applied" in harness.reasons(case.id, "open_incident")


def test_opening_twice_finds_the_first_after_a_lost_reply(harness: Harness) -> None:
    harness.faults(lose_reply={"next": 1, "match": {"method": "POST", "path": "/incidents"}})
    case = harness.open_case()
    assert harness.reasons(case.id, "open_incident") == ["no_reply"]
    harness.hurry()
    harness.run()
    assert len(harness.incidents_opened()) == 1
    assert harness.reasons(case.id, "find_incident") == ["adopted"]
    assert harness.link(case.id).state is LinkState.LINKED


def test_an_incident_already_open_under_the_key_is_adopted(harness: Harness) -> None:
    case = harness.application.cases.create_case("Checkout is slow", P3, actor=JANE)
    body = {
        "type": "incident",
        "title": "made by a worker that died",
        "service": {"id": seeds.CHECKOUT_SERVICE_ID, "type": "service_reference"},
        "incident_key": f"case-{case.id}",
    }
    made = harness.responder("POST", "/incidents", {"incident": body})
    harness.run()
    assert harness.link(case.id).incident_id == made["incident"]["id"]
    assert len(harness.incidents_opened()) == 1


def test_a_case_that_is_over_before_it_was_opened_opens_nothing(harness: Harness) -> None:
    case = harness.application.cases.create_case("False alarm", P3, actor=JANE)
    harness.application.cases.close(case.id, JANE)
    harness.run()
    assert harness.incidents_opened() == []
    assert set(harness.reasons(case.id)) == {"not_open"}


def test_a_case_no_rule_matches_says_so(harness: Harness) -> None:
    with harness.application.database.transaction() as conn:
        conn.execute("UPDATE routing_rules SET condition = 'case.priority == \"P1\"'")
    case = harness.open_case(priority=P3)
    assert harness.reasons(case.id) == ["no_route"]
    assert harness.open_case(priority=P1).id != case.id
    assert len(harness.incidents_opened()) == 1


def test_an_acknowledged_case_opens_and_then_acknowledges(harness: Harness) -> None:
    case = harness.application.cases.create_case("Slow", P3, actor=JANE)
    harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    assert harness.incident(case.id)["status"] == "acknowledged"


# ------------------------------------------------------------------ from PagerDuty


def test_an_acknowledge_in_pagerduty_acknowledges_the_case_and_names_the_person(harness: Harness) -> None:
    case = harness.open_case()
    harness.next_second()
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    assert harness.case(case.id).status is CaseStatus.ACKNOWLEDGED
    last = harness.application.cases.list_events(case.id)[-1]
    assert (last.kind, last.actor.kind, last.actor.name, last.actor.id) == (
        "statusChanged",
        "pagerDuty",
        "Ada Responder",
        seeds.ADA_ID,
    )
    assert harness.reasons(case.id, "incident.acknowledged") == ["applied"]


def test_an_unacknowledged_incident_makes_the_case_active_again(harness: Harness) -> None:
    case = harness.open_case()
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    harness.set_incident(case.id, urgency="low")
    harness.set_incident(case.id, urgency="high")
    harness.run()
    assert harness.incident(case.id)["status"] == "triggered"
    assert harness.case(case.id).status is CaseStatus.ACTIVE


@pytest.mark.parametrize("note_first", [True, False], ids=["the note comes first", "the resolve comes first"])
def test_resolved_with_a_note_resolves_the_case_with_it(harness: Harness, note_first: bool) -> None:
    case = harness.open_case()
    if note_first:
        harness.add_note(case.id, "Resolution Note: restarted the pods")
        harness.run()
        assert harness.case(case.id).status is CaseStatus.ACTIVE
    harness.set_incident(case.id, status="resolved")
    harness.run()
    if not note_first:
        harness.add_note(case.id, "Resolution Note: restarted the pods")
        harness.run()
    after = harness.case(case.id)
    assert (after.status, after.resolution_reason) == (CaseStatus.RESOLVED, "restarted the pods")
    assert after.resolved_by is not None and after.resolved_by.name == "Ada Responder"
    assert "restarted the pods" not in " ".join(harness.comments(case.id))


def test_a_priority_set_and_cleared_in_pagerduty(harness: Harness) -> None:
    case = harness.open_case(priority=P3)
    harness.set_incident(case.id, priority={"id": seeds.PRIORITY_IDS["P1"], "type": "priority_reference"})
    harness.run()
    assert harness.case(case.id).override_priority is P1
    harness.set_incident(case.id, priority=None)
    harness.run()
    assert harness.case(case.id).override_priority is None
    assert harness.incident(case.id)["priority"] is None


def test_a_note_becomes_a_comment_once(harness: Harness) -> None:
    case = harness.open_case()
    harness.add_note(case.id, "looking into it")
    harness.run()
    assert harness.comments(case.id).count("looking into it") == 1
    comment = harness.application.cases.list_comments(case.id)[-1]
    assert comment.actor.name == "Ada Responder"
    assert harness.notes(case.id) == ["looking into it"]


def test_a_trimmed_note_is_read_whole(harness: Harness) -> None:
    harness.faults(note_trim_bytes=100)
    case = harness.open_case()
    text = "long " * 100 + "end"
    harness.add_note(case.id, text)
    harness.run()
    assert harness.comments(case.id).count(text) == 1
    assert harness.reasons(case.id, "read_notes") == ["checked"]


def test_a_merge_resolves_no_case_and_the_link_follows(harness: Harness) -> None:
    case = harness.open_case()
    source = harness.link(case.id).incident_id
    target = harness.responder(
        "POST",
        "/incidents",
        {
            "incident": {
                "type": "incident",
                "title": "the main one",
                "service": {"id": seeds.PAYMENTS_SERVICE_ID, "type": "service_reference"},
            }
        },
    )["incident"]["id"]
    harness.next_second()
    harness.responder(
        "PUT", f"/incidents/{target}/merge", {"source_incidents": [{"id": source, "type": "incident_reference"}]}
    )
    harness.run()
    assert harness.case(case.id).status is CaseStatus.ACTIVE
    assert harness.link(case.id).incident_id == target
    assert any(target in text for text in harness.comments(case.id))
    assert "merged" in harness.reasons(case.id, "incident.resolved")
    harness.set_incident(case.id, status="resolved")
    harness.run()
    assert harness.case(case.id).status is CaseStatus.RESOLVED


def test_a_merge_into_an_incident_with_a_case_of_its_own_ends_the_link(harness: Harness) -> None:
    case, other = harness.open_case("one"), harness.open_case("two")
    source, target = harness.link(case.id).incident_id, harness.link(other.id).incident_id
    harness.responder(
        "PUT", f"/incidents/{target}/merge", {"source_incidents": [{"id": source, "type": "incident_reference"}]}
    )
    harness.run()
    link = harness.link(case.id)
    assert (link.state, link.ended_reason) == (LinkState.ENDED, "merged")
    assert harness.case(case.id).status is CaseStatus.ACTIVE
    assert harness.link(other.id).incident_id == target


def test_a_re_open_is_told_and_changes_nothing(harness: Harness) -> None:
    case = harness.open_case()
    harness.set_incident(case.id, status="resolved")
    harness.run()
    harness.next_second()
    harness.set_incident(case.id, status="triggered")
    harness.run()
    assert harness.case(case.id).status is CaseStatus.RESOLVED
    assert harness.incident(case.id)["status"] == "triggered"
    assert sum("re-opened" in text for text in harness.comments(case.id)) == 1
    assert harness.reasons(case.id, "incident.reopened") == ["case_cannot_reopen"]


def test_an_incident_without_a_case_is_ignored(harness: Harness) -> None:
    body = {
        "type": "incident",
        "title": "somebody's own",
        "service": {"id": seeds.CHECKOUT_SERVICE_ID, "type": "service_reference"},
    }
    made = harness.responder("POST", "/incidents", {"incident": body})["incident"]["id"]
    harness.responder("PUT", f"/incidents/{made}", {"incident": {"type": "incident_reference", "status": "resolved"}})
    harness.run()
    counts = harness.application.deliveries.count_by_reason()
    assert counts == {"no_link": 2}


# ------------------------------------------------------------------ from the Case


def test_acknowledge_and_resolve_with_a_note_travel(harness: Harness) -> None:
    case = harness.open_case()
    harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    assert harness.incident(case.id)["status"] == "acknowledged"
    harness.application.cases.resolve(case.id, JANE, "rolled back")
    harness.run()
    incident = harness.incident(case.id)
    assert incident["status"] == "resolved"
    (note,) = harness.notes(case.id)
    assert note.startswith("Resolution Note: rolled back") and "Jane Doe" in note
    assert harness.case(case.id).resolution_reason == "rolled back"
    assert harness.reasons(case.id, "incident.acknowledged") == ["echo"]
    assert harness.reasons(case.id, "incident.resolved") == ["echo"]


@pytest.mark.parametrize("creates_note", [True, False])
def test_a_resolution_in_the_log_entry_is_right_whether_or_not_it_becomes_a_note(
    database_url: str, redis_url: str, tmp_path: Path, creates_note: bool
) -> None:
    with a_harness(database_url, redis_url, tmp_path, resolution_notes="log_entry") as harness:
        harness.faults(resolution_creates_note=creates_note)
        case = harness.open_case()
        harness.application.cases.resolve(case.id, JANE, "rolled back")
        harness.run()
        assert harness.incident(case.id)["status"] == "resolved"
        assert harness.case(case.id).resolution_reason == "rolled back"
        assert len(harness.notes(case.id)) == (1 if creates_note else 0)
        assert "rolled back" not in " ".join(harness.comments(case.id))


def test_a_priority_override_and_its_clearing_travel(harness: Harness) -> None:
    case = harness.open_case(priority=P3)
    harness.application.cases.override_priority(case.id, JANE, P1)
    harness.run()
    assert harness.incident(case.id)["priority"]["id"] == seeds.PRIORITY_IDS["P1"]
    harness.application.cases.override_priority(case.id, JANE, None)
    harness.run()
    assert harness.incident(case.id)["priority"] is None
    assert harness.case(case.id).priority is P3


def test_a_comment_becomes_a_note_once(harness: Harness) -> None:
    case = harness.open_case()
    harness.application.cases.add_comment(case.id, JANE, "seen on the dashboards")
    harness.run()
    (note,) = harness.notes(case.id)
    assert note.startswith(f"Jane Doe on {case.name}: seen on the dashboards [c-")
    assert harness.comments(case.id).count("seen on the dashboards") == 1
    assert harness.reasons(case.id, "incident.annotated") == ["echo"]


def test_a_note_whose_reply_is_lost_stands_once(harness: Harness) -> None:
    case = harness.open_case()
    harness.faults(
        lose_reply={"next": 1, "match": {"method": "POST", "path": "/notes"}}, webhook_drop={"probability": 1.0}
    )
    harness.application.cases.add_comment(case.id, JANE, "once only")
    harness.run()
    harness.hurry()
    harness.run()
    assert sum("once only" in note for note in harness.notes(case.id)) == 1
    assert harness.reasons(case.id, "post_note") == ["no_reply"]


def test_closing_an_open_incidents_case_leaves_it_one_final_note(harness: Harness) -> None:
    case = harness.open_case()
    harness.application.cases.close(case.id, JANE)
    harness.run()
    incident = harness.incident(case.id)
    assert incident["status"] == "triggered"
    (note,) = harness.notes(case.id)
    assert "was closed by Jane Doe" in note
    before = len(harness.comments(case.id))
    harness.next_second()
    harness.set_incident(case.id, status="acknowledged")
    harness.set_incident(case.id, priority={"id": seeds.PRIORITY_IDS["P1"], "type": "priority_reference"})
    harness.add_note(case.id, "after the end")
    harness.set_incident(case.id, status="resolved")
    harness.run()
    after = harness.case(case.id)
    assert (after.status, after.override_priority) == (CaseStatus.CLOSED, None)
    assert len(harness.comments(case.id)) == before + 4
    assert len(harness.notes(case.id)) == 2
    assert harness.reasons(case.id, "incident.acknowledged") == ["case_closed"]


def test_un_acknowledging_the_case_has_no_equivalent(harness: Harness) -> None:
    case = harness.open_case()
    harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    harness.application.cases.unacknowledge(case.id, JANE)
    harness.run()
    assert harness.incident(case.id)["status"] == "acknowledged"
    assert harness.case(case.id).status is CaseStatus.ACTIVE
    assert "no_equivalent" in harness.reasons(case.id, "statusChanged")


def test_a_late_acknowledge_never_re_opens_a_resolved_incident(harness: Harness) -> None:
    case = harness.open_case()
    harness.faults(webhook_drop={"probability": 1.0})
    harness.set_incident(case.id, status="resolved")
    harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    assert harness.incident(case.id)["status"] == "resolved"
    assert harness.case(case.id).status is CaseStatus.RESOLVED


# ------------------------------------------------------------------ trouble


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param({"rate_limit": {"next": 1, "headers": True}}, "rate_limited", id="429"),
        pytest.param({"rate_limit": {"next": 1, "headers": False, "body": False}}, "rate_limited", id="429, bare"),
        pytest.param({"fail_before": {"next": 1, "status": 503}}, "unavailable", id="503"),
        pytest.param({"lose_reply": {"next": 1}}, "no_reply", id="lost reply"),
    ],
)
def test_a_failure_that_passes_is_tried_again(harness: Harness, fault: dict[str, Any], reason: str) -> None:
    case = harness.open_case()
    match = {"match": {"method": "PUT"}}
    harness.faults(**{name: {**rule, **match} for name, rule in fault.items()})
    harness.application.cases.resolve(case.id, JANE)
    harness.run()
    assert harness.reasons(case.id, "resolve_incident")[0] == reason
    harness.hurry()
    harness.run()
    assert harness.incident(case.id)["status"] == "resolved"
    assert harness.link(case.id).attempts == 0


def test_a_revoked_key_disconnects_and_keeps_the_queue(harness: Harness) -> None:
    case = harness.open_case()
    harness.faults(revoked_keys=[seeds.FULL_KEY])
    harness.application.cases.resolve(case.id, JANE)
    harness.run(until_quiet=False)
    integration = harness.application.integrations.by_id(harness.integration_id)
    assert integration is not None and integration.status is IntegrationStatus.DISCONNECTED
    sent = len(harness.sim("GET", "/_sim/requests")["requests"])
    harness.hurry()
    harness.run(until_quiet=False)
    assert len(harness.sim("GET", "/_sim/requests")["requests"]) == sent
    harness.faults(revoked_keys=[])
    harness.application.integrations.set_status(harness.integration_id, IntegrationStatus.CONNECTED)
    harness.hurry()
    harness.run()
    assert harness.incident(case.id)["status"] == "resolved"


def test_what_pagerduty_refuses_is_parked_and_the_rest_flows_on(harness: Harness) -> None:
    case = harness.open_case()
    harness.faults(notes_limit=1)
    harness.application.cases.add_comment(case.id, JANE, "first")
    harness.run()
    harness.application.cases.add_comment(case.id, JANE, "one too many")
    harness.application.cases.resolve(case.id, JANE)
    harness.run()
    assert harness.incident(case.id)["status"] == "resolved"
    link = harness.link(case.id)
    assert any(key.startswith("note:") for key in link.parked)
    assert "refused" in harness.reasons(case.id, "post_note")


def test_a_deleted_incident_ends_the_link(harness: Harness) -> None:
    case = harness.open_case()
    with harness.application.database.transaction() as conn:
        conn.execute("UPDATE links SET incident_id = 'QGONE'")
    harness.application.cases.resolve(case.id, JANE)
    harness.run()
    link = harness.link(case.id)
    assert (link.state, link.ended_reason) == (LinkState.ENDED, "not_found")


def test_reconcile_heals_what_no_webhook_told(harness: Harness) -> None:
    cases = [harness.open_case(f"number {number}") for number in range(3)]
    harness.faults(webhook_drop={"probability": 1.0})
    harness.set_incident(cases[0].id, status="acknowledged")
    harness.set_incident(cases[1].id, status="resolved")
    harness.run()
    assert harness.case(cases[0].id).status is CaseStatus.ACTIVE
    before = len(harness.sim("GET", "/_sim/requests")["requests"])
    assert harness.application.upkeep.reconcile().integration_ids == [harness.integration_id]
    harness.run()
    assert harness.case(cases[0].id).status is CaseStatus.ACKNOWLEDGED
    assert harness.case(cases[1].id).status is CaseStatus.RESOLVED
    assert harness.case(cases[2].id).status is CaseStatus.ACTIVE
    assert "healed" in harness.reasons(cases[0].id)
    # One page of incidents, one of the log, and one read for each difference.
    assert len(harness.sim("GET", "/_sim/requests")["requests"]) - before == 1 + 1 + 2


def test_reconcile_hears_of_a_re_open_no_webhook_told(harness: Harness) -> None:
    case = harness.open_case()
    harness.set_incident(case.id, status="resolved")
    harness.run()
    harness.faults(webhook_drop={"probability": 1.0})
    harness.set_incident(case.id, status="triggered")
    harness.application.upkeep.reconcile()
    harness.run()
    assert sum("re-opened" in text for text in harness.comments(case.id)) == 1


def test_reconcile_heals_notes_no_webhook_told_also_after_the_resolve(harness: Harness) -> None:
    case = harness.open_case()
    harness.set_incident(case.id, status="resolved")
    harness.run()
    harness.faults(webhook_drop={"probability": 1.0})
    harness.add_note(case.id, "Resolution Note: it was the cache")
    harness.add_note(case.id, "and the disk")
    harness.run()
    assert harness.application.upkeep.reconcile().integration_ids == [harness.integration_id]
    harness.run()
    assert harness.case(case.id).resolution_reason == "it was the cache"
    assert harness.comments(case.id).count("and the disk") == 1
    assert "healed" in harness.reasons(case.id)


def test_a_webhook_of_our_own_create_that_overtakes_the_reply_waits_for_it(harness: Harness) -> None:
    harness.faults(slow_reply={"next": 1, "seconds": 0.4, "match": {"method": "POST", "path": "/incidents"}})
    case = harness.open_case()
    assert harness.link(case.id).state is LinkState.LINKED
    assert harness.reasons(case.id, "incident.triggered") == ["echo"]


def test_a_defect_stays_with_its_link_and_says_so(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = harness.open_case("bad"), harness.open_case("good")
    intake = harness.application.sync._intake
    take_in = intake.take_in

    def broken(visit: Any) -> Any:
        if visit.case.id == bad.id:
            raise AssertionError("a defect")
        return take_in(visit)

    monkeypatch.setattr(intake, "take_in", broken)
    for case in (bad, good):
        harness.application.cases.resolve(case.id, JANE)
    for _ in range(8):
        harness.step()
    assert harness.incident(good.id)["status"] == "resolved"
    # Tried once, and put off: a defect that shows every second would fill the log.
    assert harness.reasons(bad.id).count("defect") == 1
    monkeypatch.undo()
    with harness.application.database.transaction() as conn:
        conn.execute("UPDATE links SET dirty_at = now()")
    harness.hurry()
    harness.run()
    assert harness.incident(bad.id)["status"] == "resolved"


def test_a_webhook_looked_at_while_the_link_was_opening_is_taken_in_once_it_is_open(harness: Harness) -> None:
    harness.faults(lose_reply={"next": 1, "match": {"method": "POST", "path": "/incidents"}})
    case = harness.open_case()
    harness.next_second()
    (incident,) = harness.incidents_opened()
    body = {"incident": {"type": "incident_reference", "status": "acknowledged"}}
    harness.responder("PUT", f"/incidents/{incident['id']}", body)
    harness.run()
    harness.hurry()
    for _ in range(4):
        harness.step()
    assert harness.case(case.id).status is CaseStatus.ACKNOWLEDGED
    with harness.application.database.transaction() as conn:
        waiting = conn.execute("SELECT event_id FROM inbox WHERE state = 'waiting'").fetchall()
    assert waiting == []


def test_a_worker_told_to_stop_begins_nothing_new_and_leaves_no_lease(harness: Harness) -> None:
    case = harness.open_case()
    harness.application.cases.resolve(case.id, JANE)
    harness.application.sync.look(harness.link(case.id).id)
    harness.application.sync.stop()
    assert harness.application.sync.call(harness.integration_id) is None
    assert harness.incident(case.id)["status"] == "triggered"
    with harness.application.database.transaction() as conn:
        assert conn.execute("SELECT 1 FROM links WHERE lease_token IS NOT NULL").fetchall() == []
    harness.application.sync._is_stopping.clear()
    harness.run()
    assert harness.incident(case.id)["status"] == "resolved"


def test_everything_run_twice_has_one_effect(harness: Harness) -> None:
    """The twin of all stories: every message delivered twice, every stage run again."""
    harness.faults(webhook_duplicate={"probability": 1.0})
    case = harness.open_case()
    harness.application.cases.add_comment(case.id, JANE, "one")
    harness.add_note(case.id, "two")
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    with harness.application.database.transaction() as conn:
        conn.execute("UPDATE inbox SET state = 'waiting' WHERE link_id IS NOT NULL")
        conn.execute("UPDATE case_events SET handled_at = NULL")
        conn.execute("UPDATE links SET dirty_at = now()")
    before = (harness.comments(case.id), harness.notes(case.id), harness.case(case.id))
    harness.run()
    assert (harness.comments(case.id), harness.notes(case.id), harness.case(case.id)) == before
    assert harness.link(case.id).agreed(Field.STATUS).incident == "acknowledged"
