"""Configuration as code: exported, planned field by field, applied once, and nothing else touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pagerduty_sync.errors import InvalidRequestError
from pagerduty_sync.handlers.configuration_file import ConfigurationFile
from pagerduty_sync.handlers.configuration_parts import Change
from pagerduty_sync.simulator import seeds
from tests.api_stand import Stand, an_api_stand

P = seeds.PRIORITY_IDS

TEXT = """
integration:
  name: Acme
  region: {url}
  email: {email}
  is_two_way: true
  consent: true
  api_key: {{env: THE_API_KEY}}
connectors:
  - name: Checkout
    service: Checkout API
    directions:
      comments: off
    priority_map: {{P1: P1, P2: P2}}
  - name: Old way
    path: service_key
    region: {url}
    routing_key: {{file: {key_file}}}
presets:
  - name: Mine
    templates:
      title: "!! {{{{ case.title }}}}"
rules:
  - name: Severe
    condition: case.priority == "P1"
    destinations:
      - {{connector: Checkout, preset: Mine}}
  - name: Rest
    destinations:
      - {{connector: Old way}}
    is_fallback: true
"""


@pytest.fixture
def stand(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Stand]:
    with an_api_stand(database_url, redis_url, tmp_path) as made:
        yield made


@pytest.fixture
def file(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> ConfigurationFile:
    monkeypatch.setenv("THE_API_KEY", seeds.FULL_KEY)
    monkeypatch.setenv("PAGERDUTY_API_KEY", seeds.FULL_KEY)
    monkeypatch.setenv("PAGERDUTY_ROUTING_KEY_OLD_WAY", seeds.CHECKOUT_ROUTING_KEY)
    return stand.harness.application.configuration_file


@pytest.fixture
def text(stand: Stand, tmp_path: Path) -> str:
    key_file = tmp_path / "routing-key"
    key_file.write_text(f"{seeds.CHECKOUT_ROUTING_KEY}\n")
    return TEXT.format(url=stand.harness.simulator_url, email=seeds.BOT_EMAIL, key_file=key_file)


def test_a_text_is_applied_once_and_then_changes_nothing(stand: Stand, file: ConfigurationFile, text: str) -> None:
    planned = file.plan(text)
    assert stand.call("GET", "/connectors") == {"connectors": []}
    assert {change.subject for change in planned if change.is_new} == {
        "integration",
        "connector Checkout",
        "connector Old way",
        "preset Mine",
        "routing rule Severe",
        "routing rule Rest",
    }
    assert file.apply(text, "tester") == planned
    assert file.plan(text) == []
    assert file.apply(text, "tester") == []
    checkout, old_way = stand.call("GET", "/connectors")["connectors"]
    assert checkout["priority_map"] == {"P1": P["P1"], "P2": P["P2"]}
    assert checkout["directions"]["comments"] == "off"
    assert old_way["routing_key"]["last4"] == seeds.CHECKOUT_ROUTING_KEY[-4:]
    trail = [(entry["who"], entry["action"]) for entry in stand.call("GET", "/audit")["entries"]]
    assert trail == [("tester", "create")] * 5 + [("tester", "connect")]
    name = stand.open_case(priority="P1")
    assert stand.harness.incident(name)["title"] == "!! Checkout is slow"


def test_what_was_exported_changes_nothing_and_holds_no_secret(
    stand: Stand, file: ConfigurationFile, text: str
) -> None:
    file.apply(text, "tester")
    exported = file.export_text()
    assert file.plan(exported) == []
    for secret in (seeds.FULL_KEY, seeds.CHECKOUT_ROUTING_KEY):
        assert secret not in exported
        assert secret not in str(file.plan(text.replace("name: Acme", "name: Other")))
    assert "Basic PagerDuty" not in exported.partition("rules:")[0]


def test_changes_are_told_field_by_field_and_nothing_else_is_touched(
    stand: Stand, file: ConfigurationFile, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.apply(text, "tester")
    stand.rule(stand.connector("By hand"), "By hand")
    before = stand.call("GET", "/connectors")
    part = """
connectors:
  - name: Checkout
    directions: {status: in}
