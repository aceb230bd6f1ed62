"""The Flask app: which surface is registered where, its limits, and the headers every answer carries.

Importing this module has no effect; `create_app` reads the environment only when it is given no application.
"""

from __future__ import annotations

import atexit
import gc
import hashlib
import hmac
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from flask_smorest import Api

from pagerduty_sync.settings import Settings
from tasks import logs
from web import api_docs, case_events, case_pages, errors, group_commit, health, webhooks
from web.api import (
    audit,
    cases,
    connectors,
    coralogix_cases,
    dataprime,
    deliveries,
    explain,
    integrations,
    legs,
    links,
    presets,
    quarantine,
    replay,
    rules,
    tokens,
)
from web.bodies import require_json
from web.parts import EXTENSION

if TYPE_CHECKING:
    from pagerduty_sync.bootstrap import Application

API_PREFIX = "/api/v1"
API_BLUEPRINTS = (
    cases.blueprint,
    deliveries.blueprint,
    dataprime.blueprint,
    explain.blueprint,
    replay.blueprint,
    quarantine.blueprint,
    links.blueprint,
    integrations.blueprint,
    legs.blueprint,
    connectors.blueprint,
    presets.blueprint,
    rules.blueprint,
    rules.routing,
    tokens.blueprint,
    audit.blueprint,
)
BLUEPRINTS = (
    health.blueprint,
    webhooks.blueprint,
    case_events.blueprint,
    coralogix_cases.blueprint,
    case_pages.blueprint,
    api_docs.blueprint,
)

MAX_BODY_BYTES = 256 * 1024
CONTENT_POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


def create_app(application: Application | None = None) -> Flask:
    """The app around a wired application, or around the one the environment describes."""
    if application is None:
        app = _app_around(_application_of_this_process())
        # What is here now stays for good, and a full collection need not look through it: that takes 60 ms of a reply.
        gc.freeze()
        return app
    return _app_around(application)


def _app_around(application: Application) -> Flask:
    app = Flask(__name__)
    app.config.update(_configuration(application.settings))
    app.extensions[EXTENSION] = application
    group_commit.init_app(app, application)
    api = Api()
    api.ERROR_SCHEMA = errors.ProblemView
    api.init_app(app)
    api.spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    for blueprint in API_BLUEPRINTS:
        api.register_blueprint(blueprint)
    for plain in BLUEPRINTS:
        app.register_blueprint(plain)
    app.before_request(_require_json_of_the_api)
    app.after_request(_harden)
    errors.register(app)
    return app


def _application_of_this_process() -> Application:
    from pagerduty_sync.bootstrap import build

    application = build(Settings.from_environment())
    logs.configure(application.settings.log_level)
    # Runs after the committer's own, which is registered later and drains first.
    atexit.register(application.close)
    return application


def _configuration(settings: Settings) -> dict[str, object]:
    keys = [_session_key(key) for key in settings.require_encryption_keys()]
    return {
        "MAX_CONTENT_LENGTH": MAX_BODY_BYTES,
        "SECRET_KEY": keys[0],
        "SECRET_KEY_FALLBACKS": keys[1:],
        "SESSION_COOKIE_NAME": "pagerduty_sync",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": settings.public_url.startswith("https://"),
        "API_TITLE": "pagerduty-sync",
        "API_VERSION": "v1",
        "OPENAPI_VERSION": "3.0.3",
        "OPENAPI_URL_PREFIX": API_PREFIX,
        "OPENAPI_JSON_PATH": "openapi.json",
        "API_SPEC_OPTIONS": {
            "info": {"description": "Two-way sync between Cases and PagerDuty incidents."},
            "security": [{"token": []}],
        },
    }


def _session_key(encryption_key: str) -> str:
    """A key of its own for cookies, so that neither use of the first tells anything about the other."""
    return hmac.new(encryption_key.encode(), b"pagerduty-sync session cookie", hashlib.sha256).hexdigest()


def _require_json_of_the_api() -> None:
    if request.method in ("POST", "PUT", "PATCH") and request.path.startswith(API_PREFIX):
        require_json()


def _harden(response: Response) -> Response:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response
