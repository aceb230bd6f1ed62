"""Connecting, watching and removing the account, over real HTTP against the simulator and a real database."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import pytest

from pagerduty_sync.domain.connectors import IntegrationStatus
from pagerduty_sync.errors import InvalidRequestError, NotFoundError, TransportError
from pagerduty_sync.pagerduty.schemas import SUBSCRIBED_EVENT_TYPES
from pagerduty_sync.simulator import seeds
from tests.account_stand import Stand, empty_again, stand


class Arrival:
    """Whether PagerDuty's webhooks reach us."""

    is_open = True


@pytest.fixture
def arrival() -> Arrival:
    return Arrival()


@pytest.fixture
def account(shared_database_url: str, redis_url: str, arrival: Arrival) -> Iterator[Stand]:
    with stand(empty_again(shared_database_url), redis_url, arrives=lambda: arrival.is_open) as made:
        yield made


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---------------------------------------------------------------- connect


def test_a_good_account_is_connected_and_its_events_arrive(account: Stand) -> None:
    report = account.connect()
    assert report.problem is None
    assert report.integration == account.integration()
    assert report.integration.status is IntegrationStatus.CONNECTED
    assert report.integration.key_kind == "account"
    assert report.integration.user_id == seeds.BOT_ID
    assert [priority.name for priority in report.integration.priorities] == ["P1", "P2", "P3", "P4", "P5"]
    (subscription,) = account.subscriptions()
    assert subscription.url.endswith(f"/webhooks/pagerduty/{report.integration.id}")
    assert set(subscription.events) == set(SUBSCRIBED_EVENT_TYPES)
    assert subscription.filter_type == "account"
    assert account.app.subscriptions.secrets(report.integration.id) == {subscription.id: subscription.secret}


def test_connecting_again_keeps_the_integration_and_its_subscription(account: Stand) -> None:
    first = account.connect()
    (before,) = account.subscriptions()
    second = account.connect(name="Acme renamed")
    (after,) = account.subscriptions()
    assert second.integration.id == first.integration.id
    assert second.integration.name == "Acme renamed"
    assert after.id == before.id
    assert [entry.action for entry in account.app.audit.latest()] == ["reconnect", "connect"]


def test_a_users_token_needs_no_email_and_acts_as_its_user(account: Stand) -> None:
    report = account.connect(api_key=seeds.USER_TOKEN, email="")
    assert report.integration.key_kind == "user"
    assert report.integration.user_id == seeds.ADA_ID


def test_one_way_makes_no_subscription(account: Stand) -> None:
    report = account.connect(is_two_way=False)
    assert report.integration.status is IntegrationStatus.CONNECTED
    assert account.subscriptions() == []


def test_a_subscription_of_ours_with_an_unknown_secret_is_replaced(account: Stand) -> None:
    integration = account.connect().integration
    (old,) = account.subscriptions()
    account.app.subscriptions.remove(old.id)
    report = account.connect()
    (new,) = account.subscriptions()
    assert new.id != old.id
    assert report.problem is None
    assert list(account.app.subscriptions.secrets(integration.id)) == [new.id]


def test_subscriptions_of_others_are_left_alone(account: Stand) -> None:
    foreign = account.simulator.subscriptions.create(
        {
            "type": "webhook_subscription",
            "delivery_method": {"type": "http_delivery_method", "url": "http://127.0.0.1:1/elsewhere"},
            "events": ["incident.triggered"],
            "filter": {"type": "account_reference"},
        }
    )
    account.connect()
    account.connection.remove(account.integration().id, "tester")
    assert [one.id for one in account.subscriptions()] == [foreign.id]


def test_a_plan_without_priorities_is_connected_with_a_warning(account: Stand) -> None:
    account.simulator.faults.change({"priorities_available": False})
    report = account.connect()
    assert report.integration.status is IntegrationStatus.CONNECTED
    assert report.integration.priorities == ()
    assert any("no incident priorities" in warning for warning in report.warnings)


