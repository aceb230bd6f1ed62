"""The first configuration: made through the operators' own use cases, and twice is once."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pagerduty_sync.domain.connectors import Destination, IntegrationStatus, RoutingRule
from pagerduty_sync.domain.permissions import ALL
from pagerduty_sync.domain.presets import ACCOUNT_INCIDENTS
from pagerduty_sync.errors import SettingsError
from pagerduty_sync.handlers.quickstart import FirstAccount, Quickstart
from pagerduty_sync.simulator import seeds
from tests.account_stand import Stand, stand


@pytest.fixture
def account(database_url: str, redis_url: str) -> Iterator[Stand]:
    with stand(database_url, redis_url) as made:
        yield made


def quickstart(account: Stand, data_dir: Path, base_url: str | None = None) -> list[str]:
    said: list[str] = []
    app = account.app
    use_case = Quickstart(
        connection=account.connection,
        health=app.health,
        configuration=app.configuration,
        rules=app.rule_changes,
        integrations=app.integrations,
        connectors=app.connectors,
        routing=app.routing,
        tokens=app.tokens,
    )
    first = FirstAccount(
        "PagerDuty simulator", base_url or account.base_url, seeds.FULL_KEY, seeds.BOT_EMAIL, seeds.CHECKOUT_API
    )
    use_case.run(first, data_dir, said.append)
    return said


def test_everything_the_first_case_needs_is_there(account: Stand, tmp_path: Path) -> None:
    said = quickstart(account, tmp_path / "new")
    integration = account.integration()
    assert integration.status is IntegrationStatus.CONNECTED
    assert integration.is_two_way
    (connector,) = account.app.connectors.list_all()
    assert (connector.name, connector.service_id) == (seeds.CHECKOUT_API, seeds.CHECKOUT_SERVICE_ID)
    (rule,) = account.app.routing.rules("cases")
    assert rule.condition == "true"
    preset = account.app.routing.preset(rule.destinations[0].preset_id)
    assert preset is not None
    assert preset.name == ACCOUNT_INCIDENTS
    file = tmp_path / "new" / "admin-token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = account.app.tokens.find(file.read_text().strip())
    assert token is not None
    assert token.permissions == ALL
    assert not any(seeds.FULL_KEY in line or file.read_text().strip() in line for line in said)


def test_twice_is_once(account: Stand, tmp_path: Path) -> None:
    quickstart(account, tmp_path)
    token, audit = (tmp_path / "admin-token").read_text(), account.app.audit.latest()
    connectors, rules = account.app.connectors.list_all(), account.app.routing.rules()
    subscriptions = [one.id for one in account.subscriptions()]
    quickstart(account, tmp_path)
    assert (tmp_path / "admin-token").read_text() == token
    assert account.app.audit.latest() == audit
    assert (account.app.connectors.list_all(), account.app.routing.rules()) == (connectors, rules)
    assert [one.id for one in account.subscriptions()] == subscriptions
    assert len(account.app.tokens.list_all()) == 1


def test_a_token_that_is_over_is_replaced(account: Stand, tmp_path: Path) -> None:
    quickstart(account, tmp_path)
    account.app.tokens.revoke(account.app.tokens.list_all()[0].id)
    quickstart(account, tmp_path)
    assert account.app.tokens.find((tmp_path / "admin-token").read_text().strip()) is not None
    assert len(account.app.tokens.list_all()) == 2


def test_a_simulator_that_has_moved_or_forgotten_is_connected_again(account: Stand, tmp_path: Path) -> None:
    quickstart(account, tmp_path)
    integration = account.integration()
    account.simulator.reset()
    quickstart(account, tmp_path)
    assert len(account.subscriptions()) == 1
    moved = account.base_url.replace("127.0.0.1", "localhost")
    quickstart(account, tmp_path, moved)
    assert account.integration().id == integration.id
    assert account.integration().base_url == moved
    assert len(account.app.connectors.list_all()) == 1


def test_what_an_operator_has_made_is_left_alone(account: Stand, tmp_path: Path) -> None:
    own = account.connect(name="Production", is_two_way=False).integration
    mine = account.app.configuration.create_connector("Mine", seeds.PAYMENTS_API, who="operator").connector
    rule = RoutingRule("", "Mine", "cases", "true", [Destination(mine.id, "")])
    account.app.rule_changes.create(rule, who="operator")
    said = quickstart(account, tmp_path)
    assert account.integration() == own
    assert [one.name for one in account.app.connectors.list_all()] == ["Mine"]
    assert [one.name for one in account.app.routing.rules()] == ["Mine"]
    assert "the integration Production is left as it is" in said


def test_a_data_directory_that_cannot_be_written_is_said(account: Stand, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="PAGERDUTY_SYNC_DATA_DIR"):
        quickstart(account, tmp_path / "file")
