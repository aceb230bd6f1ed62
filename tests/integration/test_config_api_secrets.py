"""No secret in anything the system says: answers, logs, errors, the audit, the log of deliveries, or rows in clear."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pagerduty_sync.simulator import seeds
from tests.api_stand import an_api_stand


def test_no_planted_secret_shows_anywhere(
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    with an_api_stand(database_url, redis_url, tmp_path) as stand:
        stand.connect()
        connector = stand.connector()
        stand.rule(connector)
        key = stand.call(
            "POST",
            "/connectors",
            {
                "name": "Old way",
                "path": "service_key",
                "routing_key": seeds.CHECKOUT_ROUTING_KEY,
                "region": stand.harness.simulator_url,
            },
            expect=201,
        )
        stand.call("POST", f"/connectors/{key['id']}/test")
        stand.call("PATCH", f"/connectors/{key['id']}", {"routing_key": seeds.PAYMENTS_ROUTING_KEY})
        name = stand.open_case()
        stand.harness.next_second()
        stand.harness.set_incident(name, status="acknowledged")
        stand.run()
        stand.call("POST", f"{stand.integration}/webhook-secret/rotate")
        token = stand.call("POST", "/tokens", {"name": "one", "permissions": ["case:Read"]}, expect=201)
        shown_once = stand.heard.pop()
        assert token["token"] in shown_once
        for path in (
            "/integrations",
            stand.integration,
            "/connectors",
            f"/connectors/{key['id']}",
            "/tokens",
            "/audit",
        ):
            stand.call("GET", path)
        # What is refused quotes what was given, but no secret.
        stand.refused(400, "PUT", stand.integration, {"api_key": seeds.READ_ONLY_KEY})
        stand.refused(400, "PUT", stand.integration, {"api_key": seeds.DISABLED_ROUTING_KEY})
        stand.refused(400, "PUT", stand.integration, {"api_key": {"nested": seeds.READ_ONLY_KEY}})
        stand.refused(400, "POST", "/connectors", {"name": "x", "path": "service_key", "routing_key": WRONG_KEY})
        stand.harness.faults(revoked_keys=[seeds.FULL_KEY])
        stand.call("POST", f"{stand.integration}/check")
        stand.refused(400, "PUT", stand.integration, {})
        webhook_secrets = [one.secret for one in stand.simulator.subscriptions.all()]
        rows = _rows(stand.harness.application.database)
        redis = stand.harness.application.redis
        kept = b" ".join(redis.scan_iter(count=1_000)).decode(errors="replace")
        admin = stand.token
    output = capfd.readouterr()
    emitted = {
        "answers": " ".join(stand.heard),
        "log records": caplog.text,
        "standard output": output.out,
        "standard error": output.err,
        "rows": rows,
        "redis": kept,
    }
    planted = {
        "the API key": seeds.FULL_KEY,
        "a refused API key": seeds.READ_ONLY_KEY,
        "a routing key": seeds.CHECKOUT_ROUTING_KEY,
        "another routing key": seeds.PAYMENTS_ROUTING_KEY,
        "a routing key in the wrong place": seeds.DISABLED_ROUTING_KEY,
        "a wrong routing key": WRONG_KEY,
        "the token of the administrator": admin,
        "a new token": token["token"],
        **{f"webhook secret {number}": secret for number, secret in enumerate(webhook_secrets)},
    }
    assert len(webhook_secrets) == 2
    assert "subscription_made" in emitted["standard output"] + emitted["standard error"] + emitted["log records"]
    for what, secret in planted.items():
        for where, text in emitted.items():
            assert secret not in text, f"{what} stands in the {where}"


WRONG_KEY = "W" * 31 + "!"


def _rows(database: object) -> str:
    """Everything in every table, as text."""
    with database.transaction() as conn:  # type: ignore[attr-defined]
        tables = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return " ".join(
            str(row)
            for table in tables
            for row in conn.execute(f'SELECT t::text FROM "{table["tablename"]}" t').fetchall()
        )