def test_a_test_event_that_does_not_arrive_is_said_plainly(account: Stand, arrival: Arrival) -> None:
    arrival.is_open = False
    report = account.connect()
    url = f"{account.app.settings.public_url}/webhooks/pagerduty/{report.integration.id}"
    assert report.problem == f"the test event did not arrive at {url}"
    assert report.integration.status is IntegrationStatus.DEGRADED
    assert report.integration.status_reason == report.problem


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        pytest.param(
            {"api_key": seeds.READ_ONLY_KEY}, "api_key", 'the box "Read-only API Key" cleared', id="read-only"
        ),
        pytest.param({"api_key": seeds.CHECKOUT_ROUTING_KEY}, "api_key", "integration key of one service", id="events"),
        pytest.param({"api_key": "u+UNKNOWNKEY00000000"}, "api_key", "does not accept the API key", id="unknown"),
        pytest.param({"email": "nobody@acme.example"}, "email", "exactly the login e-mail", id="wrong e-mail"),
        pytest.param({"email": "pagerduty-sync"}, "email", "exactly the login e-mail", id="part of an e-mail"),
        pytest.param({"email": ""}, "email", "needs the e-mail", id="no e-mail"),
        pytest.param({"email": seeds.STAKEHOLDER_EMAIL}, "email", "is a stakeholder", id="stakeholder"),
        pytest.param({"region": "mars"}, "region", "neither a region", id="unknown region"),
        pytest.param({"region": "ftp://api.pagerduty.com"}, "region", "neither a region", id="odd base URL"),
        pytest.param({"consent": False}, "consent", "consent to that is required", id="no consent"),
        pytest.param({"consent": "yes"}, "consent", "consent to that is required", id="consent by accident"),
        pytest.param({"name": "  "}, "name", "must not be blank", id="blank name"),
        pytest.param(
            {"api_key": seeds.USER_TOKEN, "email": seeds.BO_EMAIL}, "email", "is the token of", id="another's token"
        ),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_is_stored(
    account: Stand, changes: dict[str, object], field: str, says: str
) -> None:
    with pytest.raises(InvalidRequestError, match=says) as refused:
        account.connect(**changes)
    assert refused.value.field == field
    assert account.app.integrations.only() is None
    assert account.subscriptions() == []
    assert account.app.audit.latest() == []


def test_a_bad_new_key_leaves_the_old_connection_as_it_is(account: Stand) -> None:
    before = account.connect().integration
    with pytest.raises(InvalidRequestError):
        account.connect(api_key="u+UNKNOWNKEY00000000")
    assert account.integration() == before
    assert account.app.integrations.api_key(before.id) == seeds.FULL_KEY


def test_an_account_that_does_not_answer_is_not_called_wrong(account: Stand) -> None:
    with pytest.raises(TransportError, match="could not connect"):
        account.connect(region="http://127.0.0.1:1")
    assert account.app.integrations.only() is None


def test_a_full_list_of_subscriptions_degrades_and_is_said(account: Stand) -> None:
    account.simulator.faults.change({"subscription_limit": 1})
    account.simulator.subscriptions.create(
        {
            "type": "webhook_subscription",
            "delivery_method": {"type": "http_delivery_method", "url": "http://127.0.0.1:1/elsewhere"},
            "events": ["incident.triggered"],
            "filter": {"type": "account_reference"},
        }
    )
    report = account.connect()
    assert report.integration.status is IntegrationStatus.DEGRADED
    assert "limit exceeded" in (report.problem or "")


def test_a_key_of_an_account_without_a_connectors_service_is_warned_about(account: Stand) -> None:
    integration = account.connect().integration
    account.app.connectors.create_bidirectional("Old", integration.id, "PGONE01", "Gone")
    assert account.connect().warnings == ["The service Gone of connector Old is not in this account."]


# ---------------------------------------------------------------- two-way and removal


def test_turning_two_way_off_deletes_the_subscription_and_on_makes_a_new_one(account: Stand) -> None:
    integration = account.connect().integration
    (first,) = account.subscriptions()
    for _ in range(2):
        off = account.connection.set_two_way(integration.id, False, "tester")
        assert off.integration.is_two_way is False
        assert off.integration.status is IntegrationStatus.CONNECTED
        assert account.subscriptions() == []
        assert account.app.subscriptions.secrets(integration.id) == {}
    on = account.connection.set_two_way(integration.id, True, "tester")
    (second,) = account.subscriptions()
    assert on.problem is None
    assert second.id != first.id
    assert [entry.action for entry in account.app.audit.latest()] == ["set two-way", "set two-way", "connect"]


