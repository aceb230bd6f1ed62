"""A PagerDuty account to connect to: the simulator on a port, our stores, and a receiver for its webhooks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from flask import Flask, request
from werkzeug.serving import make_server

from pagerduty_sync import bootstrap
from pagerduty_sync.domain.connectors import Integration
from pagerduty_sync.handlers.connection import Connection, ConnectReport
from pagerduty_sync.handlers.subscription import SubscriptionKeeper
from pagerduty_sync.pagerduty import signature
from pagerduty_sync.settings import Settings
from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.app import create_app
from pagerduty_sync.simulator.serve import in_thread
from pagerduty_sync.simulator.simulator import Simulator
from pagerduty_sync.stores.secrets import generate_key
from pagerduty_sync.wiring.account import make_client


@dataclass
class Stand:
    """Everything a test needs; `arrives` switches the receiver, `said` is what the use cases told."""

    app: bootstrap.Application
    simulator: Simulator
    base_url: str
    connection: Connection
    said: list[str] = field(default_factory=list)

    def connect(self, **changes: Any) -> ConnectReport:
        given: dict[str, Any] = {
            "name": "Acme",
            "api_key": seeds.FULL_KEY,
            "email": seeds.BOT_EMAIL,
            "region": self.base_url,
            "is_two_way": True,
            "consent": True,
            "who": "tester",
            "say": self.said.append,
        }
        return self.connection.connect(**(given | changes))

    def integration(self) -> Integration:
        found = self.app.integrations.only()
        assert found is not None
        return found

    def subscriptions(self) -> list[Any]:
        """Those that PagerDuty has."""
        return self.simulator.subscriptions.all()


def empty_again(database_url: str) -> str:
    """A database that tests share, as the migrations left it as far as the configuration goes."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE integrations, connectors, presets, routing_rules, api_tokens, audit CASCADE")
    return database_url


@contextmanager
def stand(database_url: str, redis_url: str, *, arrives: Callable[[], bool] = lambda: True) -> Iterator[Stand]:
    """Serve until the end of the block. A webhook is answered 404 while `arrives` says no."""
    receiver = Flask("receiver")
    server = make_server("127.0.0.1", 0, receiver, threaded=True)
    settings = Settings(
        database_url=database_url,
        redis_url=redis_url,
        encryption_keys=(generate_key(),),
        public_url=f"http://127.0.0.1:{server.port}",
    )
    app = bootstrap.build(settings)

    @receiver.post("/webhooks/pagerduty/<integration_id>")
    def receive(integration_id: str) -> tuple[str, int]:
        if not arrives():
            return "", 404
        secrets = app.subscriptions.secrets(integration_id)
        signature.verify(request.get_data(), request.headers[signature.HEADER], list(secrets.values()))
        app.subscriptions.pinged(request.headers["X-Webhook-Subscription"])
        return "", 202

    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    simulated = create_app()
    try:
        with in_thread(simulated) as base_url:
            keeper = SubscriptionKeeper(
                app.integrations,
                app.subscriptions,
                settings.public_url,
                # While nothing arrives there is nothing to wait for.
                sleep=lambda seconds: threading.Event().wait(seconds if arrives() else 0),  # type: ignore[arg-type,return-value]
            )
            connection = Connection(
                database=app.database,
                integrations=app.integrations,
                connectors=app.connectors,
                keeper=keeper,
                audit=app.audit,
                client_factory=make_client,
            )
            yield Stand(app, simulated.extensions["simulator"], base_url, connection)
    finally:
        server.shutdown()
        thread.join()
        app.close()
