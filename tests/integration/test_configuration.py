"""Connectors, presets and rules, made against the simulator's account and kept in a real database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.domain.connectors import ConnectorPath, Destination, Field, FieldDirection, Preset, RoutingRule
from pagerduty_sync.domain.incidents import Priority, Service
from pagerduty_sync.domain.presets import ACCOUNT_INCIDENTS
from pagerduty_sync.errors import InvalidRequestError, NotFoundError, SecretError
from pagerduty_sync.handlers.account_choices import chosen_service, default_priority_map
from pagerduty_sync.simulator import seeds
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import ConstraintError
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.secrets import SecretBox, generate_key
from tests.account_stand import Stand, empty_again, stand

NO_ID = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def account(shared_database_url: str, redis_url: str) -> Iterator[Stand]:
    with stand(empty_again(shared_database_url), redis_url) as made:
        made.connect(is_two_way=False)
        yield made


# ---------------------------------------------------------------- connectors


@pytest.mark.parametrize("service", [seeds.CHECKOUT_API, "checkout api", seeds.CHECKOUT_SERVICE_ID, "Storage"])
def test_a_service_is_found_by_name_or_id_on_any_page(account: Stand, service: str) -> None:
    made = account.app.configuration.create_connector("Pages", service, who="tester")
    assert made.warnings == []
    assert made.connector.path is ConnectorPath.BIDIRECTIONAL
    assert made.connector.priority_map == {CasePriority(name): id_ for name, id_ in seeds.PRIORITY_IDS.items()}
    assert set(made.connector.directions.values()) == {FieldDirection.BOTH}
    assert set(made.connector.directions) == set(Field)
    stored, integration = account.app.connectors.with_integration(made.connector.id)
    assert stored == made.connector == account.app.connectors.by_name("Pages")
    assert integration == account.integration()
    assert account.app.audit.latest(1)[0].subject == "connector Pages"


def test_an_unknown_service_is_refused_with_near_names(account: Stand) -> None:
    with pytest.raises(InvalidRequestError, match="Similar: Checkout API") as refused:
        account.app.configuration.create_connector("Pages", "Chekout API", who="tester")
    assert refused.value.field == "service"
    assert account.app.connectors.list_all() == []


def test_services_of_one_name_need_an_id() -> None:
    twins = [Service("P1", "Mail"), Service("P2", "Mail")]
    with pytest.raises(InvalidRequestError, match="P1, P2"):
        chosen_service(twins, "Mail")
    assert chosen_service(twins, "P2").id == "P2"


def test_a_disabled_service_is_warned_about(account: Stand) -> None:
    made = account.app.configuration.create_connector("Old", seeds.LEGACY_GATEWAY, who="tester")
    assert made.warnings == ["The service Legacy Gateway is disabled, so PagerDuty opens no incidents on it."]


def test_a_connectors_name_is_its_own(account: Stand) -> None:
    account.app.configuration.create_connector("Pages", seeds.CHECKOUT_API, who="tester")
    with pytest.raises(InvalidRequestError, match="named Pages already") as refused:
        account.app.configuration.create_connector("Pages", seeds.PAYMENTS_API, who="tester")
    assert refused.value.field == "name"
    with pytest.raises(InvalidRequestError, match="named Pages already"):
        account.app.connectors.create_bidirectional("Pages", account.integration().id, "P1", "One")


def test_without_an_account_there_is_nothing_to_connect_to(account: Stand) -> None:
    account.connection.remove(account.integration().id, "tester")
    with pytest.raises(InvalidRequestError, match="pagerduty-sync connect"):
        account.app.configuration.create_connector("Pages", seeds.CHECKOUT_API, who="tester")


def test_a_priority_the_account_does_not_have_is_refused(account: Stand) -> None:
    with pytest.raises(InvalidRequestError, match="has no priority PNONE") as refused:
        account.app.configuration.create_connector(
            "Pages", seeds.CHECKOUT_API, who="tester", priority_map={CasePriority.P1: "PNONE"}
        )
    assert refused.value.field == "priority_map"


def test_directions_and_map_can_change_field_by_field(account: Stand) -> None:
    only_p1 = {CasePriority.P1: seeds.PRIORITY_IDS["P1"]}
    made = account.app.configuration.create_connector(
        "Pages",
        seeds.CHECKOUT_API,
        who="tester",
        directions={Field.COMMENTS: FieldDirection.OFF},
        priority_map=only_p1,
    )
    assert made.warnings == [
        "Case priorities without a counterpart: P2, P3, P4, P5.",
        "PagerDuty priorities without a counterpart: P2, P3, P4, P5.",
    ]
    configuration = account.app.configuration
    changed = configuration.update_connector("Pages", who="tester", directions={Field.STATUS: FieldDirection.IN})
    assert changed.directions[Field.STATUS] is FieldDirection.IN
    assert changed.directions[Field.COMMENTS] is FieldDirection.OFF
    assert changed.priority_map == only_p1
    assert account.app.connectors.by_id(made.connector.id) == changed
    configuration.update_connector("Pages", who="tester", directions={Field.STATUS: FieldDirection.IN})
    entries = [entry for entry in account.app.audit.latest() if entry.subject == "connector Pages"]
    assert [entry.action for entry in entries] == ["update", "create"]
    with pytest.raises(NotFoundError):
        configuration.update_connector("Other", who="tester", directions={})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["P1", "P2", "P3", "P4", "P5"], {"P1": 0, "P2": 1, "P3": 2, "P4": 3, "P5": 4}),
        (["Urgent", "p2", "P1"], {"P1": 2, "P2": 1}),
        (["Sev 1", "Sev 2", "Sev 3"], {"P1": 0, "P2": 1, "P3": 2}),
        (["a", "b", "c", "d", "e", "f"], {"P1": 0, "P2": 1, "P3": 2, "P4": 3, "P5": 4}),
        ([], {}),
    ],
    ids=["by name", "by name where there is one", "by order", "more than five", "none"],
)
def test_priorities_pair_by_name_else_by_order(names: list[str], expected: dict[str, int]) -> None:
    priorities = [Priority(f"PRIO{number}", name) for number, name in enumerate(names)]
    assert default_priority_map(priorities) == {CasePriority(key): f"PRIO{at}" for key, at in expected.items()}


def test_a_routing_key_is_kept_encrypted_and_comes_back_only_when_asked_for(account: Stand) -> None:
    made = account.app.connectors.create_service_key("Old way", seeds.CHECKOUT_ROUTING_KEY)
    assert made.path is ConnectorPath.SERVICE_KEY
    assert account.app.connectors.routing_key(made.id) == seeds.CHECKOUT_ROUTING_KEY
    with account.app.database.transaction() as conn:
        stored = conn.execute("SELECT connectors::text AS text FROM connectors").fetchall()
    assert seeds.CHECKOUT_ROUTING_KEY not in str(stored)
    with pytest.raises(NotFoundError):
        account.app.connectors.with_integration(made.id)
    other = SecretBox([generate_key()])
    with pytest.raises(SecretError):
        Connectors(account.app.database, other).routing_key(made.id)
    with pytest.raises(SecretError):
        Integrations(account.app.database, other).api_key(account.integration().id)


@pytest.mark.parametrize("odd", ["", "nobody", "' OR true --", "00000000-0000-0000-0000-000000000000", "\ud800"[:0]])
def test_ids_nobody_has_find_nothing(account: Stand, odd: str) -> None:
    assert account.app.connectors.by_id(odd) is None
    assert account.app.integrations.by_id(odd) is None
    assert account.app.routing.preset(odd) is None
    with pytest.raises(NotFoundError):
        account.app.connectors.with_integration(odd)
    with pytest.raises(NotFoundError):
        account.app.integrations.api_key(odd)


def test_a_connector_a_rule_leads_to_cannot_go(account: Stand) -> None:
    made = account.app.configuration.create_connector("Pages", seeds.CHECKOUT_API, who="tester")
    a_rule(account, "All", [Destination(made.connector.id, "")])
    assert account.app.routing.rule_names_using(made.connector.id) == ["All"]
    with pytest.raises(ConstraintError):
        account.app.connectors.delete(made.connector.id)


# ---------------------------------------------------------------- presets and rules


def a_preset(account: Stand, templates: dict[str, str]) -> Preset:
    changes = account.app.preset_changes
    return changes.create("Mine", ConnectorPath.BIDIRECTIONAL, "cases", templates, who="tester")


def a_rule(
    account: Stand, name: str, destinations: list[Destination], condition: str = "true", **switches: bool
) -> RoutingRule:
    rule = RoutingRule("", name, "cases", condition, destinations, **switches)
    return account.app.rule_changes.create(rule, who="tester")


def test_builtin_presets_are_made_once_and_brought_up_to_date(account: Stand) -> None:
    routing = account.app.routing
    first = routing.ensure_builtin_presets()
    with account.app.database.transaction() as conn:
        conn.execute('UPDATE presets SET templates = \'{"title": "old"}\'')
    assert routing.ensure_builtin_presets() == first
    assert {preset.id for preset in routing.presets()} == {preset.id for preset in first}
    assert ACCOUNT_INCIDENTS in [preset.name for preset in first]
    assert all(preset.is_builtin for preset in first)
    with pytest.raises(InvalidRequestError, match="already"):
        routing.create_preset(ACCOUNT_INCIDENTS, ConnectorPath.BIDIRECTIONAL, "cases", {"title": "x"})


def test_a_preset_with_an_error_is_refused_with_its_line(account: Stand) -> None:
    with pytest.raises(InvalidRequestError, match="line 2: there is no filter nope") as refused:
        a_preset(account, {"title": "ok", "details": "a\n{{ case.title | nope }}"})
    assert refused.value.field == "templates.details"
    for fields in ({}, {"colour": "red"}):
        with pytest.raises(InvalidRequestError, match="title, details, urgency"):
            a_preset(account, fields)
    made = a_preset(account, {"title": "{{ case.title }}"})
    assert account.app.routing.preset(made.id) == made
    assert [preset.name for preset in account.app.routing.presets()] == ["Mine"]


def test_rules_keep_their_order_and_destinations(account: Stand) -> None:
    configuration, routing = account.app.configuration, account.app.routing
    one = configuration.create_connector("One", seeds.CHECKOUT_API, who="tester").connector
    two = configuration.create_connector("Two", seeds.PAYMENTS_API, who="tester").connector
    mine = a_preset(account, {"title": "{{ case.title }}"})
    to_both = [Destination(two.id, mine.id), Destination(one.id, "")]
    first = a_rule(account, "Severe", to_both, condition=' case.priority == "P1" ')
    a_rule(account, "Rest", [Destination(one.id, "")], is_fallback=True, is_enabled=False)
    builtin = routing.preset_by_name(ACCOUNT_INCIDENTS)
    assert builtin is not None
    assert first.destinations == (Destination(one.id, builtin.id), Destination(two.id, mine.id))
    rules = routing.rules("cases")
    assert rules[0] == first
    assert [(rule.name, rule.is_enabled, rule.is_fallback) for rule in rules] == [
        ("Severe", True, False),
        ("Rest", False, True),
    ]
    assert first.condition == 'case.priority == "P1"'
    assert routing.rules("alerts") == []


@pytest.mark.parametrize(
    ("changes", "to", "field", "says"),
    [
        ({"condition": "case.priority =="}, ["One"], "condition", "The condition has an error"),
        ({"condition": "{{ true }}"}, ["One"], "condition", "The condition has an error"),
        ({}, [], "destinations", "at least one"),
        ({}, ["Nobody"], "destinations", "no connector"),
        ({}, ["One:Nothing"], "destinations", "no preset"),
        ({}, ["One", "One"], "destinations", "once"),
        ({}, ["Key:One's"], "destinations", "path bidirectional; the connector Key has service_key"),
        ({"name": ""}, ["One"], "name", "blank"),
        ({"name": "Taken"}, ["One"], "name", "already"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_rule_that_leads_nowhere_is_refused(
    account: Stand, changes: dict[str, str], to: list[str], field: str, says: str
) -> None:
    one = account.app.configuration.create_connector("One", seeds.CHECKOUT_API, who="tester").connector
    key = account.app.connectors.create_service_key("Key", seeds.CHECKOUT_ROUTING_KEY)
    a_rule(account, "Taken", [Destination(one.id, "")])
    ids = {"One": one.id, "Key": key.id, "Nobody": NO_ID, "Nothing": NO_ID, "": ""}
    ids["One's"] = a_preset(account, {"title": "{{ case.title }}"}).id
    destinations = [Destination(ids[name], ids[preset]) for name, _, preset in (each.partition(":") for each in to)]
    with pytest.raises(InvalidRequestError, match=says) as refused:
        a_rule(account, **{"name": "New", "destinations": destinations, **changes})
    assert refused.value.field == field
    assert [rule.name for rule in account.app.routing.rules()] == ["Taken"]
