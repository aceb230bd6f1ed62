"""The whole sync in one process: the real application on PostgreSQL and Valkey, the real web app, and the simulator.

Only Celery is missing: `run` does what the tasks do, one after the other, until nothing is left to do. That makes a
story repeatable, and a crash can be put between any two steps.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from werkzeug.serving import BaseWSGIServer, make_server

from pagerduty_sync.bootstrap import Application, build
from pagerduty_sync.domain.cases import Actor, Case, CasePriority
from pagerduty_sync.domain.connectors import Destination, IntegrationStatus
from pagerduty_sync.domain.incidents import Priority
from pagerduty_sync.domain.links import Link
from pagerduty_sync.pagerduty.schemas import SUBSCRIBED_EVENT_TYPES
from pagerduty_sync.pagerduty.subscriptions import SubscriptionFilter
from pagerduty_sync.settings import Settings
from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.app import create_app as create_simulator
from pagerduty_sync.stores.deliveries import DeliveryFilters
from pagerduty_sync.stores.integrations import Account
from pagerduty_sync.stores.secrets import generate_key
from web.app import create_app

JANE = Actor("user", "7c6b2a2e-3f5a-4a57-9d0c-9f1c2f1f0001", "Jane Doe", "jane@example.com")
QUIET_SECONDS = 15.0


@dataclass
class Harness:
    """Both sides and everything between them."""

    application: Application
    simulator_url: str
    web_url: str
    integration_id: str = ""
    connector_id: str = ""
    notes_written: list[str] = field(default_factory=list)

    # ------------------------------------------------------------ what workers do

    def run(self, *, until_quiet: bool = True) -> None:
        """Do everything there is to do, as workers and sweep would, and wait for PagerDuty's webhooks meanwhile."""
        deadline = time.monotonic() + QUIET_SECONDS
        while True:
            did = self.step()
            if not did and (not until_quiet or not self.webhooks_pending()) and not self.step():
                return
            if not did:
                time.sleep(0.01)
            assert time.monotonic() < deadline, f"no end of work: {did}"

    def step(self) -> bool:
        """One round of every stage; whether anything was done."""
        this = self.application
        inbox_ids = this.inbox.found_late(500, 0)
        link_ids = set(this.inbound.verify(inbox_ids))
        case_ids = this.case_events.cases_waiting(500, 0)
        link_ids |= {link_id for case_id in case_ids if (link_id := this.router.route(case_id))}
        unsent = this.notifier.look(this.notifications.cases_unseen(500, 0))
        taken = this.push_reader.take(this.pushes.found_late(500, 0))
        unsent += taken.notification_ids + this.event_queue.due(500, 0)
        link_ids |= {link_id for case_id in taken.case_ids if (link_id := this.router.route(case_id))}
        link_ids |= set(this.links.wanting_a_look(500, 0))
        for link_id in link_ids:
            this.sync.look(link_id)
        attempts = sum(this.deliveries.count_by_reason().values())
        for integration_id in this.links.integrations_with_due_calls():
            this.sync.call(integration_id)
        this.event_sender.send(unsent)
        called = sum(this.deliveries.count_by_reason().values()) > attempts
        return bool(inbox_ids or case_ids or link_ids or called)

    def reconcile(self) -> list[str]:
        """Compare, going on whenever the budget allows; the integrations that have reads due because of it."""
        due: list[str] = []
        while True:
            to_read = self.application.upkeep.reconcile()
            due += to_read.integration_ids
            if to_read.again_in is None:
                return due
            time.sleep(to_read.again_in)

    def webhooks_pending(self) -> int:
        return int(self.sim("GET", "/_sim/deliveries", params={"limit": "1"})["pending"])

    def sim(self, method: str, path: str, **options: Any) -> Any:
        reply = requests.request(method, self.simulator_url + path, timeout=10, **options)
        assert reply.status_code < 300, reply.text
        return reply.json()

    def faults(self, **knobs: Any) -> None:
        self.sim("PUT", "/_sim/faults", json=knobs)

    def hurry(self) -> None:
        """Let everything that waits be due now, as if the time had passed."""
        this = self.application
        with this.database.transaction() as conn:
            conn.execute("UPDATE links SET due_at = now() WHERE due_at IS NOT NULL")
            conn.execute("UPDATE notifications SET due_at = now() WHERE state = 'waiting'")
        this.redis.flushall()
        this._calls.clear()
        this.event_calls._budgets.clear()

    # ------------------------------------------------------------ the Case's side

    def open_case(self, title: str = "Checkout is slow", priority: CasePriority = CasePriority.P3) -> Case:
        """A Case whose incident has been opened."""
        case = self.application.cases.create_case(title, priority, actor=JANE)
        self.run()
        return case

    def case(self, case_id: str) -> Case:
        return self.application.cases.get_case(case_id)

    def comments(self, case_id: str) -> list[str]:
        return [comment.text for comment in self.application.cases.list_comments(case_id)]

    def link(self, case_id: str) -> Link:
        link = self.application.links.of_case(self.case(case_id).id)
        assert link is not None
        return link

    def reasons(self, case_id: str, operation: str | None = None) -> list[str]:
        """The reasons in the delivery log of one Case, oldest first."""
        rows, _ = self.application.deliveries.find(DeliveryFilters(case=case_id), limit=500)
        return [row.reason.value for row in reversed(rows) if operation in (None, row.operation)]

    # ------------------------------------------------------------ PagerDuty's side

    def next_second(self) -> None:
        """Move PagerDuty's clock on, so that its next event is no longer of the second of our last read."""
        self.sim("POST", "/_sim/clock/advance", json={"seconds": 1.0})

    def responder(self, method: str, path: str, body: object = None, *, email: str = seeds.ADA_EMAIL) -> Any:
        """A call to PagerDuty's REST API by a person, not by us."""
        headers = {"Authorization": f"Token token={seeds.FULL_KEY}", "From": email}
        reply = requests.request(method, self.simulator_url + path, json=body, headers=headers, timeout=10)
        assert reply.status_code < 300, reply.text
        return reply.json()

    def incident(self, case_id: str) -> dict[str, Any]:
        """The Case's incident as PagerDuty holds it, with its notes."""
        found = self.sim("GET", "/_sim/state", params={"incident": self.link(case_id).incident_id})["incidents"]
        assert len(found) == 1
        return dict(found[0])

    def notes(self, case_id: str) -> list[str]:
        return [note["content"] for note in self.incident(case_id)["notes"]]

    def set_incident(self, case_id: str, **changes: Any) -> None:
        incident_id = self.link(case_id).incident_id
        self.responder("PUT", f"/incidents/{incident_id}", {"incident": {"type": "incident_reference", **changes}})

    def add_note(self, case_id: str, text: str) -> None:
        self.responder("POST", f"/incidents/{self.link(case_id).incident_id}/notes", {"note": {"content": text}})

    def incidents_opened(self) -> list[dict[str, Any]]:
        return list(self.sim("GET", "/_sim/state")["incidents"])


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """A WSGI app on a free port, in threads of this process."""
    server: BaseWSGIServer = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(5)


