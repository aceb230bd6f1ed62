"""The webhook subscription operations of the REST API ("Webhook Subscriptions" API pages)."""

from flask import Blueprint, Response, jsonify, request

from .errors import invalid, not_found
from .gate import read_wrapped
from .model import Json, Subscription
from .paging import page
from .simulator import Simulator


def blueprint(simulator: Simulator) -> Blueprint:
    api = Blueprint("webhook_subscriptions", __name__, url_prefix="/webhook_subscriptions")
    subscriptions, dispatcher, clock = simulator.subscriptions, simulator.dispatcher, simulator.clock

    def find(id_: str) -> Subscription:
        subscription = subscriptions.get(id_)
        if subscription is None:
            raise not_found()
        return subscription

    def shape(subscription: Subscription) -> Json:
        return simulator.shapes.subscription(subscription, clock.now())

    @api.get("")
    def list_all() -> Json:
        kind, id_ = request.args.get("filter_type"), request.args.get("filter_id")
        if kind not in (None, "account", "service", "team"):
            raise invalid("Filter type must be account, service or team.")
        if kind in ("service", "team") and not id_:
            raise invalid("Filter id is required.")
        found = [
            s
            for s in subscriptions.all()
            if kind is None or (s.filter_type == kind and (kind == "account" or s.filter_id == id_))
        ]
        return page("webhook_subscriptions", found, shape)

    @api.post("")
    def create() -> tuple[Response, int]:
        """The only reply that shows the secret."""
        made = subscriptions.create(read_wrapped("webhook_subscription"))
        body = {"webhook_subscription": simulator.shapes.subscription(made, clock.now(), secret=True)}
        return jsonify(body), simulator.faults.knobs.subscription_create_status

    @api.get("/<id_>")
    def get(id_: str) -> Json:
        return {"webhook_subscription": shape(find(id_))}

    @api.put("/<id_>")
    def update(id_: str) -> Json:
        subscription = find(id_)
        subscriptions.update(subscription, read_wrapped("webhook_subscription"))
        return {"webhook_subscription": shape(subscription)}

    @api.delete("/<id_>")
    def delete(id_: str) -> Response:
        subscription = find(id_)
        subscriptions.delete(subscription)
        dispatcher.discard(subscription.id)
        return Response(status=204)

    @api.post("/<id_>/enable")
    def enable(id_: str) -> Json:
        """Ends a temporary disablement; what was discarded meanwhile does not come back."""
        subscription = find(id_)
        subscriptions.enable(subscription)
        return {"webhook_subscription": shape(subscription)}

    @api.post("/<id_>/ping")
    def ping(id_: str) -> Response:
        dispatcher.ping(find(id_))
        return Response(status=202)

    return api
