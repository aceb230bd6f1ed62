"""The two web stacks that `ingress.py` compares: ours, and what one would write first."""

from __future__ import annotations

import atexit
from types import SimpleNamespace

from celery import Celery
from flask import Flask, Response, request
from psycopg_pool import ConnectionPool

from pagerduty_sync.errors import SignatureError
from pagerduty_sync.pagerduty import signature
from pagerduty_sync.settings import Settings
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.inbox import Inbox
from pagerduty_sync.stores.secrets import SecretBox
from pagerduty_sync.stores.subscriptions import Subscriptions
from tasks.app import configuration
from web import group_commit, webhooks


def ours() -> Flask:
    """The real endpoint."""
    settings = Settings.from_environment()
    database = Database(settings.require_database_url())
    # Registered before the committer's own, so that it runs after it.
    atexit.register(database.close)
    app = Flask("ours")
    app.extensions["pagerduty_sync"] = application = SimpleNamespace(
        inbox=Inbox(database),
        subscriptions=Subscriptions(database, SecretBox(settings.require_encryption_keys())),
        deliveries=Deliveries(database),
        settings=settings,
    )
    group_commit.init_app(app, application)
    app.register_blueprint(webhooks.blueprint)
    return app


def plain() -> Flask:
    """Verify, INSERT with a commit, `.delay()`, each in the request; its secret is in memory from the start."""
    settings = Settings.from_environment()
    database = Database(settings.require_database_url())
    subscriptions = Subscriptions(database, SecretBox(settings.require_encryption_keys()))
    [(integration_id, signers)] = subscriptions.signers().items()
    secrets = list(signers.secrets.values())
    database.close()
    pool = ConnectionPool(settings.require_database_url(), kwargs={"autocommit": True}, max_size=32, open=True)
    atexit.register(pool.close)
    celery = Celery("plain")
    celery.conf.update(configuration(settings))

    @celery.task(name="pagerduty_sync.verify_webhooks")
    def verify_webhooks(ids: list[int]) -> None: ...

    app = Flask("plain")

    @app.post(f"/webhooks/pagerduty/{integration_id}")
    def receive() -> Response:
        body, header = request.get_data(cache=False), request.headers.get(signature.HEADER, "")
        try:
            signature.verify(body, header, secrets)
        except SignatureError:
            return Response(status=401)
        with pool.connection() as connection:
            row = connection.execute(
                """
                INSERT INTO inbox (integration_id, webhook_id, subscription_id, signature, body)
                VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING id
                """,
                (
                    integration_id,
                    request.headers["X-Webhook-Id"],
                    request.headers["X-Webhook-Subscription"],
                    header,
                    body,
                ),
            ).fetchone()
        if row:
            verify_webhooks.delay([row[0]])
        return Response(status=202)

    return app
