"""The trace of a Case or an incident: each planted misconfiguration is named, and the story is told in order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from pagerduty_sync.cli import main
from pagerduty_sync.commands.shell import Shell
from pagerduty_sync.domain.cases import CasePriority, CaseStatus
from pagerduty_sync.domain.connectors import Field, FieldDirection
from pagerduty_sync.domain.diagnosing import diagnose
from pagerduty_sync.domain.evidence import Evidence
from pagerduty_sync.errors import InvalidRequestError, NotFoundError
from pagerduty_sync.handlers.story import Stage, Story
from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.app import create_app as create_simulator
from tests.harness import JANE, Harness, a_harness, serving

P1, P3 = CasePriority.P1, CasePriority.P3
P1_ID = seeds.PRIORITY_IDS["P1"]


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    with a_harness(database_url, redis_url, tmp_path) as made:
        yield made


def sql(harness: Harness, statement: str, *values: object) -> None:
    with harness.application.database.transaction() as conn:
        conn.execute(statement.encode(), values)


# ------------------------------------------------------------------ fifteen planted misconfigurations


def wrong_service(harness: Harness) -> str:
    sql(harness, "UPDATE connectors SET service_id = 'PNOSUCH'")
    return harness.open_case().id


def unmapped_priority(harness: Harness) -> str:
    harness.application.connectors.update(harness.connector_id, priority_map={P3: seeds.PRIORITY_IDS["P3"]})
    case = harness.open_case(priority=P3)
    harness.next_second()
    harness.set_incident(case.id, priority={"id": P1_ID, "type": "priority_reference"})
    harness.run()
    return case.id


def revoked_key(harness: Harness) -> str:
    case = harness.open_case()
    harness.faults(revoked_keys=[seeds.FULL_KEY])
    harness.application.cases.resolve(case.id, JANE)
    harness.run(until_quiet=False)
    return case.id


def wrong_region(harness: Harness) -> str:
    case = harness.open_case()
    other = create_simulator(start=False)
    other.extensions["simulator"].faults.change({"revoked_keys": [seeds.FULL_KEY]})
    with serving(other) as elsewhere:
        sql(harness, "UPDATE integrations SET base_url = %s", elsewhere)
        harness.application.cases.acknowledge(case.id, JANE)
        harness.run(until_quiet=False)
    return case.id


def disabled_subscription(harness: Harness) -> str:
    case = harness.open_case()
    (held,) = harness.application.subscriptions.held(harness.integration_id)
    harness.sim("POST", f"/_sim/subscriptions/{held.id}/disable")
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    return case.id


def two_way_off(harness: Harness) -> str:
    case = harness.open_case()
    harness.application.integrations.set_two_way(harness.integration_id, False)
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    return case.id


def rule_not_matching(harness: Harness) -> str:
    sql(harness, "UPDATE routing_rules SET condition = 'case.priority == \"P1\"'")
    return harness.open_case(priority=P3).id


def direction_off(harness: Harness) -> str:
    harness.application.connectors.update(harness.connector_id, directions={Field.STATUS: FieldDirection.OUT})
    case = harness.open_case()
    harness.next_second()
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    return case.id


def no_consent(harness: Harness) -> str:
    sql(harness, "TRUNCATE integrations, connectors, routing_rules CASCADE")
    with pytest.raises(InvalidRequestError, match="consent"):
        harness.application.connection.connect(
            name="Acme",
            api_key=seeds.FULL_KEY,
            email=seeds.BOT_EMAIL,
            region=harness.simulator_url,
            is_two_way=True,
            consent=False,
            who="tester",
        )
    return harness.open_case().id


def closed_case(harness: Harness) -> str:
    case = harness.open_case()
    harness.application.cases.close(case.id, JANE)
    harness.run()
    harness.next_second()
    harness.set_incident(case.id, status="resolved")
    harness.run()
    return case.id


def unlinked_incident(harness: Harness) -> str:
    body = {
        "type": "incident",
        "title": "somebody's own",
        "service": {"id": seeds.CHECKOUT_SERVICE_ID, "type": "service_reference"},
    }
    made = harness.responder("POST", "/incidents", {"incident": body})["incident"]["id"]
    harness.responder("PUT", f"/incidents/{made}", {"incident": {"type": "incident_reference", "status": "resolved"}})
    harness.run()
    return f"incident {made}"


def wrong_secret(harness: Harness) -> str:
    case = harness.open_case()
    harness.faults(webhook_bad_signature={"probability": 1.0})
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    return case.id


def clock_skew(harness: Harness) -> str:
    case = harness.open_case()
    harness.sim("POST", "/_sim/clock/advance", json={"seconds": 600.0})
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    return case.id


def missing_permission(harness: Harness) -> str:
    case = harness.open_case()
    sql(harness, "UPDATE integrations SET user_email = %s", seeds.RESTRICTED_EMAIL)
    harness.application.cases.resolve(case.id, JANE)
    harness.run()
    return case.id


def merged_incident(harness: Harness) -> str:
    case, other = harness.open_case("one"), harness.open_case("two")
    source, target = harness.link(case.id).incident_id, harness.link(other.id).incident_id
    reference = {"id": source, "type": "incident_reference"}
    harness.responder("PUT", f"/incidents/{target}/merge", {"source_incidents": [reference]})
    harness.run()
    return case.id


PLANTED: list[tuple[Callable[[Harness], str], str, str]] = [
    (wrong_service, "wrong_service", "PNOSUCH"),
    (unmapped_priority, "unmapped_priority", P1_ID),
    (revoked_key, "revoked_key", "connect"),
    (wrong_region, "wrong_region", "connect"),
    (disabled_subscription, "disabled_subscription", "switched the webhook subscription"),
    (two_way_off, "two_way_off", "two-way on"),
    (rule_not_matching, "no_rule_matches", 'case.priority == "P1"'),
    (direction_off, "direction_off", "status"),
    (no_consent, "no_consent", "--consent"),
    (closed_case, "closed_case", "comments"),
    (unlinked_incident, "unlinked_incident", "no Case"),
    (wrong_secret, "wrong_secret", "none of the signatures"),
    (clock_skew, "clock_skew", "before they happened"),
    (missing_permission, "missing_permission", seeds.RESTRICTED_EMAIL),
    (merged_incident, "merged_incident", "merged into another one"),
]


@pytest.mark.parametrize(("plant", "code", "part"), [pytest.param(*row, id=row[0].__name__) for row in PLANTED])
def test_a_planted_misconfiguration_is_named_first(
    harness: Harness, plant: Callable[[Harness], str], code: str, part: str
) -> None:
    subject = plant(harness)
    this = harness.application.explain
    before = harness.reasons(subject) if not subject.startswith("incident ") else []
    story = this.incident(subject[9:]) if subject.startswith("incident ") else this.case(subject, asks=True)
    assert story.now.causes, story
    first = story.now.causes[0]
    assert (first.code, bool(first.mend)) == (code, True), story.now.causes
    assert part in first.says + first.mend
    # Of these the two sides, as far as anybody here can know, say the same.
    unseen = ("clock_skew", "wrong_secret", "disabled_subscription", "two_way_off")
    assert story.now.is_in_step is not True or code in unseen
    if before:
        assert harness.reasons(subject) == before, "explaining leaves no trace"
    assert seeds.FULL_KEY not in json.dumps([str(step) for step in story.steps])


def test_a_watchdog_that_awaits_its_test_event_is_told_without_asking(harness: Harness) -> None:
    case = harness.open_case()
    (held,) = harness.application.subscriptions.held(harness.integration_id)
    headers = {"Authorization": f"Token token={seeds.FULL_KEY}"}
    requests.delete(f"{harness.simulator_url}/webhook_subscriptions/{held.id}", headers=headers, timeout=10)
    harness.application.health.check_subscription(harness.integration_id)
    codes = [cause.code for cause in harness.application.explain.case(case.id).now.causes]
    assert codes[0] == "disabled_subscription"


# ------------------------------------------------------------------ the story


def test_nothing_is_wrong_with_a_pair_that_is_in_step(harness: Harness) -> None:
    case = harness.open_case()
    harness.next_second()
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    story = harness.application.explain.case(case.name, asks=True)
    assert (story.now.is_in_step, list(story.now.causes), list(story.now.waits)) == (True, [], [])
    assert story.now.asked["incident"].startswith("acknowledged by Ada Responder")
    assert [one.verdict for one in story.now.compared] == ["in_step"] * 3
    assert stages_about(story, "incident.acknowledged") == [
        Stage.RECEIVED,
        Stage.VERIFIED,
        Stage.MATCHED,
        Stage.DELIVERED,
    ]
    applied = next(step for step in story.steps if step.reason == "applied" and "incident.acknowledged" in step.text)
    assert "acknowledge_case" in applied.text and "written to the other" in applied.rule
    received = next(s for s in story.steps if s.stage is Stage.RECEIVED and "incident.acknowledged" in s.text)
    assert received.values["status"] == "acknowledged" and "Ada Responder" in received.text
    assert [step.at for step in story.steps] == sorted(step.at for step in story.steps)


def stages_about(story: Story, event_type: str) -> list[Stage]:
    about = {step.about for step in story.steps if step.stage is Stage.RECEIVED and event_type in step.text}
    return [s.stage for s in story.steps if s.about in about or (event_type in s.text and "delivery:" in s.about)]


def test_what_waits_says_for_what_and_until_when(harness: Harness) -> None:
    case = harness.open_case()
    harness.faults(fail_before={"next": 1, "status": 503, "match": {"method": "PUT"}})
    harness.application.cases.resolve(case.id, JANE, "rolled back")
    harness.run()
    now = harness.application.explain.case(case.id).now
    assert now.is_in_step is False
    assert any("is due" in wait.what and wait.until for wait in now.waits)
    assert any("given up then" in wait.what and wait.until and wait.since for wait in now.waits)
    assert "set the incident to resolved" in now.would_do
    assert [one.verdict for one in now.compared if one.name == "status"] == ["to_incident"]
    assert [cause.code for cause in now.causes] == ["failing"]


def test_a_webhook_and_a_change_nobody_has_looked_at_wait(harness: Harness) -> None:
    case = harness.open_case()
    harness.next_second()
    harness.set_incident(case.id, status="acknowledged")
    harness.application.cases.add_comment(case.id, JANE, "on it")
    while harness.webhooks_pending():
        pass
    this = harness.application
    this.inbound.verify(this.inbox.found_late(100, 0))
    now = this.explain.case(case.id).now
    whats = [wait.what for wait in now.waits]
    assert "incident.acknowledged waits for its link" in whats
    assert "comment of the Case waits to be looked at" in whats
    sql(harness, "UPDATE links SET dirty_at = dirty_at - interval '5 minutes'")
    sql(harness, "UPDATE inbox SET received_at = received_at - interval '5 minutes'")
    assert "no_worker" in [cause.code for cause in this.explain.case(case.id).now.causes]


def test_a_settled_difference_names_the_rule_that_settled_it(harness: Harness) -> None:
    case = harness.open_case()
    harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    harness.application.cases.unacknowledge(case.id, JANE)
    harness.run()
    now = harness.application.explain.case(case.id).now
    status = next(one for one in now.compared if one.name == "status")
    assert (status.verdict, now.is_in_step) == ("settled", False)
    assert "no word for this change" in status.rule


def test_the_story_of_a_linked_incident_is_its_case_s(harness: Harness) -> None:
    case = harness.open_case()
    link = harness.link(case.id)
    assert link.incident_id is not None
    assert harness.application.explain.incident(link.incident_id).subject.startswith(case.name)
    unheard = harness.application.explain.incident("QNEVERHEARD")
    assert (list(unheard.steps), unheard.now.is_in_step) == ([], None)
    with pytest.raises(NotFoundError):
        harness.application.explain.case("CASE-404")


def test_a_case_in_each_state_can_be_explained(harness: Harness) -> None:
    this = harness.application
    pending = this.cases.create_case("later", P3, actor=JANE, activate=False)
    harness.run()
    assert [cause.code for cause in this.explain.case(pending.id).now.causes] == ["waits_for_activation"]
    over = this.cases.create_case("false alarm", P3, actor=JANE)
    this.cases.close(over.id, JANE)
    harness.run()
    assert [cause.code for cause in this.explain.case(over.id).now.causes] == ["not_open"]
    opening = this.cases.create_case("slow", P1, actor=JANE)
    this.router.route(opening.id)
    now = this.explain.case(opening.id).now
    assert now.would_do == ("open an incident",)
    assert this.cases.get_case(opening.id).status is CaseStatus.ACTIVE


def test_no_evidence_at_all_is_no_error() -> None:
    assert [cause.code for cause in diagnose(Evidence(datetime.now(UTC)))] == ["no_consent"]


# ------------------------------------------------------------------ where it is asked


def test_api_and_shell_tell_the_same_story(harness: Harness) -> None:
    case = harness.open_case()
    harness.application.cases.resolve(case.id, JANE, "rolled back")
    harness.run()
    reader = _token(harness, "deliveries:Read")
    reply = get(harness, f"/api/v1/cases/{case.name}/explain", reader)
    assert reply.status_code == 200, reply.text
    story = reply.json()
    assert story["now"]["is_in_step"] is True
    assert story["now"]["case"]["status"] == "RESOLVED"
    assert "received" in {step["stage"] for step in story["steps"]}
    link = harness.link(case.id)
    of_incident = get(harness, f"/api/v1/explain?incident_id={link.incident_id}&ask=true", reader)
    assert of_incident.json()["subject"] == story["subject"]
    assert get(harness, "/api/v1/cases/CASE-404/explain", reader).status_code == 404
    assert get(harness, "/api/v1/explain", reader).status_code == 400
    assert get(harness, f"/api/v1/cases/{case.name}/explain", _token(harness, "case:Read")).status_code == 403
    shown = typed(harness, "explain", case.name)
    assert "Now: in step" in shown and "incident.resolved" in shown and "rolled back" in shown
    assert json.loads(typed(harness, "explain", case.name, "--json"))["subject"] == story["subject"]
    assert "Name a Case" in typed(harness, "explain", exits=2)


def test_the_shell_names_cause_and_mend(harness: Harness) -> None:
    case_id = rule_not_matching(harness)
    shown = typed(harness, "explain", case_id)
    assert "Probable cause: no_rule_matches" in shown and "Mend: Change or add a rule" in shown
    incident = unlinked_incident(harness)[9:]
    assert "Probable cause: unlinked_incident" in typed(harness, "explain", "--incident", incident)


def typed(harness: Harness, *words: str, exits: int = 0) -> str:
    settings = harness.application.settings
    environment = {
        "PAGERDUTY_SYNC_DATABASE_URL": settings.database_url or "",
        "PAGERDUTY_SYNC_REDIS_URL": settings.redis_url or "",
        "PAGERDUTY_SYNC_ENCRYPTION_KEYS": settings.encryption_keys[0],
        "PAGERDUTY_SYNC_DATA_DIR": str(settings.data_dir),
    }
    result = CliRunner().invoke(main, words, obj=Shell(environment))
    assert result.exit_code == exits, result.output
    return str(result.output)


def get(harness: Harness, path: str, token: str) -> requests.Response:
    return requests.get(harness.web_url + path, headers={"Authorization": f"Bearer {token}"}, timeout=10)


def _token(harness: Harness, *permissions: str) -> str:
    return harness.application.tokens.create("test", permissions)[1]
