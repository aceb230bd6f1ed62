"""Builds the simulator's Flask application. Importing it has no effect; creating it starts nothing until `start`."""

from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, request

from . import control, events_v2, gate, pages, rest_directory, rest_incidents, rest_subscriptions
from .simulator import Simulator

DEFAULT_PUBLIC_BASE = "http://127.0.0.1:8001"
BODY_LIMIT = 4 * 1024 * 1024


def create_app(
    *,
    public_base: str = DEFAULT_PUBLIC_BASE,
    state_file: Path | str | None = None,
    knobs: dict[str, Any] | None = None,
    start: bool = True,
) -> Flask:
    """The application. Its `Simulator` is `app.extensions["simulator"]`, whose `stop` ends the threads begun here."""
    app = Flask(__name__)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = True
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    simulator = Simulator(public_base, Path(state_file) if state_file else None)
    simulator.faults.change(knobs or {})
    app.extensions["simulator"] = simulator

    @app.before_request
    def refuse_strangers() -> Response | None:
        """Pages and controls ask for no login, so a form on somebody else's page must not reach them."""
        origin = request.headers.get("Origin")
        is_write = request.method not in ("GET", "HEAD", "OPTIONS")
        if is_write and origin and not gate.is_api(request.path) and origin.partition("://")[2] != request.host:
            abort(403, "cross-origin request")
        return None

    gate.install(app, simulator)
    for module in (rest_incidents, rest_directory, rest_subscriptions, events_v2, control, pages):
        app.register_blueprint(module.blueprint(simulator))
    if start:
        simulator.start()
    return app
