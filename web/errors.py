"""Every error in the shape of the surface it happened on: Coralogix's own under /mgmt, a page for people, problem+json
elsewhere. Bad input is never a 500, and a 500 tells nothing of the inside.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, jsonify, make_response, render_template, request
from marshmallow import Schema, fields
from werkzeug.exceptions import HTTPException

from pagerduty_sync.coralogix.requests import first_complaint
from pagerduty_sync.errors import (
    ConflictError,
    InvalidRequestError,
    LinkConflictError,
    NotFoundError,
    PagerDutyError,
    PayloadError,
    SecretError,
    StorageError,
    SyncError,
    TransitionError,
)
from pagerduty_sync.stores.database import ConstraintError

log = structlog.get_logger(__name__)

STATUSES: tuple[tuple[type[SyncError], int], ...] = (
    (NotFoundError, 404),
    (InvalidRequestError, 400),
    (PayloadError, 400),
    (ConflictError, 409),
    (TransitionError, 409),
    (LinkConflictError, 409),
    (ConstraintError, 409),
    (StorageError, 503),
    (SecretError, 503),
    (PagerDutyError, 502),
)
"""The first that fits counts."""

CURES = {
    400: "Correct the request; repeating it as it is will not help.",
    401: "Send the header `Authorization: Bearer <token>` with a token that is neither revoked nor expired.",
    403: "Use a token that holds this permission.",
    404: "Check the address and the id.",
    405: "Use one of the methods in the Allow header.",
    409: "Read the thing again and decide anew; its state does not allow this change.",
    413: "Send less at once.",
    415: "Send JSON, with the header `Content-Type: application/json`.",
    500: "Look into the log of this service; it has the whole story.",
    502: "Try again later, or look up what PagerDuty said in the deliveries.",
    503: "Try again in a few seconds; GET /readyz says which part is missing.",
}
PAGES = ("/cases/", "/sign-in", "/sign-out")
LONGEST_MESSAGE = 4_096


class ProblemView(Schema):
    """The shape of an error outside /mgmt."""

    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    field = fields.String(metadata={"description": "The part of the request to change."})
    errors = fields.Raw(metadata={"description": "Everything that is wrong, by field."})
    cure = fields.String(metadata={"description": "What to do about it."})


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, before it gets a shape."""

    status: int
    detail: str
    field: str | None = None
    errors: Any = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase


def register(app: Flask) -> None:
    """Make these the app's answers to every exception; to be called after whatever registers its own."""
    app.register_error_handler(HTTPException, answer)
    app.register_error_handler(Exception, answer)


def answer(exc: Exception) -> Response:
    """The response to an exception."""
    problem = problem_of(exc)
    if problem.status >= 500:
        log.error("request_failed", path=request.path, status=problem.status, kind=type(exc).__name__, exc_info=exc)
    if request.path.startswith("/mgmt/"):
        # The published operations know no 409: a change that the state forbids is a bad request there.
        status = 400 if problem.status == 409 else problem.status
        response = jsonify(code=status, message=problem.detail[:LONGEST_MESSAGE])
    elif request.path.startswith(PAGES):
        status = problem.status
        response = make_response(render_template("problem.html", problem=problem))
    else:
        status = problem.status
        response = jsonify(_problem_json(problem))
        response.content_type = "application/problem+json"
    response.status_code = status
    response.headers.update(problem.headers)
    return response


def problem_of(exc: Exception) -> Problem:
    """Status and words for an exception; of those nobody foresaw, nothing but that it happened."""
    if isinstance(exc, SyncError):
        status = next((status for kind, status in STATUSES if isinstance(exc, kind)), 500)
        headers = {"Retry-After": "5"} if status == 503 else {}
        return Problem(status, str(exc), field=getattr(exc, "field", None), headers=headers)
    if isinstance(exc, HTTPException):
        return _problem_of_http(exc)
    if isinstance(exc, RecursionError):
        return Problem(400, "The body is nested too deep.")
    return Problem(500, "Something failed inside.")


def _problem_of_http(exc: HTTPException) -> Problem:
    headers = {name: value for name, value in exc.get_headers() if name.lower() not in ("content-type", "location")}
    status = exc.code or 500
    said = getattr(exc, "data", None) or {}
    errors = said.get("messages")
    if errors:
        # webargs names the place (json, query) first; its 422 is a 400 here.
        complaints = next(iter(errors.values())) if isinstance(errors, dict) else errors
        where, what = first_complaint(complaints)
        return Problem(
            400 if status == 422 else status, f"{where}: {what}" if where else what, where or None, complaints
        )
    if status < 400:
        return Problem(404, "There is nothing at this address.")
    return Problem(400 if status == 422 else status, exc.description or "", headers=headers)


def _problem_json(problem: Problem) -> dict[str, Any]:
    body = {
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "field": problem.field,
        "errors": problem.errors,
        "cure": CURES.get(problem.status),
    }
    return {name: value for name, value in body.items() if value}
