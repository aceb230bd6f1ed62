"""What an operator does by command to pairs and to the configuration, over the real parts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pagerduty_sync.cli import main
from pagerduty_sync.commands.shell import Shell
from pagerduty_sync.domain.cases import CaseStatus
from pagerduty_sync.domain.links import LinkState
from pagerduty_sync.simulator import seeds
from pagerduty_sync.stores.rotation import SECRETS
from pagerduty_sync.stores.secrets import SecretBox, generate_key
from tests.harness import JANE, Harness, a_harness


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    with a_harness(database_url, redis_url, tmp_path) as made:
        yield made


def run(harness: Harness, *arguments: str, given: str | None = None) -> Result:
    shell = Shell({})
    shell._settings = harness.application.settings
    return CliRunner().invoke(main, list(arguments), obj=shell, input=given)


def test_a_case_is_joined_with_an_incident_and_taken_apart_again(harness: Harness) -> None:
    with harness.application.database.transaction() as conn:
        conn.execute("UPDATE routing_rules SET is_enabled = false")
    case = harness.open_case()
    body = {
        "type": "incident",
        "title": "opened by hand",
        "service": {"id": seeds.CHECKOUT_SERVICE_ID, "type": "service_reference"},
    }
    incident = harness.responder("POST", "/incidents", {"incident": body})["incident"]["id"]
    assert run(harness, "link", "add", case.name, incident, "--dry-run").exit_code == 0
    assert harness.application.links.of_case(case.id) is None
    assert run(harness, "link", "add", case.name, incident).exit_code == 0
    harness.run()
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    assert harness.case(case.id).status is CaseStatus.ACKNOWLEDGED
    assert run(harness, "link", "remove", case.name, "--reason", "the wrong one").exit_code == 0
    assert harness.link(case.id).state is LinkState.ENDED


def test_what_was_refused_is_tried_again_by_command(harness: Harness) -> None:
    case = harness.open_case()
    harness.faults(notes_limit=1)
    harness.add_note(case.id, "the only one there is room for")
    harness.application.cases.add_comment(case.id, JANE, "no room")
    harness.run()
    assert harness.link(case.id).parked
    harness.faults(notes_limit=2000)
    assert run(harness, "link", "retry", case.name).exit_code == 0
    harness.run()
    assert sum("no room" in note for note in harness.notes(case.id)) == 1
    assert not harness.link(case.id).parked


def test_sync_shows_its_plan_and_heals(harness: Harness) -> None:
    case = harness.open_case()
    harness.faults(webhook_drop={"probability": 1.0})
    harness.set_incident(case.id, status="resolved")
    assert run(harness, "sync", case.name, "--dry-run").exit_code == 0
    assert run(harness, "sync", case.name).exit_code == 0
    harness.run()
    assert harness.case(case.id).status is CaseStatus.RESOLVED


def test_the_configuration_is_exported_planned_and_applied(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGERDUTY_API_KEY", seeds.FULL_KEY)
    exported = run(harness, "config", "export")
    assert exported.exit_code == 0 and seeds.FULL_KEY not in exported.output
    file = tmp_path / "configuration.yaml"
    file.write_text(exported.stdout, encoding="utf-8")
    same = run(harness, "config", "plan", str(file))
    assert "Nothing would change" in same.output, same.output
    file.write_text(exported.stdout.replace("Everything", "All Cases"), encoding="utf-8")
    assert "All Cases" in run(harness, "config", "plan", str(file)).output
    applied = run(harness, "config", "apply", str(file), "--yes")
    assert applied.exit_code == 0, applied.output
    assert "All Cases" in [rule.name for rule in harness.application.routing.rules()]


def test_a_preset_and_a_rule_for_alerts_are_made_by_command(harness: Harness, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(seeds.PAYMENTS_ROUTING_KEY, encoding="utf-8")
    made = run(harness, "connectors", "add-service-key", "Old pager", "--key-file", str(key))
    assert made.exit_code == 0, made.output
    added = run(harness, "rules", "add", "Alerts", "--source", "alerts", "--to", "Old pager")
    assert added.exit_code == 0, added.output
    wrong = run(harness, "presets", "add", "Short", "--field", "title={{ case.titel }}{% if %}")
    assert wrong.exit_code != 0 and "line 1" in wrong.output
    right = run(harness, "presets", "add", "Short", "--field", "title={{ case.title }}!")
    assert right.exit_code == 0, right.output
    shown = run(harness, "presets", "show", "Short", "--case", harness.open_case("Hot").name)
    assert "Hot!" in shown.output, shown.output
    assert "Short" in run(harness, "presets", "list").output
    assert run(harness, "presets", "remove", "Short").exit_code == 0


def test_stored_secrets_are_put_under_a_new_encryption_key(harness: Harness) -> None:
    old = harness.application.settings.encryption_keys
    new = generate_key()
    shell = Shell({})
    shell._settings = dataclasses.replace(harness.application.settings, encryption_keys=(new, *old))
    done = CliRunner().invoke(main, ["secrets", "rotate"], obj=shell)
    assert done.exit_code == 0, done.output
    alone = SecretBox([new])
    database = harness.application.database
    with database.transaction() as conn:
        tokens = [
            row["token"]
            for table, column in SECRETS
            for row in conn.execute(f"SELECT {column} AS token FROM {table} WHERE {column} IS NOT NULL").fetchall()
        ]
        columns = conn.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE column_name LIKE '%_encrypted'"
        ).fetchall()
    assert seeds.FULL_KEY in [alone.decrypt(token) for token in tokens]
    assert {(row["table_name"], row["column_name"]) for row in columns} == set(SECRETS)


def test_deliveries_come_as_json_too(harness: Harness) -> None:
    case = harness.open_case()
    rows = json.loads(run(harness, "deliveries", "--case", case.name, "--json").stdout)
    assert {row["reason"] for row in rows} >= {"applied", "echo"}
