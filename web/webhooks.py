"""Where PagerDuty's webhooks arrive: check the size, the integration and the signature, store the bytes, answer.

PagerDuty repeats what is answered with 5xx for 48 hours and drops what is answered with any other 4xx; after three
drops in a row it switches the subscription off for a day ("Webhooks Overview", Developer Documentation). So 4xx is for
what we never want, 503 for what we could not take now, and 202 for everything authentic, understood or not.
"""

from __future__ import annotations

import functools
import hashlib
import re
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason
from pagerduty_sync.errors import SecretError, SignatureError, SyncError
from pagerduty_sync.pagerduty import signature
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.inbox import Received
from pagerduty_sync.stores.subscriptions import Signers
from web.group_commit import GroupCommitter
from web.rejections import Rejections
from web.signers import RecentSigners

blueprint = Blueprint("webhooks", __name__)

# Ids go into unique indexes; whatever has another form is not PagerDuty's and must not upset the database.
_ID = re.compile(r"[A-Za-z0-9._:=+/-]{1,128}", re.ASCII)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
MAX_SIGNATURE = 4_096


@blueprint.post("/webhooks/pagerduty/<integration_id>")
def receive(integration_id: str) -> Response:
    """Store one webhook and say so."""
    try:
        body = _body()
        subscription_id = _an_id("X-Webhook-Subscription")
        signers = _signers().of(integration_id, subscription_id)
        if signers is None:
            return _answer(404, "unknown_integration")
        header = _UNPRINTABLE.sub("", request.headers.get(signature.HEADER, ""))[:MAX_SIGNATURE]
        _verify(body, header, signers, subscription_id)
        webhook_id = _an_id("X-Webhook-Id") or f"sha256:{hashlib.sha256(body).hexdigest()}"
        row = Received(integration_id, webhook_id, subscription_id, header, body)
        is_new = _committer().commit(row) is not None
    except RequestEntityTooLarge:
        return _answer(413, "too_large")
    except SignatureError as exc:
        _rejections().record(integration_id, _rejection(integration_id, exc))
        return _answer(401, "rejected")
    except SyncError:
        return _answer(503, "not_stored")
    return _answer(202, "accepted" if is_new else "seen_before")


def _body() -> bytes:
    """The raw bytes; raises RequestEntityTooLarge without reading on once they are more than we take."""
    limit: int = _application().settings.max_webhook_bytes
    # One more than the limit: werkzeug cuts a chunked body off there without a word, and the last byte tells.
    request.max_content_length = limit + 1
    body = request.get_data(cache=False)
    if len(body) > limit:
        raise RequestEntityTooLarge
    return body


def _verify(body: bytes, header: str, signers: Signers, subscription_id: str) -> None:
    """Return when the bytes are authentic; raises SignatureError, or SecretError when only a later try can tell."""
    # The named subscription's secret first; PagerDuty names it, but a signature counts, not a name.
    named = signers.secrets.get(subscription_id)
    secrets = [named] if named is not None else []
    secrets += [secret for name, secret in signers.secrets.items() if name != subscription_id]
    try:
        signature.verify(body, header, secrets)
    except SignatureError:
        if not header.strip():
            raise
        if named is None and signers.is_adding:
            raise SecretError("The subscription's secret is about to be stored.") from None
        if signers.unreadable and named is None:
            raise SecretError("The secret that may have signed this cannot be read.") from None
        raise


def _rejection(integration_id: str, why: SignatureError) -> Delivery:
    return Delivery(
        direction=Direction.INBOUND,
        operation="receive_webhook",
        outcome=Outcome.REJECTED,
        reason=Reason.REJECTED_SIGNATURE,
        detail=str(why),
        integration_id=integration_id,
        http_status=401,
    )


def _an_id(header: str) -> str:
    """The header when it has the form of an id, else nothing."""
    value = request.headers.get(header, "")
    return value if _ID.fullmatch(value) else ""


def _answer(status: int, result: str) -> Response:
    response = jsonify(result=result)
    response.status_code = status
    return response


def _signers() -> RecentSigners:
    # Made by the first request: setdefault keeps one of them when two requests are first.
    signers: RecentSigners = current_app.extensions.get("signers") or current_app.extensions.setdefault(
        "signers", RecentSigners(_application().subscriptions.signers)
    )
    return signers


def _rejections() -> Rejections:
    rejections: Rejections = current_app.extensions.get("rejections") or current_app.extensions.setdefault(
        "rejections", Rejections(functools.partial(_write, _application().deliveries))
    )
    return rejections


def _write(deliveries: Deliveries, rejected: Delivery) -> None:
    deliveries.add(None, [rejected])


def _committer() -> GroupCommitter:
    committer: GroupCommitter = current_app.extensions["group_committer"]
    return committer


def _application() -> Any:
    return current_app.extensions["pagerduty_sync"]
