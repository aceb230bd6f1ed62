"""Where Coralogix's Generic HTTPS connector pushes Cases and alerts: check the secret, read, store, answer 202.

The connector signs nothing, so it is known by a secret: `Authorization: Bearer <PAGERDUTY_SYNC_EVENTS_SECRET>`, set in
its additional headers. `coralogix/pushes.py` says what a body may hold. 202 means that the push is on disk.

    401  the secret is missing or wrong
    400  the body cannot be read; the answer names the field
    413  the body is over 256 KB
    503  no secret is set up here, or the push could not be stored: whoever sends again later loses nothing
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import RequestEntityTooLarge, ServiceUnavailable, Unauthorized

from pagerduty_sync.coralogix.pushes import read_alert_push, read_case_push
from pagerduty_sync.settings import variable
from pagerduty_sync.stores.pushes import NewPush
from tasks.app import app as celery_app
from web.group_commit import GroupCommitter
from web.parts import application

blueprint = Blueprint("case_events", __name__, url_prefix="/events")

MAX_BODY_BYTES = 256 * 1024
COMMITTER = "push_committer"
READ_TASK = "pagerduty_sync.read_pushes"


@blueprint.post("/cases")
def push_case() -> Response:
    """A Case has changed; which one is all that is believed of it."""
    return _store("cases", read_case_push)


@blueprint.post("/alerts")
def push_alert() -> Response:
    """An alert was triggered, acknowledged or resolved."""
    return _store("alerts", lambda body: read_alert_push(body).id)


def _store(entity: str, source_id_of: Callable[[bytes], str]) -> Response:
    _require_secret()
    body = _body()
    _committer().commit(_row(NewPush(entity, source_id_of(body), body)))
    response = jsonify(result="accepted")
    response.status_code = 202
    return response


def _require_secret() -> None:
    """Return when the request carries the secret; raises Unauthorized, or ServiceUnavailable while there is none."""
    secret = application().settings.events_secret
    if secret is None:
        raise ServiceUnavailable(f"Pushes are not taken yet: {variable('events_secret')} is not set.")
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), secret.encode()):
        raise Unauthorized(
            "The secret of pushes is missing or wrong.",
            www_authenticate=WWWAuthenticate("bearer", {"realm": "pagerduty-sync events"}),
        )


def _body() -> bytes:
    """The raw bytes; raises RequestEntityTooLarge without reading on once they are more than we take."""
    # One more than the limit: werkzeug cuts a chunked body off there without a word, and the last byte tells.
    request.max_content_length = MAX_BODY_BYTES + 1
    body = request.get_data(cache=False)
    if len(body) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    return body


def _committer() -> GroupCommitter:
    # Made by the first push: setdefault keeps one of them when two are first.
    committer: GroupCommitter | None = current_app.extensions.get(COMMITTER)
    if committer is None:
        settings, pushes = application().settings, application().pushes
        insert: Any = pushes.insert
        made = GroupCommitter(insert, _send_nudge, wait_seconds=settings.webhook_commit_seconds)
        committer = current_app.extensions.setdefault(COMMITTER, made)
    return committer


def _row(push: NewPush) -> Any:
    """The committer stores whatever its insert takes, though its types speak of webhooks."""
    return push


def _send_nudge(ids: list[int]) -> None:
    """Ask a worker to handle these pushes; raises what Celery and the broker raise."""
    celery_app.send_task(READ_TASK, args=[ids])