@contextmanager
def a_harness(database_url: str, redis_url: str, tmp_path: Path, **settings: str) -> Iterator[Harness]:
    """Everything started and connected: one integration, one connector, one rule for every Case."""
    simulator = create_simulator(knobs={"retry_schedule": [0.05, 0.1, 0.2]})
    with serving(simulator) as simulator_url:
        simulator.extensions["simulator"].shapes.public_base = simulator_url
        environment = {
            "PAGERDUTY_SYNC_DATABASE_URL": database_url,
            "PAGERDUTY_SYNC_REDIS_URL": redis_url,
            "PAGERDUTY_SYNC_ENCRYPTION_KEYS": generate_key(),
            "PAGERDUTY_SYNC_DATA_DIR": str(tmp_path),
            # The tests of the budget have their own; here nothing should wait for it.
            "PAGERDUTY_SYNC_REQUESTS_PER_MINUTE": "900",
            **{f"PAGERDUTY_SYNC_{name.upper()}": value for name, value in settings.items()},
        }
        application = build(Settings.from_environment(environment))
        try:
            with serving(create_app(application)) as web_url:
                harness = Harness(application, simulator_url, web_url)
                connect(harness)
                yield harness
        finally:
            simulator.extensions["simulator"].stop()
            application.close()


def connect(harness: Harness) -> None:
    """The configuration an operator would make, straight into the stores."""
    this = harness.application
    priorities = [Priority(id_, name) for name, id_ in seeds.PRIORITY_IDS.items()]
    account = Account(
        "PagerDuty", harness.simulator_url, seeds.FULL_KEY, "account", seeds.BOT_EMAIL, seeds.BOT_ID, priorities
    )
    integration = this.integrations.create(account, is_two_way=True)
    harness.integration_id = integration.id
    made = this.client(integration.id).create_webhook_subscription(
        f"{harness.web_url}/webhooks/pagerduty/{integration.id}",
        "pagerduty-sync",
        SubscriptionFilter.account(),
        sorted(SUBSCRIBED_EVENT_TYPES),
    )
    this.subscriptions.add(integration.id, made.id, made.secret)
    this.integrations.set_status(integration.id, IntegrationStatus.CONNECTED)
    connector = this.connectors.create_bidirectional(
        "Checkout",
        integration.id,
        seeds.CHECKOUT_SERVICE_ID,
        seeds.CHECKOUT_API,
        priority_map={CasePriority(name): id_ for name, id_ in seeds.PRIORITY_IDS.items()},
    )
    harness.connector_id = connector.id
    preset = this.routing.ensure_builtin_presets()[0]
    this.routing.create_rule("Everything", "cases", "true", [Destination(connector.id, preset.id)])