rules:
  - name: Severe
    is_enabled: false
"""
    assert file.plan(part) == [
        Change(
            "connector Checkout",
            "directions",
            {"status": "both", "priority": "both", "comments": "off", "resolution_notes": "both"},
            {"status": "in", "priority": "both", "comments": "off", "resolution_notes": "both"},
        ),
        Change("routing rule Severe", "is_enabled", True, False),
    ]
    file.apply(part, "tester")
    assert file.plan(part) == []
    rules = {rule["name"]: rule for rule in stand.call("GET", "/rules")["rules"]}
    assert (rules["Severe"]["is_enabled"], rules["Severe"]["condition"]) == (False, 'case.priority == "P1"')
    assert list(rules) == ["Severe", "Rest", "By hand"]
    after = stand.call("GET", "/connectors")
    assert [one for one in after["connectors"] if one["name"] != "Checkout"] == [
        one for one in before["connectors"] if one["name"] != "Checkout"
    ]
    monkeypatch.setenv("THE_API_KEY", seeds.USER_TOKEN)
    key = "integration: {name: Acme, api_key: {env: THE_API_KEY}}"
    (change,) = file.plan(key)
    assert (change.field, change.before, change.after) == (
        "api_key",
        f"…{seeds.FULL_KEY[-4:]}",
        f"…{seeds.USER_TOKEN[-4:]}",
    )


def test_rules_take_the_order_of_the_text_among_themselves(stand: Stand, file: ConfigurationFile, text: str) -> None:
    file.apply(text, "tester")
    stand.rule(stand.connector("By hand"), "By hand")
    part = "rules: [{name: By hand}, {name: Severe}]"
    assert file.plan(part) == [Change("routing rules", "order", ["Severe", "By hand"], ["By hand", "Severe"])]
    file.apply(part, "tester")
    assert [rule["name"] for rule in stand.call("GET", "/rules")["rules"]] == ["By hand", "Rest", "Severe"]
    assert file.plan(part) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("connectors: [", "line 1"),
        ("a: 1\nb: [\n", "line 3"),
        ("- x", "mapping"),
        ("colours: []", "colours"),
        ("connectors: [{name: X, colour: red}]", "connectors.0.colour"),
        ("connectors: [{name: X}, {name: X}]", "two connectors named X"),
        ("integration: {name: X}", "api_key"),
        ("integration: {name: X, api_key: secret}", "api_key"),
        ("integration: {name: X, api_key: {env: NOT_SET_ANYWHERE}}", "NOT_SET_ANYWHERE is not set"),
        ("integration: {name: X, api_key: {file: /no/such/file}}", "/no/such/file cannot be read"),
        ("integration: {name: X, api_key: {env: A, file: B}}", "where the secret is"),
        ("rules: [{name: X}]", "needs a destination"),
        ("rules: [{name: X, destinations: [{connector: Nobody}]}]", "no connector named Nobody"),
        ('presets: [{name: X, templates: {title: "{{ nope | nope }}"}}]', "line 1: there is no filter nope"),
        ("presets: [{name: X, templates: {colour: red}}]", "title, details, urgency"),
    ],
)
def test_a_text_with_a_mistake_is_refused_before_anything_changes(
    stand: Stand, file: ConfigurationFile, text: str, says: str
) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        file.apply(text, "tester")
    assert stand.call("GET", "/audit")["entries"] == []


def test_what_cannot_change_says_so(stand: Stand, file: ConfigurationFile, text: str) -> None:
    file.apply(text, "tester")
    for part, says in (
        ("connectors: [{name: Checkout, path: service_key}]", "path bidirectional, which cannot change"),
        ("connectors: [{name: Checkout, service: Payments API}]", "make another connector"),
        ("connectors: [{name: Old way, path: service_key, region: eu}]", "make another connector"),
        ("presets: [{name: Mine, entity: alerts, path: service_key, templates: {summary: x}}]", "cannot change"),
        ("rules: [{name: Severe, source: alerts}]", "cannot change"),
    ):
        with pytest.raises(InvalidRequestError, match=says):
            file.plan(part)
