"""JSON bodies, read so that whatever a caller sends is at worst a bad request."""

from __future__ import annotations

import json
from typing import Any

from flask import request
from marshmallow import Schema
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from pagerduty_sync.coralogix.requests import load


def read(schema: type[Schema]) -> dict[str, Any]:
    """The arguments in the request's body, an absent one as empty; raises InvalidRequestError."""
    raw = request.get_data(cache=False)
    require_json()
    try:
        body = json.loads(raw, parse_constant=_refuse) if raw.strip() else {}
    except (ValueError, RecursionError):
        raise BadRequest("The body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    return load(schema, body)


def require_json() -> None:
    """Raise UnsupportedMediaType for a body that says it is something else."""
    has_body = bool(request.content_length) or "Transfer-Encoding" in request.headers
    if has_body and not request.is_json:
        raise UnsupportedMediaType("The body must be JSON.")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
