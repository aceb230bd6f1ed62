"""The simulator's own controls under `/_sim`: faults, clock, what was sent and received. No part of PagerDuty."""

import json
from typing import Any

from flask import Blueprint, Response, jsonify, request

from .clock import webhook_time
from .faults import KnobError
from .model import Json, Subscription
from .simulator import Simulator
from .webhooks import to_text

LONGEST_STEP = 366 * 86_400


def blueprint(simulator: Simulator) -> Blueprint:
    control = Blueprint("control", __name__)
    faults, clock = simulator.faults, simulator.clock

    @control.errorhandler(KnobError)
    def bad_knob(error: KnobError) -> tuple[Response, int]:
        return jsonify({"error": str(error)}), 400

    @control.get("/healthz")
    def health() -> Json:
        return {"status": "ok"}

    @control.get("/_sim/faults")
    def get_faults() -> Json:
        """With `explain=1`, every knob says what it does."""
        return faults.explain() if request.args.get("explain") else faults.to_json()

    @control.put("/_sim/faults")
    def put_faults() -> Json:
        faults.change(_body())
        simulator.dispatcher.wake()
        return faults.to_json()

    @control.get("/_sim/clock")
    def get_clock() -> Json:
        return {"now": webhook_time(clock.now()), "offset_seconds": clock.offset}

    @control.post("/_sim/clock/advance")
    def advance() -> Json:
        seconds = _body().get("seconds")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= LONGEST_STEP:
            raise KnobError(f"seconds: must be a number from 0 to {LONGEST_STEP}")
        simulator.advance(float(seconds))
        return get_clock()

    @control.post("/_sim/deliver")
    def deliver() -> Any:
        """Sign the raw body as it is and send it to the active subscriptions, or to the one named.

        With `bad_signature` or `unsigned` it is an impostor's, whose dropped posts count against nobody.
        """
        named = request.args.get("subscription")
        targets = [s for s in simulator.subscriptions.all() if (s.id == named if named else s.active)]
        if named and not targets:
            return {"error": "subscription: no such subscription"}, 404
        signing = "unsigned" if request.args.get("unsigned") else "good"
        if request.args.get("bad_signature"):
            signing = "forged"
        body, webhook_id = to_text(request.get_data()), request.args.get("webhook_id")
        sent = [
            {"subscription_id": s.id, "webhook_id": simulator.dispatcher.deliver_raw(s, body, signing, webhook_id)}
            for s in targets
        ]
        return {"webhooks": sent}, 202

    @control.get("/_sim/deliveries")
    def deliveries() -> Json:
        """Every attempt, oldest first, and how many webhooks still wait."""
        names = ("subscription_id", "incident_id", "event_type", "webhook_id", "event_id", "outcome")
        pending = simulator.dispatcher.pending()
        return {"deliveries": simulator.deliveries.newest(*_rows(names)), "pending": len(pending)}

    @control.get("/_sim/requests")
    def requests() -> Json:
        """Every API call received, oldest first."""
        return {"requests": simulator.requests.newest(*_rows(("method", "path", "status", "key", "from")))}

    @control.post("/_sim/reset")
    def reset() -> Json:
        simulator.reset(keep_subscriptions=bool(_body().get("keep_subscriptions")))
        return {"status": "reset"}

    @control.get("/_sim/state")
    def state() -> Json:
        """All incidents with their notes, or `incident=ID` for one."""
        account, shapes = simulator.account, simulator.shapes
        with account.lock:
            wanted = request.args.get("incident")
            found = account.incidents.values() if wanted is None else filter(None, [account.incident(wanted)])
            incidents = [
                shapes.incident(incident, frozenset({"body", "custom_fields"}))
                | {"notes": [shapes.note(note) for note in incident.notes], "merged_into": incident.merged_into}
                for incident in found
            ]
        subscriptions = [shapes.subscription(s, clock.now()) for s in simulator.subscriptions.all()]
        return {"now": webhook_time(clock.now()), "incidents": incidents, "webhook_subscriptions": subscriptions}

    @control.delete("/_sim/incidents/<id_>")
    def delete(id_: str) -> Any:
        """An incident is gone, as when PagerDuty's support has removed it; nobody is told."""
        with simulator.account.lock:
            incident = simulator.account.incident(id_)
            if incident is None:
                return {"error": "no such incident"}, 404
            simulator.incidents.delete(incident)
        simulator.changed()
        return {"status": "deleted"}

    @control.post("/_sim/subscriptions/<id_>/disable")
    def disable(id_: str) -> Any:
        """As three dropped webhooks would: off for 24 hours, its queue gone."""
        subscription: Subscription | None = simulator.subscriptions.get(id_)
        if subscription is None:
            return {"error": "no such subscription"}, 404
        simulator.subscriptions.disable(subscription)
        simulator.dispatcher.discard(id_)
        simulator.changed()
        return {"webhook_subscription": simulator.shapes.subscription(subscription, clock.now())}

    return control


def _body() -> Json:
    try:
        body = json.loads(request.get_data() or b"{}")
    except (ValueError, RecursionError):
        raise KnobError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise KnobError("the body must be a JSON object")
    return body


def _rows(names: tuple[str, ...]) -> tuple[int, Any]:
    """The `limit` and the filter a query asks for; `after` gives the rows behind a `seq`."""
    try:
        limit, after = int(request.args.get("limit", "1000")), int(request.args.get("after", "0"))
    except ValueError:
        raise KnobError("limit and after: must be numbers") from None
    wanted = {name: request.args[name] for name in names if name in request.args}

    def matches(row: Json) -> bool:
        return row["seq"] > after and all(str(row[name]) == text for name, text in wanted.items())

    return max(1, limit), matches
