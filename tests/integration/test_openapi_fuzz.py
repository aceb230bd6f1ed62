"""The API against its own description: whatever is sent, no 500, no status and no shape that is not described."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CheckContext
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api_stand import Stand, an_api_stand
from web.app import create_app

EXAMPLES = 8


@pytest.fixture(scope="module")
def stand(shared_database_url: str, valkey_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """With something of every kind, so that not every question ends at `nobody has it`."""
    path: Path = tmp_path_factory.mktemp("stand")
    with an_api_stand(shared_database_url, valkey_server.url, path) as made:
        made.connect()
        made.rule(made.connector())
        made.call("POST", "/presets", {"name": "Mine", "templates": {"title": "x"}}, expect=201)
        made.open_case()
        with pytest.MonkeyPatch.context() as patches:
            patches.setattr(socket.socket, "connect", _only_here(socket.socket.connect))
            yield made


@pytest.fixture(scope="module")
def described_api(stand: Stand) -> Any:
    """The schema, as the app itself shows it."""
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", create_app(stand.harness.application))
    known = _known_ids(stand)

    @schema.hook
    def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        """Ids that somebody has, where the generated one is even; the others stay what was thought up."""
        found = dict(path_parameters or {})
        for name, id_ in known.items():
            if name in found and len(str(found[name])) % 2 == 0:
                found[name] = id_
        return found

    return schema


def test_every_answer_is_described(described_api: Any, stand: Stand) -> None:
    operations = [each.ok() for each in described_api.get_all_operations()]
    # Whoever takes the account away does so at the end: most questions are about it.
    for operation in sorted(operations, key=lambda each: (each.method == "delete", each.path)):
        _ask(operation, stand.token)
    assert len(operations) > 40


def _ask(operation: Any, token: str) -> None:
    """Ask one operation whatever it says it takes, and some of what it says it does not."""
    half = EXAMPLES // 2
    for mode, examples in ((GenerationMode.POSITIVE, half), (GenerationMode.NEGATIVE, EXAMPLES - half)):
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
            continue

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)

        ask()


def no_failure_of_ours(ctx: CheckContext, response: Any, case: Any) -> None:
    """502 and 503 are described and may be; 500 never is."""
    assert response.status_code != 500, response.text


CHECKS = (no_failure_of_ours, status_code_conformance, content_type_conformance, response_schema_conformance)


def _known_ids(stand: Stand) -> dict[str, str]:
    lists = {
        "integration_id": ("/integrations", "integrations"),
        "connector_id": ("/connectors", "connectors"),
        "preset_id": ("/presets", "presets"),
        "rule_id": ("/rules", "rules"),
        "link_id": ("/links", "links"),
    }
    return {name: stand.call("GET", path)[key][-1]["id"] for name, (path, key) in lists.items()} | {"case_id": "CASE-1"}


def _only_here(connect: Any) -> Any:
    """No thought-up address is ever called."""

    def connect_here(self: socket.socket, address: Any) -> Any:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1"):
            raise ConnectionRefusedError(f"{address[0]} is not this machine")
        return connect(self, address)

    return connect_here
