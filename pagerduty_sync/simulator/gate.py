"""What every API request passes on its way in and out: id, log, faults, key, limits. Knows no incident."""

import json
import logging
import re
import socket
import time
import uuid
from contextlib import suppress
from typing import Any

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from .access import authenticate
from .clock import webhook_time
from .errors import ApiError, forbidden, not_a_hash, not_found, rate_limited
from .faults import Rule
from .journal import BODY_LIMIT
from .model import Json
from .simulator import Simulator

log = logging.getLogger(__name__)

_OWN_PLACES = ("/ui", "/_sim", "/healthz", "/static", "/favicon.ico")
EVENTS_PATH = "/v2/enqueue"


def is_api(path: str) -> bool:
    """True for PagerDuty's own addresses; the rest is the simulator's page and controls."""
    return path != "/" and not path.startswith(_OWN_PLACES)


def install(app: Flask, simulator: Simulator) -> None:
    @app.before_request
    def enter() -> Response | None:
        if not is_api(request.path):
            return None
        g.started, g.request_id, g.text = time.monotonic(), str(uuid.uuid4()), ""
        g.text = request.get_data(cache=True).decode("utf-8", "replace")
        if (page := _page_for_a_browser()) is not None:
            return page
        if rule := simulator.faults.strikes("fail_before", **_facts()):
            return _failure(rule)
        if request.path != EVENTS_PATH:
            _admit(simulator)
        elif rule := simulator.faults.strikes("rate_limit", **_facts()):
            return _too_many(rule)
        return None

    @app.after_request
    def leave(response: Response) -> Response:
        if not is_api(request.path) or "started" not in g:
            return response
        response.headers["x-request-id"] = g.request_id
        if "allowance" in g and not g.get("bare"):
            response.headers.update(g.allowance.headers())
        changes = request.method not in ("GET", "HEAD", "OPTIONS")
        if changes:
            simulator.changed()
        _record(simulator, response)
        if rule := simulator.faults.strikes("slow_reply", **_facts()):
            time.sleep(rule.options["seconds"])
        if changes and response.status_code < 400 and (rule := simulator.faults.strikes("lose_reply", **_facts())):
            return _lose(rule, response)
        return response

    @app.errorhandler(ApiError)
    def refuse(error: ApiError) -> tuple[Response, int]:
        return jsonify(error.body), error.status

    @app.errorhandler(HTTPException)
    def routing(error: HTTPException) -> Any:
        if not is_api(request.path):
            return error
        # Unknown addresses and methods: "Errors" API page, 404 code 2100.
        if error.code in (404, 405):
            return refuse(not_found())
        return refuse(ApiError(error.code or 500, error.name, 2001))


def _facts() -> dict[str, str]:
    return {"method": request.method, "path": request.path}


def _page_for_a_browser() -> Response | None:
    """A person who opens an incident's address without a key wants the page."""
    wants_page = "text/html" in request.headers.get("Accept", "") and "Authorization" not in request.headers
    if request.method == "GET" and wants_page and re.fullmatch(r"/incidents(/\w+)?", request.path):
        return Response(status=302, headers={"Location": f"/ui{request.path}"})
    return None


def _admit(simulator: Simulator) -> None:
    """Key, then limits, then the right to write: the limit headers are on every reply that got past the key."""
    knobs = simulator.faults.knobs
    g.key = authenticate(simulator.account, knobs)
    limits = {f"key {g.key.secret}": knobs.rest_limit_per_minute}
    if request.path == "/incidents" and request.method == "POST":
        limits["POST /incidents"] = knobs.create_limit_per_minute
    elif request.path == "/incidents" and request.method == "PUT":
        limits["PUT /incidents"] = knobs.bulk_limit_per_minute
    g.allowance = simulator.limits.take(limits)
    if not g.allowance.allowed:
        raise rate_limited()
    if rule := simulator.faults.strikes("rate_limit", **_facts()):
        _raise_too_many(rule)
    if g.key.read_only and request.method not in ("GET", "HEAD", "OPTIONS"):
        raise forbidden()  # "API Access Keys" support page


class _Bare(HTTPException):
    """A reply without a body."""

    def __init__(self, status: int) -> None:
        super().__init__(response=Response(status=status))


def _raise_too_many(rule: Rule) -> None:
    """A 429 may come without headers or body ("REST API Rate Limits" page)."""
    g.bare = not rule.options["headers"]
    if rule.options["body"]:
        raise rate_limited()
    raise _Bare(429)


def _too_many(rule: Rule) -> Response:
    body = {"status": "throttle exceeded", "message": "Requests for this service are arriving too quickly."}
    return _with_status(jsonify(body) if rule.options["body"] else Response(), 429)


def _failure(rule: Rule) -> Response:
    """An error in one of the forms seen: PagerDuty's own, a proxy's HTML, or nothing."""
    status = rule.options["status"]
    if rule.options["how"] == "json":
        return _with_status(jsonify({"error": {"message": "Internal Server Error", "code": 2000}}), status)
    html = "<html><body><h1>Unavailable</h1></body></html>" if rule.options["how"] == "html" else ""
    return Response(html, status=status, mimetype="text/html")


def _with_status(response: Response, status: int) -> Response:
    response.status_code = status
    return response


def _lose(rule: Rule, response: Response) -> Response:
    """The work is done and the caller will not hear of it."""
    how = rule.options["how"]
    log.info("request=%s reply=lost how=%s", g.request_id, how)
    if how == "timeout":
        time.sleep(rule.options["seconds"])
    connection = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    if how == "error" or connection is None:
        failure = jsonify({"error": {"message": "Internal Server Error", "code": 2000}})
        failure.headers["x-request-id"] = g.request_id
        return _with_status(failure, 500)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    return response


def _record(simulator: Simulator, response: Response) -> None:
    milliseconds = round((time.monotonic() - g.started) * 1000, 1)
    last4 = g.key.secret[-4:] if "key" in g else None
    simulator.requests.add(
        {
            "at": webhook_time(simulator.clock.now()),
            "method": request.method,
            "path": request.path,
            "query": request.query_string.decode("utf-8", "replace"),
            "key": last4,
            "from": request.headers.get("From"),
            "status": response.status_code,
            "duration_ms": milliseconds,
            "request_id": g.request_id,
            "body": g.text[:BODY_LIMIT],
        }
    )
    log.info(
        "request=%s method=%s path=%s status=%d key=%s ms=%s",
        g.request_id, request.method, request.path, response.status_code, last4, milliseconds,
    )  # fmt: skip


def read_json() -> Json:
    """The object a write carries. Without a JSON Content-Type it goes unread: 400, "params must be a Hash"."""
    if request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
        raise not_a_hash()
    try:
        value = json.loads(g.text)
        # Half of a surrogate pair is valid JSON and no valid text.
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise not_a_hash() from None
    if not isinstance(value, dict):
        raise not_a_hash()
    return value


def read_wrapped(name: str) -> Json:
    """The object under its name, as in `{"incident": {…}}`."""
    value = read_json().get(name)
    if not isinstance(value, dict):
        raise ApiError(400, "Invalid Input Provided", 2001, f"{name.replace('_', ' ').capitalize()} must be an object.")
    return value
