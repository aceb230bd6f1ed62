"""The Events API v2: trigger, acknowledge and resolve by routing key and dedup key ("Send an Alert Event" page).

202 means accepted, not that an incident exists. To acknowledge or resolve what is not open is accepted and ignored.
"""

import json
from typing import Any

from flask import Blueprint, Response, g, jsonify

from .clock import parse_time
from .gate import EVENTS_PATH
from .model import Actor, Agent, Alert, Json, Service
from .simulator import Simulator
from .state import new_id, new_key

SUMMARY_LIMIT = 1024
DEDUP_KEY_LIMIT = 255
SIZE_LIMIT = 512 * 1024
ACTIONS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "error", "warning", "info")


class InvalidEventError(Exception):
    """A 400 of the Events API; its `errors` are sentences."""

    def __init__(self, *errors: str) -> None:
        super().__init__(*errors)
        self.errors = list(errors)


def blueprint(simulator: Simulator) -> Blueprint:
    api = Blueprint("events_v2", __name__)

    @api.errorhandler(InvalidEventError)
    def refuse(error: InvalidEventError) -> tuple[Response, int]:
        body = {"status": "invalid event", "message": "Event object is invalid", "errors": error.errors}
        return jsonify(body), 400

    @api.post(EVENTS_PATH)
    def enqueue() -> Any:
        event = _read(g.text)
        service = simulator.account.services_by_routing_key.get(str(event.get("routing_key")))
        if service is None:
            raise InvalidEventError("'routing_key' is invalid")
        limit = simulator.faults.knobs.events_limit_per_minute
        allowance = simulator.limits.take({f"events {service.routing_key}": limit})
        if not allowance.allowed:
            text = "Requests for this service are arriving too quickly. Please retry later."
            return {"status": "throttle exceeded", "message": text}, 429
        check(event)
        dedup_key = event.get("dedup_key") or new_key()
        with simulator.account.lock:
            _process(simulator, service, event, dedup_key)
        return {"status": "success", "message": "Event processed", "dedup_key": dedup_key}, 202

    return api


def _read(text: str) -> Json:
    if len(text.encode()) > SIZE_LIMIT:
        raise InvalidEventError("Event is too large (maximum is 512 KB)")
    try:
        event = json.loads(text)
        event = json.loads(json.dumps(event, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise InvalidEventError("Event is not valid JSON") from None
    if not isinstance(event, dict):
        raise InvalidEventError("Event must be a JSON object")
    return event


def check(event: Json) -> None:
    """Raises InvalidEventError with every fault found. A payload is needed for a trigger only."""
    errors = []
    action, key = event.get("event_action"), event.get("dedup_key")
    if action not in ACTIONS:
        errors.append("'event_action' must be one of trigger, acknowledge, resolve")
    if key is not None and (not isinstance(key, str) or len(key) > DEDUP_KEY_LIMIT):
        errors.append(f"'dedup_key' must be a string of at most {DEDUP_KEY_LIMIT} characters")
    elif action in ("acknowledge", "resolve") and not key:
        errors.append("'dedup_key' is missing or blank")
    if action == "trigger":
        errors += _payload_errors(event.get("payload"))
    if errors:
        raise InvalidEventError(*errors)


def _payload_errors(payload: object) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing or blank"]
    errors = []
    for name in ("summary", "source", "severity"):
        if not isinstance(payload.get(name), str) or not payload[name].strip():
            errors.append(f"'payload.{name}' is missing or blank")
    if isinstance(payload.get("summary"), str) and len(payload["summary"]) > SUMMARY_LIMIT:
        errors.append(f"'summary' is too long (maiximum is {SUMMARY_LIMIT} characters)")  # PagerDuty's spelling
    if payload.get("severity") and payload["severity"] not in SEVERITIES:
        errors.append("'payload.severity' is invalid (must be one of critical, error, warning, info)")
    if payload.get("timestamp") is not None:
        try:
            parse_time(str(payload["timestamp"]))
        except (ValueError, OverflowError):
            errors.append("'payload.timestamp' is invalid")
    return errors


def _process(simulator: Simulator, service: Service, event: Json, dedup_key: str) -> None:
    client = {"name": str(event["client"]), "url": event.get("client_url")} if event.get("client") else None
    actor = Actor(Agent("integration", service.integration_id), "api", client=client)
    found = simulator.account.open_alert(service.id, dedup_key)
    if event["event_action"] == "trigger":
        if found is None:
            payload, now = event["payload"], simulator.clock.now()
            details = {name: value for name, value in payload.items() if name not in ("summary", "severity")}
            alert = Alert(
                new_id("Q", 14),
                dedup_key,
                payload["summary"],
                payload["severity"],
                "triggered",
                now,
                service.id,
                details,
            )
            simulator.incidents.trigger_alert(service.id, alert, actor)
    elif found is not None:
        incident, alert = found
        if event["event_action"] == "acknowledge":
            simulator.incidents.acknowledge_alert(incident, actor)
        else:
            simulator.incidents.resolve_alert(incident, alert, actor)
