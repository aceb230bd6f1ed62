"""Every address of the service: without a token, with one that lacks the right, and with one that has just that.

Walked from the app's own map, so that nobody can add an address and forget who may use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.routing import Rule

from pagerduty_sync.domain.permissions import ALL
from tests.api_stand import Stand, an_api_stand

SOMETHING = "7c9e6679-7425-40de-944b-e07fc1f90ae7"

OPEN_TO_ALL = {
    "static": "styles and pictures",
    "health.alive": "asked by what restarts processes",
    "health.ready": "asked by what routes requests",
    "webhooks.receive": "signed, which is checked instead",
    "case_pages.ask_to_sign_in": "where a browser gives its token",
    "case_pages.sign_in": "where a browser gives its token",
    "case_pages.sign_out": "takes a right away",
    "api_docs_page.show_docs": "the API's own description",
    "api-docs.openapi_json": "the API's own description",
}
"""Every address that asks for no token, and why."""

OTHER_GUARDS = ("case_events.",)
"""Addresses with a secret of their own instead of tokens; their own tests know which."""


READ, MANAGE = "integrations:ReadConfig", "integrations:Manage"
CONNECTORS = "notification-center-connectors"
PRESETS = "notification-center-presets"
ROUTERS = "notification-center-routers"

STATED = {
    "GET /integrations": READ,
    "POST /integrations": MANAGE,
    "GET /integrations/<uuid:integration_id>": READ,
    "PUT /integrations/<uuid:integration_id>": MANAGE,
    "PATCH /integrations/<uuid:integration_id>": MANAGE,
    "DELETE /integrations/<uuid:integration_id>": MANAGE,
    "GET /integrations/<uuid:integration_id>/services": READ,
    "POST /integrations/<uuid:integration_id>/check": MANAGE,
    "POST /integrations/<uuid:integration_id>/webhook-secret/rotate": MANAGE,
    "GET /connectors": f"{CONNECTORS}:ReadSummary",
    "POST /connectors": f"{CONNECTORS}:UpdateConfig",
    "GET /connectors/<uuid:connector_id>": f"{CONNECTORS}:ReadConfig",
    "PATCH /connectors/<uuid:connector_id>": f"{CONNECTORS}:UpdateConfig",
    "DELETE /connectors/<uuid:connector_id>": f"{CONNECTORS}:UpdateConfig",
    "POST /connectors/<uuid:connector_id>/test": f"{CONNECTORS}:UpdateConfig",
    "POST /connectors/<uuid:connector_id>/mapping/preview": f"{CONNECTORS}:ReadConfig",
    "GET /presets": f"{PRESETS}:ReadSummary",
    "POST /presets": f"{PRESETS}:UpdateConfig",
    "GET /presets/<uuid:preset_id>": f"{PRESETS}:ReadConfig",
    "PUT /presets/<uuid:preset_id>": f"{PRESETS}:UpdateConfig",
    "DELETE /presets/<uuid:preset_id>": f"{PRESETS}:UpdateConfig",
    "POST /presets/preview": f"{PRESETS}:ReadConfig",
    "GET /rules": f"{ROUTERS}:ReadSummary",
    "POST /rules": f"{ROUTERS}:UpdateConfig",
    "PUT /rules/order": f"{ROUTERS}:UpdateConfig",
    "GET /rules/<uuid:rule_id>": f"{ROUTERS}:ReadConfig",
    "PATCH /rules/<uuid:rule_id>": f"{ROUTERS}:UpdateConfig",
    "DELETE /rules/<uuid:rule_id>": f"{ROUTERS}:UpdateConfig",
    "POST /routing/test": f"{ROUTERS}:ReadConfig",
    "GET /tokens": "tokens:Manage",
    "POST /tokens": "tokens:Manage",
    "DELETE /tokens/<uuid:token_id>": "tokens:Manage",
    "GET /health": READ,
    "GET /audit": READ,
    "GET /links": "deliveries:Read",
    "POST /links": MANAGE,
    "GET /links/<uuid:link_id>": "deliveries:Read",
    "POST /links/sync": MANAGE,
    "POST /links/<uuid:link_id>/unlink": MANAGE,
    "POST /links/<uuid:link_id>/retry": MANAGE,
    "POST /links/<uuid:link_id>/drop": MANAGE,
}
"""Who may do what to the configuration; an address below these that is not in here fails the test."""


def test_the_table_of_permissions_is_what_the_addresses_ask_for(app: Any) -> None:
    roots = {name.partition("/")[2].partition("/")[0] for name in STATED}
    present = {
        f"{method} {rule.rule.removeprefix('/api/v1')}": _permission_of(app, rule.endpoint)
        for rule, method in _routes(app)
        if rule.rule.removeprefix("/api/v1/").partition("/")[0] in roots and rule.rule.startswith("/api/v1/")
    }
    assert present == STATED


@pytest.fixture(scope="module")
def stand(shared_database_url: str, valkey_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    path: Path = tmp_path_factory.mktemp("stand")
    with an_api_stand(shared_database_url, valkey_server.url, path) as made:
        yield made


@pytest.fixture(scope="module")
def app(stand: Stand) -> Any:
    from web.app import create_app

    return create_app(stand.harness.application)


def test_every_address_asks_for_its_permission_and_for_no_other(stand: Stand, app: Any) -> None:
    walked = 0
    tokens = {
        permission: stand.harness.application.tokens.create(permission, [permission])[1] for permission in sorted(ALL)
    }
    without = {
        permission: stand.harness.application.tokens.create(f"no {permission}", ALL - {permission})[1]
        for permission in sorted(ALL)
    }
    client = app.test_client()
    for rule, method in _routes(app):
        if rule.endpoint in OPEN_TO_ALL or rule.endpoint.startswith(OTHER_GUARDS):
            continue
        permission = _permission_of(app, rule.endpoint)
        assert permission in ALL, f"{method} {rule.rule} ({rule.endpoint}) states no permission"
        address, where = _address(rule), f"{method} {rule.rule}"
        assert client.open(address, method=method).status_code == 401, where
        wrong = {"Authorization": "Bearer pds_00000000_nobody"}
        assert client.open(address, method=method, headers=wrong).status_code == 401, where
        lacking = client.open(address, method=method, headers={"Authorization": f"Bearer {without[permission]}"})
        assert lacking.status_code == 403, where
        assert permission in lacking.text, where
        allowed = client.open(address, method=method, headers={"Authorization": f"Bearer {tokens[permission]}"})
        assert allowed.status_code not in (401, 403, 405, 500), f"{where}: {allowed.status_code} {allowed.text}"
        walked += 1
    assert walked > 60


def test_what_is_open_to_all_is_there_and_nothing_else_is(app: Any) -> None:
    endpoints = {rule.endpoint for rule, _ in _routes(app)}
    assert set(OPEN_TO_ALL) <= endpoints
    document = app.test_client().get("/api/v1/openapi.json").json
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    for path, method in described:
        if method == "parameters":
            continue
        operation = document["paths"][path][method]
        assert operation["x-permission"] in ALL, f"{method} {path}"
        assert {"401", "403"} <= set(operation["responses"]), f"{method} {path}"
        assert "default" not in operation["responses"]
        if "{" in path:
            assert "404" in operation["responses"], f"{method} {path}"
        if "requestBody" in operation:
            assert {"400", "413", "415"} <= set(operation["responses"]), f"{method} {path}"


def _routes(app: Any) -> Iterator[tuple[Rule, str]]:
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            yield rule, method


def _permission_of(app: Any, endpoint: str) -> str | None:
    view = app.view_functions[endpoint]
    doc = getattr(view, "_apidoc", {}).get("manual_doc", {})
    found: str | None = doc.get("x-permission")
    return found


def _address(rule: Rule) -> str:
    return re.sub(r"<[^>]*>", SOMETHING, re.sub(r"<int:[^>]*>", "1", rule.rule))
