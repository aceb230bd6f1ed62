"""Trying again what a service-key connector could not be told: only what is still wanted, and under its own key."""

from __future__ import annotations

from typing import Any

from pagerduty_sync.domain.connectors import Connector
from pagerduty_sync.handlers.second_looks import Result
from tests.harness import JANE, Harness
from tests.integration import test_one_way
from tests.integration.test_explain import typed
from tests.integration.test_one_way import KEY, a_connector, actions, an_alert, attempts, events, execute, rows
from tests.integration.test_replay import replay

harness = test_one_way.harness


def with_a_wrong_key(harness: Harness) -> Connector:
    """The only connector, whose key PagerDuty refuses."""
    execute(harness, "DELETE FROM routing_rules")
    return a_connector(harness, routing_key="f" * 32)


def mend_key(harness: Harness, connector: Connector) -> None:
    key = harness.application.box.encrypt(KEY)
    execute(harness, "UPDATE connectors SET routing_key_encrypted = %s WHERE id = %s", key, connector.id)


def told(report: Any) -> list[tuple[str, str, str]]:
    return [(one.operation, one.result.value, one.reason) for one in report.results]


def test_a_refused_event_goes_out_once_its_key_is_right(harness: Harness) -> None:
    connector = with_a_wrong_key(harness)
    case = harness.open_case()
    harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    before = [(row.id, row.operation, row.reason.value) for row in attempts(harness)]
    assert [row[1:] for row in before] == [("trigger_event", "refused"), ("acknowledge_event", "not_open")]
    mend_key(harness, connector)

    rehearsed = replay(harness, is_dry=True, case=case.name)
    assert [change for one in rehearsed.changes for change in one.changes] == [
        f"send trigger_event to {connector.name} again",
        f"send acknowledge_event to {connector.name} again",
    ]
    assert [row["state"] for row in rows(harness, "SELECT state FROM notifications ORDER BY id")] == [
        "failed",
        "dropped",
    ]
    assert actions(harness) == ["trigger"]

    report = replay(harness, case=case.name)
    assert report.counts["queued"] == 2
    assert actions(harness) == ["trigger", "trigger", "acknowledge"]
    assert len({event["dedup_key"] for event in events(harness)}) == 1
    assert [one["status"] for one in harness.incidents_opened()] == ["acknowledged"]
    named = [row for row in harness.application.deliveries.find()[0] if row.reason.value == "replayed"]
    assert sorted(row.cause for row in named) == sorted(f"delivery:{id_}" for id_, *_ in before)
    assert all(row.connector_id == connector.id for row in named)

    # A second time there is nothing left to tell.
    again = replay(harness, case=case.name, reason="refused")
    assert told(again) == [("trigger_event", "nothing", "in_step")]
    assert len(actions(harness)) == 3


def test_what_is_over_is_not_told_late(harness: Harness) -> None:
    connector = with_a_wrong_key(harness)
    case = harness.open_case()
    mend_key(harness, connector)
    harness.application.cases.resolve(case.id, JANE)
    harness.run()
    report = replay(harness, operation="trigger_event")
    assert told(report) == [("trigger_event", "nothing", "stale")]
    assert "moved on" in report.results[0].detail
    assert actions(harness) == ["trigger"] and harness.incidents_opened() == []


def test_a_resolve_that_was_given_up_is_told_unless_the_alert_fired_again(harness: Harness) -> None:
    an_alert(harness)
    harness.faults(fail_before={"next": 1, "status": 500, "match": {"path": "/v2/enqueue"}})
    an_alert(harness, state="resolved")
    execute(harness, "UPDATE notifications SET failing_since = now() - interval '3 days' WHERE state = 'waiting'")
    harness.faults(fail_before={"next": 1, "status": 500, "match": {"path": "/v2/enqueue"}})
    harness.hurry()
    harness.run()
    failed = [row for row in attempts(harness, "resolve_event") if row.reason.value == "gave_up"]
    assert len(failed) == 1
    this = harness.application.replay
    # Both attempts on the one event were chosen: it goes out once.
    report = replay(harness, operation="resolve_event")
    assert sorted(one.result for one in report.results) == [Result.NOTHING, Result.QUEUED]
    assert [one["status"] for one in harness.incidents_opened()] == ["resolved"]
    execute(harness, "UPDATE notifications SET state = 'failed' WHERE event_action = 'resolve'")
    an_alert(harness)
    late = this.run(this.chosen_by_id([failed[0].id or 0]))
    assert told(late) == [("resolve_event", "nothing", "stale")]


def test_without_the_connector_or_its_key_nothing_goes_out(harness: Harness) -> None:
    with_a_wrong_key(harness)
    case = harness.open_case()
    execute(
        harness,
        "UPDATE connectors SET routing_key_encrypted = NULL, routing_key_template = '{{ case.id }}' "
        "WHERE path = 'service_key'",
    )
    assert told(replay(harness, is_dry=True, case=case.name)) == [("trigger_event", "nothing", "not_found")]
    execute(harness, "DELETE FROM rule_destinations")
    execute(harness, "DELETE FROM connectors WHERE path = 'service_key'")
    assert told(replay(harness, case=case.name)) == [("trigger_event", "nothing", "not_found")]
    execute(harness, "DELETE FROM notifications")
    assert told(replay(harness, case=case.name, reason="refused")) == [("trigger_event", "impossible", "")]


def test_the_command_shows_what_it_would_send(harness: Harness) -> None:
    connector = with_a_wrong_key(harness)
    case = harness.open_case()
    said = typed(harness, "replay", "--case", case.name, "--dry-run")
    assert f"send trigger_event to {connector.name} again" in said and "Rehearsed: 1 queued" in said