def test_an_integration_in_use_cannot_be_removed_and_the_users_are_named(account: Stand) -> None:
    integration = account.connect().integration
    account.app.configuration.create_connector("Checkout", seeds.CHECKOUT_API, who="tester")
    with pytest.raises(InvalidRequestError, match="used by Checkout"):
        account.connection.remove(integration.id, "tester")
    assert account.integration() == integration
    assert len(account.subscriptions()) == 1


def test_removing_cleans_up_even_when_the_key_is_revoked(account: Stand) -> None:
    integration = account.connect().integration
    account.simulator.faults.change({"revoked_keys": [seeds.FULL_KEY]})
    said = account.connection.remove(integration.id, "tester")
    assert account.app.integrations.only() is None
    assert any("by hand" in sentence for sentence in said)
    with pytest.raises(NotFoundError):
        account.connection.remove(integration.id, "tester")


# ---------------------------------------------------------------- the key check


def test_a_revoked_key_disconnects_and_a_valid_one_connects_again(account: Stand) -> None:
    integration = account.connect().integration
    account.simulator.faults.change({"revoked_keys": [seeds.FULL_KEY]})
    first = account.app.health.check_key(integration.id)
    assert (first.status, first.is_changed) == (IntegrationStatus.DISCONNECTED, True)
    assert account.app.health.check_key(integration.id).is_changed is False
    assert "no longer accepts" in account.integration().status_reason
    account.simulator.faults.change({"revoked_keys": []})
    assert account.app.health.check_key(integration.id).is_back is True
    assert account.integration().status is IntegrationStatus.CONNECTED
    assert account.integration().status_reason == ""


def test_reconnecting_with_another_key_heals_a_disconnected_integration(account: Stand) -> None:
    integration = account.connect().integration
    account.app.health.disconnect_because(integration.id, "a call was refused")
    assert account.integration().status is IntegrationStatus.DISCONNECTED
    report = account.connect(api_key=seeds.USER_TOKEN, email="")
    assert report.integration.id == integration.id
    assert report.integration.status is IntegrationStatus.CONNECTED
    assert account.app.client(integration.id).list_abilities()
    assert account.app.integrations.api_key(integration.id) == seeds.USER_TOKEN


def test_a_user_who_has_left_degrades_until_he_is_back(account: Stand) -> None:
    integration = account.connect().integration
    account.simulator.faults.change({"deactivated_users": [seeds.BOT_EMAIL]})
    assert account.app.health.check_key(integration.id).status is IntegrationStatus.DEGRADED
    assert seeds.BOT_EMAIL in account.integration().status_reason
    account.app.health.check_subscription(integration.id)
    assert account.integration().status is IntegrationStatus.DEGRADED
    account.simulator.faults.change({"deactivated_users": []})
    assert account.app.health.check_key(integration.id).status is IntegrationStatus.CONNECTED


def test_an_account_that_fails_to_answer_changes_no_status(account: Stand) -> None:
    integration = account.connect().integration
    account.simulator.faults.change({"fail_before": {"probability": 1.0, "status": 500}})
    assert account.app.health.check_key(integration.id).status is IntegrationStatus.CONNECTED
    assert account.app.health.check_subscription(integration.id).status is IntegrationStatus.CONNECTED


def test_the_checks_leave_a_connect_under_way_alone(account: Stand) -> None:
    integration = account.connect().integration
    account.app.integrations.set_status(integration.id, IntegrationStatus.CONNECTING)
    account.simulator.faults.change({"revoked_keys": [seeds.FULL_KEY]})
    assert account.app.health.check_key(integration.id).status is IntegrationStatus.CONNECTING
    assert account.app.health.check_subscription(integration.id).status is IntegrationStatus.CONNECTING


def test_a_connect_that_was_cut_short_is_finished_by_the_checks(account: Stand) -> None:
    integration = account.connect().integration
    with account.app.database.transaction() as conn:
        conn.execute("UPDATE integrations SET status = 'connecting', status_at = now() - interval '1 hour'")
    assert account.app.health.check_key(integration.id).status is IntegrationStatus.CONNECTED


# ---------------------------------------------------------------- the watchdog


def test_a_healthy_subscription_is_left_alone(account: Stand) -> None:
    integration = account.connect().integration
    report = account.app.health.check_subscription(integration.id)
    assert (report.actions, report.is_changed) == ((), False)


