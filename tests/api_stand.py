"""The service as a new administrator finds it: nothing connected, one token with every permission, a simulator."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from werkzeug.serving import make_server

from pagerduty_sync.bootstrap import build
from pagerduty_sync.domain.permissions import ALL
from pagerduty_sync.settings import Settings
from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.app import create_app as create_simulator
from pagerduty_sync.stores.secrets import generate_key
from tests.harness import Harness, serving
from web.app import create_app


@dataclass
class Stand:
    """An administrator at the API. `heard` is every answer's text, for what must not be in any of them."""

    harness: Harness
    token: str
    simulator: Any
    heard: list[str] = field(default_factory=list)

    def call(self, method: str, path: str, body: object = None, *, expect: int | None = None, token: str = "") -> Any:
        """One call; its JSON. Without `expect` any success will do."""
        reply = requests.request(
            method,
            f"{self.harness.web_url}/api/v1{path}",
            json=body,
            headers={"Authorization": f"Bearer {token or self.token}"},
            timeout=30,
        )
        self.heard.append(f"{reply.headers} {reply.text}")
        assert reply.status_code == expect if expect else reply.status_code < 300, f"{reply.status_code} {reply.text}"
        return reply.json() if reply.content else None

    def refused(self, status: int, method: str, path: str, body: object = None) -> dict[str, Any]:
        """A call that must be refused so; the problem, which always says what to do about it."""
        problem = self.call(method, path, body, expect=status)
        assert problem["status"] == status
        assert problem["detail"] and problem["cure"]
        return dict(problem)

    # ------------------------------------------------------------ what administrators do first

    def connect(self, **changes: Any) -> Any:
        given = {
            "name": "Acme",
            "api_key": seeds.FULL_KEY,
            "email": seeds.BOT_EMAIL,
            "region": self.harness.simulator_url,
            "is_two_way": True,
            "consent": True,
        }
        report = self.call("POST", "/integrations", given | changes, expect=201)
        self.harness.integration_id = report["integration"]["id"]
        return report

    def connector(self, name: str = "Checkout", **changes: Any) -> Any:
        given = {"name": name, "path": "bidirectional", "service": seeds.CHECKOUT_API}
        return self.call("POST", "/connectors", given | changes, expect=201)

    def rule(self, connector: Any, name: str = "Everything", **changes: Any) -> Any:
        given = {"name": name, "destinations": [{"connector_id": connector["id"]}]}
        return self.call("POST", "/rules", given | changes, expect=201)

    @property
    def integration(self) -> str:
        return f"/integrations/{self.harness.integration_id}"

    def run(self) -> None:
        self.harness.run()

    def open_case(self, **fields: Any) -> str:
        """A Case made through the API whose incident has been opened; its readable id."""
        case = self.call("POST", "/cases", {"title": "Checkout is slow", "priority": "P3"} | fields, expect=201)
        self.run()
        return str(case["name"])


@contextmanager
def an_api_stand(database_url: str, redis_url: str, tmp_path: Path, **settings: str) -> Iterator[Stand]:
    """Everything started, nothing configured."""
    simulator = create_simulator(knobs={"retry_schedule": [0.05, 0.1, 0.2]})
    # The address has to be known before there is an app to serve there.
    server = make_server("127.0.0.1", 0, lambda *_: [], threaded=True)
    web_url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    with serving(simulator) as simulator_url:
        simulator.extensions["simulator"].shapes.public_base = simulator_url
        environment = {
            "PAGERDUTY_SYNC_DATABASE_URL": database_url,
            "PAGERDUTY_SYNC_REDIS_URL": redis_url,
            "PAGERDUTY_SYNC_ENCRYPTION_KEYS": generate_key(),
            "PAGERDUTY_SYNC_DATA_DIR": str(tmp_path),
            "PAGERDUTY_SYNC_PUBLIC_URL": web_url,
            **{f"PAGERDUTY_SYNC_{name.upper()}": value for name, value in settings.items()},
        }
        application = build(Settings.from_environment(environment))
        server.app = create_app(application)
        thread.start()
        reading = threading.Event()
        reader = threading.Thread(target=_read_pings, args=(application, reading), daemon=True)
        reader.start()
        try:
            _, clear = application.tokens.create("admin", ALL)
            yield Stand(Harness(application, simulator_url, web_url), clear, simulator.extensions["simulator"])
        finally:
            reading.set()
            reader.join(5)
            server.shutdown()
            thread.join(5)
            simulator.extensions["simulator"].stop()
            application.close()


def _read_pings(application: Any, is_over: threading.Event) -> None:
    """What a worker does meanwhile: a connect waits for its test event to be read."""
    while not is_over.wait(0.05):
        application.inbound.verify(application.inbox.found_late(500, 0))
