"""The command line against a real database and the simulator, as an operator would type it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pagerduty_sync.cli import main
from pagerduty_sync.commands.cases import ACTOR
from pagerduty_sync.commands.shell import Shell
from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason
from pagerduty_sync.simulator import seeds
from tests.account_stand import Stand, stand


class Operator:
    """Types commands; `output` is everything ever shown."""

    def __init__(self, account: Stand, directory: Path) -> None:
        settings = account.app.settings
        self.account = account
        self.output = ""
        self._env = {
            "PAGERDUTY_SYNC_DATABASE_URL": settings.database_url or "",
            "PAGERDUTY_SYNC_REDIS_URL": settings.redis_url or "",
            "PAGERDUTY_SYNC_ENCRYPTION_KEYS": settings.encryption_keys[0],
            "PAGERDUTY_SYNC_PUBLIC_URL": settings.public_url,
            "PAGERDUTY_SYNC_SIMULATOR_PORT": account.base_url.rpartition(":")[2],
            "PAGERDUTY_SYNC_DATA_DIR": str(directory),
        }

    def types(self, *words: str, said: str | None = None, exits: int = 0) -> Result:
        result = CliRunner().invoke(main, words, obj=Shell(self._env), input=said)
        self.output += result.output
        assert result.exit_code == exits, result.output
        assert "Traceback" not in result.output
        return result

    def connects(self, *more: str) -> Result:
        words = ("connect", "--consent", "--region", self.account.base_url, "--email", seeds.BOT_EMAIL)
        return self.types(*words, "--api-key-file", "-", *more, said=seeds.FULL_KEY)


@pytest.fixture
def operator(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Operator]:
    with stand(database_url, redis_url) as account:
        yield Operator(account, tmp_path)


def test_from_connect_to_routing(operator: Operator) -> None:
    assert "is connected (two-way" in operator.connects("--two-way").output
    assert "Checkout API" in operator.types("connectors", "services", "check").output
    operator.types("connectors", "add", "Pages", "--service", "Checkout API", "--direction", "comments=off",
                   "--priority", "P1=P1")  # fmt: skip
    assert "two-way, connected" in operator.types("connectors", "list").output
    operator.types("rules", "add", "Severe", "--if", 'case.priority == "P1"', "--to", "Pages")
    operator.types("rules", "add", "Off", "--to", "Pages", "--disabled")
    assert 'case.priority == "P1"' in operator.types("rules", "list").output
    operator.types("cases", "create", "Slow", "--priority", "P1", "--label", "team=payments", "--label", "team=core")
    operator.types("cases", "create", "Cosmetic", "--priority", "P5")
    routed = operator.types("routing", "test", "CASE-1").output
    assert "✓ Severe" in routed
    assert "– Off" in routed
    assert "opens its incident through Pages" in routed
    assert "CASE-2 (ACTIVE, P5) goes nowhere" in operator.types("routing", "test", "CASE-2").output
    assert "used by Pages" in operator.types("disconnect", "--yes", exits=2).output
    assert seeds.FULL_KEY not in operator.output


def test_a_case_is_worked_on(operator: Operator) -> None:
    operator.types("cases", "create", "Slow", "--description", "p95 over 4 s")
    operator.types("cases", "acknowledge", "CASE-1")
    operator.types("cases", "comment", "CASE-1", "on it")
    operator.types("cases", "priority", "CASE-1", "P1")
    operator.types("cases", "resolve", "CASE-1", "--reason", "rolled back")
    shown = operator.types("cases", "show", "CASE-1").output
    for part in ("RESOLVED", "P1 (overrides P3)", "rolled back", "cli: comment on it", "p95 over 4 s"):
        assert part in shown
    assert "CASE-1" in operator.types("cases", "list", "--status", "RESOLVED").output
    assert "There are no such Cases." in operator.types("cases", "list", "--status", "CLOSED").output
    operator.types("cases", "close", "CASE-1")
    assert "cannot become ACKNOWLEDGED" in operator.types("cases", "acknowledge", "CASE-1", exits=1).output
    assert "There is no Case" in operator.types("cases", "show", "CASE-9; DROP TABLE", exits=1).output
    assert "must not be blank" in operator.types("cases", "create", " ", exits=2).output


def test_deliveries_are_filtered_and_shown_in_both_forms(operator: Operator) -> None:
    case = operator.account.app.cases.create_case("Slow", CasePriority.P1, actor=ACTOR)
    rows = [
        Delivery(Direction.INBOUND, "incident.acknowledged", Outcome.IGNORED, Reason.ECHO, case_id=case.id,
                 case_name=case.name, incident_id="PINC1"),
        Delivery(Direction.OUTBOUND, "open_incident", Outcome.DELIVERED, Reason.APPLIED, "incident #1 opened",
                 case_id=case.id, case_name=case.name, incident_id="PINC1", http_status=201, duration_ms=8, attempt=2),
    ]  # fmt: skip
    operator.account.app.deliveries.add(None, rows)
    shown = operator.types("deliveries", "--case", "CASE-1", "--direction", "outbound").output
    for part in ("Case → PD", "open_incident", "applied (attempt 2)", "201", "8 ms", "incident #1 opened"):
        assert part in shown
    assert "echo" not in shown
    (only,) = json.loads(operator.types("deliveries", "--reason", "echo", "--json", "--since", "1h").output)
    assert (only["operation"], only["direction"]) == ("incident.acknowledged", "inbound")
    assert "no such deliveries" in operator.types("deliveries", "--incident", "POTHER").output
    missing = operator.types("link", "show", "CASE-1", exits=1).output
    assert "has no incident" in missing


def test_a_link_shows_both_sides_and_what_is_left(operator: Operator) -> None:
    operator.types("quickstart")
    operator.types("cases", "create", "Slow")
    app = operator.account.app
    case = app.cases.get_case("CASE-1")
    assert app.router.route(case.id) is not None
    shown = operator.types("link", "show", "CASE-1").output
    for part in (
        "no incident yet: opening",
        "status",
        "ACTIVE",
        "system:P3",
        "Wants a look since",
        "Comments and notes",
    ):
        assert part in shown


def test_tokens_are_shown_once_and_can_be_ended(operator: Operator) -> None:
    clear = operator.types("tokens", "create", "ci", "--permission", "case:Read", "--days", "3").stdout.strip()
    token = operator.account.app.tokens.find(clear)
    assert token is not None
    listed = operator.types("tokens", "list").output
    assert token.prefix in listed
    assert clear not in listed
    operator.types("tokens", "revoke", token.prefix)
    assert operator.account.app.tokens.find(clear) is None
    assert "revoked" in operator.types("tokens", "list").output
    operator.types("tokens", "revoke", "nope", exits=1)
    assert "no permission" in operator.types("tokens", "create", "x", "--permission", "case:Fly", exits=2).output
    operator.types("tokens", "create", "x", "--permission", "case:Read", "--all", exits=2)
    assert [entry.action for entry in operator.account.app.audit.latest()] == ["revoke", "create"]
    assert clear not in str(operator.account.app.audit.latest())


def test_quickstart_status_and_doctor_agree(operator: Operator) -> None:
    operator.types("migrate")
    assert "no PagerDuty account is connected" in operator.types("doctor", exits=1).output
    for _ in range(2):
        operator.types("quickstart")
    assert "PagerDuty simulator" in operator.types("status").output
    app = operator.account.app
    assert "no sign of life from worker-inbound" in operator.types("doctor", "--no-ping", exits=1).output
    app.heartbeats.beat(["worker-inbound", "worker-outbound", "beat"])
    assert "✗" not in operator.types("doctor").output
    (subscription,) = operator.account.subscriptions()
    operator.account.simulator.subscriptions.disable(subscription)
    assert "switched it off" in operator.types("doctor", "--no-ping", exits=1).output
    operator.account.simulator.subscriptions.delete(subscription)
    assert "is gone at PagerDuty" in operator.types("doctor", exits=1).output
    operator.account.simulator.faults.change({"deactivated_users": [seeds.BOT_EMAIL]})
    assert "is not in the account" in operator.types("doctor", exits=1).output
    operator.account.simulator.faults.change({"revoked_keys": [seeds.FULL_KEY]})
    assert "✗ key:" in operator.types("doctor", exits=1).output
    for secret in (seeds.FULL_KEY, subscription.secret):
        assert secret not in operator.output


def test_connect_refuses_with_the_cure_and_never_shows_the_key(operator: Operator) -> None:
    words = ("connect", "--consent", "--region", operator.account.base_url, "--email", seeds.BOT_EMAIL)
    refused = operator.types(*words, "--api-key-file", "-", said=seeds.READ_ONLY_KEY, exits=2).output
    assert 'the box "Read-only API Key" cleared' in refused
    operator.types(*words, "--api-key-file", "-", said="", exits=2)
    assert "No PagerDuty account is connected" in operator.types("two-way", "on", exits=1).output
    operator.connects()
    assert "is connected (two-way" in operator.types("two-way", "on").output
    assert "(one-way" in operator.types("two-way", "off").output
    assert "removed" in operator.types("disconnect", "--yes").output
    assert operator.account.subscriptions() == []
    for secret in (seeds.READ_ONLY_KEY, seeds.FULL_KEY):
        assert secret not in operator.output


def test_another_encryption_key_is_a_sentence(operator: Operator) -> None:
    operator.connects()
    operator._env["PAGERDUTY_SYNC_ENCRYPTION_KEYS"] = "A" * 43 + "="
    assert "PAGERDUTY_SYNC_ENCRYPTION_KEYS" in operator.types("doctor", exits=1).output
    assert "PAGERDUTY_SYNC_ENCRYPTION_KEYS" in operator.types("two-way", "on", exits=1).output