def test_a_deleted_subscription_is_made_again_and_tested(account: Stand) -> None:
    integration = account.connect().integration
    (old,) = account.subscriptions()
    account.simulator.subscriptions.delete(old)
    report = account.app.health.check_subscription(integration.id)
    (new,) = account.subscriptions()
    assert new.id != old.id
    assert report.status is IntegrationStatus.DEGRADED
    assert any("made the webhook subscription" in action for action in report.actions)
    assert list(account.app.subscriptions.secrets(integration.id)) == [new.id]
    eventually(lambda: any(account.app.integrations.heard_from(integration.id).values()))
    assert account.app.health.check_subscription(integration.id).status is IntegrationStatus.CONNECTED


def test_a_disabled_subscription_is_switched_on_again(account: Stand) -> None:
    integration = account.connect().integration
    (one,) = account.subscriptions()
    account.simulator.subscriptions.disable(one)
    report = account.app.health.check_subscription(integration.id)
    assert any("switched" in action for action in report.actions)
    assert account.simulator.subscriptions.is_disabled(one) is False


def test_wrong_events_scope_and_state_are_set_right(account: Stand) -> None:
    integration = account.connect().integration
    (one,) = account.subscriptions()
    one.events, one.active = ["incident.triggered"], False
    one.filter_type, one.filter_id = "service", seeds.CHECKOUT_SERVICE_ID
    assert account.app.health.check_subscription(integration.id).actions
    assert (set(one.events), one.active, one.filter_type) == (set(SUBSCRIBED_EVENT_TYPES), True, "account")
    assert account.app.health.check_subscription(integration.id).actions == ()


def test_a_subscription_to_an_old_address_is_replaced(account: Stand) -> None:
    integration = account.connect().integration
    (one,) = account.subscriptions()
    one.url = "http://127.0.0.1:1/webhooks/pagerduty/old"
    account.app.health.check_subscription(integration.id)
    (new,) = account.subscriptions()
    assert new.id != one.id
    assert list(account.app.subscriptions.secrets(integration.id)) == [new.id]


def test_a_test_event_that_comes_late_ends_the_doubt(account: Stand, arrival: Arrival) -> None:
    arrival.is_open = False
    integration = account.connect().integration
    assert account.app.health.check_key(integration.id).status is IntegrationStatus.DEGRADED
    assert account.app.health.check_subscription(integration.id).status is IntegrationStatus.DEGRADED
    arrival.is_open = True
    account.app.health.check_subscription(integration.id)
    eventually(lambda: any(account.app.integrations.heard_from(integration.id).values()))
    assert account.app.health.check_subscription(integration.id).status is IntegrationStatus.CONNECTED


def test_a_switch_to_one_way_that_could_not_delete_is_finished_later(account: Stand) -> None:
    integration = account.connect().integration
    account.simulator.faults.change({"fail_before": {"probability": 1.0, "status": 500}})
    off = account.connection.set_two_way(integration.id, False, "tester")
    assert any("tried again" in warning for warning in off.warnings)
    account.simulator.faults.change({"fail_before": {"probability": 0.0}})
    account.app.health.check_subscription(integration.id)
    assert account.subscriptions() == []


# ---------------------------------------------------------------- secrets


def test_no_secret_shows_anywhere(
    account: Stand, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    report = account.connect()
    secret = account.subscriptions()[0].secret
    account.connection.set_two_way(report.integration.id, False, "tester")
    account.connection.set_two_way(report.integration.id, True, "tester")
    errors = []
    for key in (seeds.READ_ONLY_KEY, seeds.CHECKOUT_ROUTING_KEY):
        with pytest.raises(InvalidRequestError) as refused:
            account.connect(api_key=key)
        errors.append(f"{refused.value!r} {refused.value} {refused.getrepr(chain=True)}")
    output = capfd.readouterr()
    rows = []
    with account.app.database.transaction() as conn:
        for table in ("integrations", "webhook_subscriptions", "audit"):
            rows += conn.execute(f"SELECT t::text AS text FROM {table} t").fetchall()
    shown = " ".join(
        [repr(report), repr(account.app.box), caplog.text, output.out, output.err, *account.said, *errors]
        + [row["text"] for row in rows]
    )
    assert "subscription_made" in shown
    for planted in (seeds.FULL_KEY, seeds.READ_ONLY_KEY, seeds.CHECKOUT_ROUTING_KEY, secret):
        assert planted not in shown
