"""As a new administrator with only the API: connect, make a path, see a Case travel, lose the key and recover."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.simulator import seeds
from tests.api_stand import Stand, an_api_stand
from tests.harness import JANE


@pytest.fixture
def stand(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Stand]:
    with an_api_stand(database_url, redis_url, tmp_path) as made:
        yield made


def test_from_nothing_to_a_case_that_travels_both_ways(stand: Stand) -> None:
    assert stand.call("GET", "/integrations") == {"integrations": []}
    report = stand.connect()
    integration = report["integration"]
    assert (integration["status"], integration["reason"], integration["banner"]) == ("connected", "", "")
    assert integration["api_key"] == {"is_set": True, "last4": seeds.FULL_KEY[-4:]}
    assert [priority["name"] for priority in integration["priorities"]] == ["P1", "P2", "P3", "P4", "P5"]
    assert report["problem"] is None
    services = stand.call("GET", f"{stand.integration}/services?query=checkout")["services"]
    assert [service["id"] for service in services] == [seeds.CHECKOUT_SERVICE_ID]
    assert len(stand.call("GET", f"{stand.integration}/services")["services"]) == 30
    connector = stand.connector(service=services[0]["id"])
    assert (connector["badge"], connector["state"], connector["banner"]) == ("bidirectional", "connected", "")
    preset = stand.call("POST", "/presets", {"name": "Mine", "templates": {"title": "!! {{ case.title }}"}}, expect=201)
    stand.rule(connector, destinations=[{"connector_id": connector["id"], "preset_id": preset["id"]}])
    name = stand.open_case(priority="P2")
    incident = stand.harness.incident(name)
    assert incident["title"] == "!! Checkout is slow"
    assert incident["priority"]["id"] == seeds.PRIORITY_IDS["P2"]
    stand.harness.next_second()
    stand.harness.set_incident(name, status="acknowledged")
    stand.run()
    assert stand.call("GET", f"/cases/{name}")["status"] == "ACKNOWLEDGED"
    trail = [(entry["action"], entry["subject"]) for entry in stand.call("GET", "/audit")["entries"]]
    assert trail == [
        ("create", "routing rule Everything"),
        ("create", "preset Mine"),
        ("create", "connector Checkout"),
        ("connect", "integration Acme"),
    ]


def test_a_revoked_key_keeps_everything_until_the_account_is_connected_again(stand: Stand) -> None:
    stand.connect()
    connector = stand.connector()
    stand.rule(connector)
    name = stand.open_case()
    stand.harness.faults(revoked_keys=[seeds.FULL_KEY])
    case = stand.harness.case(name)
    stand.harness.application.cases.override_priority(case.id, JANE, CasePriority.P1)
    stand.run()
    shown = stand.call("GET", stand.integration)
    assert shown["status"] == "disconnected"
    assert shown["reason"] and shown["since"]
    listed = stand.call("GET", "/connectors")["connectors"][0]
    assert listed["state"] == "disconnected"
    assert "Acme is disconnected" in listed["banner"]
    waiting = stand.open_case(title="While nobody answers")
    assert len(stand.harness.incidents_opened()) == 1
    problem = stand.refused(400, "PUT", stand.integration, {})
    assert problem["field"] == "api_key"
    stand.harness.faults(revoked_keys=[])
    report = stand.call("PUT", stand.integration, {"api_key": seeds.USER_TOKEN, "email": seeds.ADA_EMAIL})
    assert report["integration"]["status"] == "connected"
    assert report["integration"]["api_key"]["last4"] == seeds.USER_TOKEN[-4:]
    stand.harness.hurry()
    stand.run()
    assert stand.harness.incident(name)["priority"]["id"] == seeds.PRIORITY_IDS["P1"]
    assert len(stand.harness.incidents_opened()) == 2
    assert stand.harness.incident(waiting)["status"] == "triggered"
    assert stand.call("GET", "/connectors")["connectors"][0]["banner"] == ""


def test_a_check_finds_the_key_gone_and_back(stand: Stand) -> None:
    stand.connect()
    stand.harness.faults(revoked_keys=[seeds.FULL_KEY])
    found = stand.call("POST", f"{stand.integration}/check")
    assert found["integration"]["status"] == "disconnected"
    assert "API key" in found["problem"]
    stand.harness.faults(revoked_keys=[])
    assert stand.call("POST", f"{stand.integration}/check")["problem"] is None


def test_two_way_can_be_switched_and_the_account_removed(stand: Stand) -> None:
    stand.connect()
    connector = stand.connector()
    off = stand.call("PATCH", stand.integration, {"is_two_way": False})["integration"]
    assert (off["is_two_way"], off["subscriptions"], off["webhook_secret"]["is_set"]) == (False, [], False)
    assert "nothing comes back" in stand.call("GET", f"/connectors/{connector['id']}")["banner"]
    problem = stand.refused(409, "DELETE", stand.integration)
    assert "Checkout" in problem["detail"]
    assert "can be only one" in stand.refused(409, "POST", "/integrations", _account(stand))["detail"]
    stand.call("DELETE", f"/connectors/{connector['id']}", expect=204)
    assert stand.call("DELETE", stand.integration)["done"]
    assert stand.call("GET", "/integrations") == {"integrations": []}
    stand.refused(404, "GET", stand.integration)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"consent": False}, "consent"),
        ({"api_key": seeds.READ_ONLY_KEY}, "api_key"),
        ({"api_key": seeds.CHECKOUT_ROUTING_KEY}, "api_key"),
        ({"email": "nobody@acme.example"}, "email"),
        ({"region": "mars"}, "region"),
        ({"name": "   "}, "name"),
        ({"colour": "red"}, "colour"),
        ({"is_two_way": "perhaps"}, "is_two_way"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_an_account_that_cannot_work_is_refused_with_the_field(
    stand: Stand, changes: dict[str, object], field: str
) -> None:
    assert stand.refused(400, "POST", "/integrations", _account(stand) | changes)["field"] == field
    assert stand.call("GET", "/integrations") == {"integrations": []}


# ---------------------------------------------------------------- another webhook secret


def test_the_webhook_secret_is_replaced_without_losing_or_doubling_an_event(stand: Stand) -> None:
    stand.connect()
    stand.rule(stand.connector())
    name = stand.open_case()
    (old,) = stand.call("GET", stand.integration)["subscriptions"]
    done = stand.call("POST", f"{stand.integration}/webhook-secret/rotate")["done"]
    assert len(done) == 2
    shown = stand.call("GET", stand.integration)
    assert [(one["id"] == old["id"], one["is_retiring"]) for one in shown["subscriptions"]] == [
        (False, False),
        (True, True),
    ]
    assert (shown["status"], shown["reason"]) == ("connected", "")
    assert "under way" in stand.refused(409, "POST", f"{stand.integration}/webhook-secret/rotate")["detail"]
    # Both deliver: one comment, and what the second webhook of an event says is known already.
    stand.harness.next_second()
    stand.harness.add_note(name, "Heard twice")
    stand.run()
    assert stand.harness.comments(name).count("Heard twice") == 1
    stand.call("POST", f"{stand.integration}/check")
    assert len(stand.call("GET", stand.integration)["subscriptions"]) == 2
    _pass_an_hour(stand)
    stand.call("POST", f"{stand.integration}/check")
    (left,) = stand.call("GET", stand.integration)["subscriptions"]
    assert left["id"] != old["id"]
    assert [one.id for one in stand.simulator.subscriptions.all()] == [left["id"]]
    stand.harness.next_second()
    stand.harness.add_note(name, "Heard once")
    stand.run()
    assert stand.harness.comments(name).count("Heard once") == 1


def test_a_former_secret_stays_good_while_something_it_signed_is_unread(stand: Stand) -> None:
    stand.connect()
    (old,) = stand.call("GET", stand.integration)["subscriptions"]
    stand.call("POST", f"{stand.integration}/webhook-secret/rotate")
    _pass_an_hour(stand)
    application = stand.harness.application
    with application.database.transaction() as conn:
        # State `received` of another integration id, so that nobody reads it while the test looks.
        conn.execute(
            """
            INSERT INTO inbox (integration_id, webhook_id, subscription_id, signature, body, received_at)
            VALUES (%s, 'unread', %s, '', '', now() + interval '1 day')
            """,
            (stand.harness.integration_id, old["id"]),
        )
    assert application.subscriptions.retiring(stand.harness.integration_id, 3600) == {old["id"]}
    with application.database.transaction() as conn:
        conn.execute("DELETE FROM inbox")
    assert application.subscriptions.retiring(stand.harness.integration_id, 3600) == set()


def _account(stand: Stand) -> dict[str, object]:
    return {
        "name": "Acme",
        "api_key": seeds.FULL_KEY,
        "email": seeds.BOT_EMAIL,
        "region": stand.harness.simulator_url,
        "is_two_way": True,
        "consent": True,
    }


def _pass_an_hour(stand: Stand) -> None:
    with stand.harness.application.database.transaction() as conn:
        conn.execute("UPDATE webhook_subscriptions SET created_at = created_at - interval '2 hours'")
