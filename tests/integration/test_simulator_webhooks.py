"""Webhooks over real sockets: signature, envelope, order, retries, drops, and what the faults do to them."""

import hashlib
import hmac
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.app import create_app
from pagerduty_sync.simulator.receiver import Received, Receiver
from pagerduty_sync.simulator.serve import in_thread
from pagerduty_sync.simulator.simulator import Simulator
from pagerduty_sync.simulator.subscriptions import EVENT_TYPES

SHARED = Path(os.environ.get("PAGERDUTY_SYNC_SHARED") or Path(__file__).parents[3] / "shared")
SAMPLES = SHARED / "samples" / "pagerduty-webhooks"
QUICK = {"retry_schedule": [0.02], "delivery_timeout_seconds": 0.4}
Json = dict[str, Any]


class World:
    """A served simulator, called as the bot user."""

    def __init__(self, url: str, simulator: Simulator) -> None:
        self.url, self.simulator = url, simulator
        self.http = requests.Session()
        self.http.headers.update({"Authorization": f"Token token={seeds.FULL_KEY}", "From": seeds.BOT_EMAIL})

    def call(self, method: str, path: str, body: Any = None) -> Any:
        reply = self.http.request(method, self.url + path, json=body)
        assert reply.ok, reply.text
        return reply.json() if reply.content else None

    def subscribe(self, receiver: Receiver, **fields: Any) -> Json:
        method = {"type": "http_delivery_method", "url": receiver.url} | fields.pop("method", {})
        wanted = {"type": "webhook_subscription", "delivery_method": method, "filter": {"type": "account_reference"}}
        body = {"webhook_subscription": wanted | {"events": sorted(EVENT_TYPES)} | fields}
        made: Json = self.call("POST", "/webhook_subscriptions", body)["webhook_subscription"]
        return made

    def subscription(self, id_: str) -> Json:
        shown: Json = self.call("GET", f"/webhook_subscriptions/{id_}")["webhook_subscription"]
        return shown

    def open(self, title: str = "x", service: str = seeds.CHECKOUT_SERVICE_ID) -> str:
        wanted = {"type": "incident", "title": title, "service": {"id": service, "type": "service_reference"}}
        return str(self.call("POST", "/incidents", {"incident": wanted})["incident"]["id"])

    def put(self, id_: str, **fields: Any) -> None:
        self.call("PUT", f"/incidents/{id_}", {"incident": {"type": "incident_reference"} | fields})

    def note(self, id_: str, content: str) -> str:
        return str(self.call("POST", f"/incidents/{id_}/notes", {"note": {"content": content}})["note"]["id"])

    def deliveries(self, **query: Any) -> list[Json]:
        rows: list[Json] = self.http.get(f"{self.url}/_sim/deliveries", params=query).json()["deliveries"]
        return rows

    def settled(self) -> None:
        eventually(lambda: not self.simulator.dispatcher.pending())


def eventually(holds: Callable[[], object], timeout: float = 5.0) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


@pytest.fixture
def world() -> Iterator[World]:
    app = create_app(knobs=QUICK)
    with in_thread(app) as url:
        yield World(url, app.extensions["simulator"])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def answering(*statuses: int) -> Callable[[Received], int]:
    """These statuses in turn, the last for ever."""
    left = list(statuses)
    return lambda received: left.pop(0) if len(left) > 1 else left[0]


# The request


def test_the_signature_is_the_hmac_of_the_raw_bytes(world: World, receiver: Receiver) -> None:
    made = world.subscribe(receiver, method={"custom_headers": [{"name": "X-Who", "value": "me"}]})
    secret = made["delivery_method"]["secret"]
    world.open("Zahlung schlägt fehl ✓")
    (received,) = receiver.wait_for(1)
    expected = hmac.new(secret.encode(), received.body, hashlib.sha256).hexdigest()
    assert received.headers["x-pagerduty-signature"] == f"v1={expected}"
    assert received.headers["x-webhook-subscription"] == made["id"]
    assert received.headers["user-agent"] == "PagerDuty-Webhook/V3.0"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["x-who"] == "me"
    assert received.headers["x-webhook-id"]


def test_the_secret_and_header_values_are_shown_once(world: World, receiver: Receiver) -> None:
    made = world.subscribe(receiver, method={"custom_headers": [{"name": "X-Who", "value": "me"}]})
    method = world.subscription(made["id"])["delivery_method"]
    assert method["secret"] is None
    assert method["custom_headers"] == [{"name": "X-Who", "value": "-- redacted --"}]


@pytest.mark.parametrize("first", [False, True])
def test_a_second_secret_adds_a_second_signature(world: World, receiver: Receiver, first: bool) -> None:
    secret = world.subscribe(receiver)["delivery_method"]["secret"]
    world.simulator.faults.change({"second_secret": "other", "second_secret_first": first})
    world.open()
    (received,) = receiver.wait_for(1)
    values = [hmac.new(key, received.body, hashlib.sha256).hexdigest() for key in (secret.encode(), b"other")]
    expected = ",".join(f"v1={value}" for value in (reversed(values) if first else values))
    assert received.headers["x-pagerduty-signature"] == expected


def keys_of(value: Any) -> Any:
    """The shape of a body: its keys, in order, all the way down; references to people may be absent."""
    return {key: keys_of(inner) for key, inner in value.items()} if isinstance(value, dict) else None


@pytest.mark.skipif(
    not SAMPLES.is_dir(), reason=f"no samples at {SAMPLES}; PAGERDUTY_SYNC_SHARED names the folder above"
)
@pytest.mark.parametrize(
    "event_type",
    [
        "incident.reopened",
        "incident.priority_updated",
        "incident.annotated",
        "incident.status_update_published",
        "incident.conference_bridge.updated",
    ],
)
def test_the_envelope_has_the_keys_of_real_deliveries(world: World, receiver: Receiver, event_type: str) -> None:
    world.subscribe(receiver, events=[event_type])
    id_ = world.open()
    match event_type.removeprefix("incident."):
        case "reopened":
            world.simulator.faults.change({"acknowledged_follows_reopen": True})
            world.put(id_, priority="P2")
            world.put(id_, status="resolved")
            world.put(id_, status="acknowledged")
        case "priority_updated":
            world.put(id_, priority="P2")
        case "annotated":
            world.note(id_, "Looking into it")
        case "status_update_published":
            world.call("POST", f"/incidents/{id_}/status_updates", {"message": "Nearly there"})
        case _:
            world.put(id_, conference_bridge={"conference_url": "https://bridge.example/1"})
    (received,) = receiver.wait_for(1)
    sample = json.loads((SAMPLES / f"{event_type}.json").read_text())
    assert keys_of(json.loads(received.body)) == keys_of(sample)
    assert list(received.event) == list(sample["event"])
    assert list(received.event["data"]) == list(sample["event"]["data"])
    assert len(received.event["occurred_at"]) == len(sample["event"]["occurred_at"])


@pytest.mark.skipif(
    not SAMPLES.is_dir(), reason=f"no samples at {SAMPLES}; PAGERDUTY_SYNC_SHARED names the folder above"
)
def test_a_ping_is_pageys(world: World, receiver: Receiver) -> None:
    made = world.subscribe(receiver)
    assert world.http.post(f"{world.url}/webhook_subscriptions/{made['id']}/ping").status_code == 202
    (received,) = receiver.wait_for(1)
    sample = json.loads((SAMPLES / "pagey.ping.json").read_text())["event"]
    volatile = ("id", "occurred_at")
    assert {**received.event, **dict.fromkeys(volatile)} == {**sample, **dict.fromkeys(volatile)}


def test_a_ping_is_lost_like_any_other_webhook(world: World, receiver: Receiver) -> None:
    made = world.subscribe(receiver)
    world.simulator.faults.change({"webhook_drop": {"next": 1}})
    ping = f"{world.url}/webhook_subscriptions/{made['id']}/ping"
    assert [world.http.post(ping).status_code for _ in range(2)] == [202, 202]
    receiver.wait_for(1)
    eventually(lambda: [row["outcome"] for row in world.deliveries()] == ["lost_by_fault", "delivered"])
    assert receiver.event_types == ["pagey.ping"]


def test_a_note_keeps_its_id_from_rest_to_webhook(world: World, receiver: Receiver) -> None:
    world.subscribe(receiver, events=["incident.annotated"])
    note_id = world.note(world.open(), "hello")
    (received,) = receiver.wait_for(1)
    assert received.event["data"]["id"] == note_id


@pytest.mark.parametrize("shared", [True, False])
def test_two_subscriptions_get_two_webhooks_of_one_event(world: World, receiver: Receiver, shared: bool) -> None:
    world.simulator.faults.change({"shared_event_id": shared})
    world.subscribe(receiver)
    world.subscribe(receiver)
    world.open()
    both = receiver.wait_for(2)
    assert len({received.headers["x-webhook-id"] for received in both}) == 2
    assert len({received.event["id"] for received in both}) == (1 if shared else 2)


# To whom


@pytest.mark.parametrize(
    ("fields", "hears"),
    [
        pytest.param({}, True, id="the whole account"),
        pytest.param(
            {"filter": {"type": "service_reference", "id": seeds.CHECKOUT_SERVICE_ID}}, True, id="its service"
        ),
        pytest.param({"filter": {"type": "service_reference", "id": seeds.PAYMENTS_SERVICE_ID}}, False, id="another's"),
        pytest.param({"filter": {"type": "team_reference", "id": seeds.ENGINEERING_ID}}, True, id="its team"),
        pytest.param({"filter": {"type": "team_reference", "id": seeds.PAYMENTS_TEAM_ID}}, False, id="another team"),
        pytest.param({"events": ["incident.resolved"]}, False, id="another event"),
        pytest.param({"active": False}, False, id="not active"),
    ],
)
def test_a_subscription_hears_of_an_incident_when_it_is_for(
    world: World, receiver: Receiver, fields: Json, hears: bool
) -> None:
    world.subscribe(receiver, **fields)
    world.open()
    world.settled()
    assert receiver.event_types == (["incident.triggered"] if hears else [])


@pytest.mark.parametrize(("reaches", "old_hears"), [("both", True), ("new", False)])
def test_a_move_takes_the_incident_out_of_a_service_scope(
    world: World, receiver: Receiver, reaches: str, old_hears: bool
) -> None:
    world.simulator.faults.change({"service_updated_reaches": reaches})
    world.subscribe(receiver, filter={"type": "service_reference", "id": seeds.CHECKOUT_SERVICE_ID})
    id_ = world.open()
    world.put(id_, service={"id": seeds.PAYMENTS_SERVICE_ID, "type": "service_reference"})
    world.put(id_, status="resolved")
    world.settled()
    assert receiver.event_types == ["incident.triggered", *["incident.service_updated"] * old_hears]


TWICE = [{"name": "A", "value": "1"}, {"name": "a", "value": "2"}]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"events": []}, id="no events"),
        pytest.param({"events": ["incident.exploded"]}, id="an unknown event"),
        pytest.param({"events": ["pagey.ping"]}, id="the ping"),
        pytest.param({"filter": {"type": "service_reference"}}, id="a service without id"),
        pytest.param({"filter": {"type": "service_reference", "id": "PNONE00"}}, id="an unknown service"),
        pytest.param({"filter": {"type": "user_reference", "id": seeds.ADA_ID}}, id="a user"),
        pytest.param({"method": {"url": "ftp://x"}}, id="another scheme"),
        pytest.param({"method": {"type": "email"}}, id="another method"),
        pytest.param({"method": {"custom_headers": TWICE}}, id="a header twice"),
    ],
)
def test_a_subscription_is_refused_for(world: World, receiver: Receiver, fields: Json) -> None:
    with pytest.raises(AssertionError, match=r'"code":2001'):
        world.subscribe(receiver, **fields)
    assert world.call("GET", "/webhook_subscriptions")["webhook_subscriptions"] == []


def test_the_eleventh_subscription_of_a_scope_is_refused(world: World, receiver: Receiver) -> None:
    for _ in range(10):
        world.subscribe(receiver)
    with pytest.raises(AssertionError, match=r'limit exceeded.*"code":2019'):
        world.subscribe(receiver)
    world.subscribe(receiver, filter={"type": "service_reference", "id": seeds.CHECKOUT_SERVICE_ID})
    found = world.call("GET", "/webhook_subscriptions?filter_type=account&total=true")
    assert found["total"] == 10


def test_an_update_leaves_the_delivery_method_alone(world: World, receiver: Receiver) -> None:
    id_ = world.subscribe(receiver)["id"]
    fields = {"description": "new", "active": False, "delivery_method": {"url": "http://elsewhere.example/"}}
    world.call("PUT", f"/webhook_subscriptions/{id_}", {"webhook_subscription": fields})
    after = world.subscription(id_)
    assert (after["description"], after["active"], after["delivery_method"]["url"]) == ("new", False, receiver.url)
    assert world.http.delete(f"{world.url}/webhook_subscriptions/{id_}").status_code == 204
    assert world.http.get(f"{world.url}/webhook_subscriptions/{id_}").status_code == 404


# When it does not work


@pytest.mark.parametrize("bad", [429, 500, 503, -1], ids=["429", "500", "503", "a dropped connection"])
def test_it_is_tried_again_with_the_same_id_and_bytes_after(world: World, receiver: Receiver, bad: int) -> None:
    receiver.answer = answering(bad, bad, 202)
    world.subscribe(receiver)
    world.open()
    tries = receiver.wait_for(3)
    assert len({(received.headers["x-webhook-id"], received.body) for received in tries}) == 1
    world.settled()
    assert [row["outcome"] for row in world.deliveries()] == ["retry", "retry", "delivered"]
    assert [row["attempt"] for row in world.deliveries()] == [1, 2, 3]


def test_an_answer_that_takes_too_long_is_none(world: World, receiver: Receiver) -> None:
    world.simulator.faults.change({"delivery_timeout_seconds": 0.1})
    first = threading.Event()

    def slow_once(received: Received) -> int:
        if not first.is_set():
            first.set()
            time.sleep(0.25)
        return 202

    receiver.answer = slow_once
    world.subscribe(receiver)
    world.open()
    receiver.wait_for(2)
    world.settled()
    assert [row["outcome"] for row in world.deliveries()] == ["retry", "delivered"]
    assert world.deliveries()[0]["error"] == "ReadTimeout"


@pytest.mark.parametrize("bad", [400, 401, 404, 410, 302])
def test_it_is_dropped_at_once_after(world: World, receiver: Receiver, bad: int) -> None:
    receiver.answer = answering(bad, 202)
    world.subscribe(receiver)
    id_ = world.open()
    world.put(id_, status="resolved")
    receiver.wait_for(2)
    world.settled()
    assert receiver.event_types == ["incident.triggered", "incident.resolved"]
    assert [row["outcome"] for row in world.deliveries()] == ["dropped", "delivered"]


def test_later_events_of_an_incident_wait_and_those_of_another_do_not(world: World, receiver: Receiver) -> None:
    stuck: list[str] = []
    receiver.answer = lambda received: 503 if received.event["data"]["id"] in stuck else 202
    world.subscribe(receiver)
    slow = world.open("slow")
    receiver.wait_for(1)
    stuck.append(slow)
    world.put(slow, status="acknowledged")
    world.put(slow, status="resolved")
    other = world.open("other")
    world.put(other, status="resolved")

    def of(incident: str) -> list[str]:
        rows = world.deliveries(incident_id=incident, outcome="delivered")
        return [row["event_type"].removeprefix("incident.") for row in rows]

    eventually(lambda: of(other) == ["triggered", "resolved"])
    assert of(slow) == ["triggered"]
    stuck.clear()
    world.settled()
    assert of(slow) == ["triggered", "acknowledged", "resolved"]


def test_order_is_kept_for_every_incident_when_many_change_at_once(world: World, receiver: Receiver) -> None:
    receiver.answer = lambda received: 503 if hash(received.body) % 5 == len(receiver.received) % 5 else 202
    world.subscribe(receiver)
    ids = [world.open(f"n{number}") for number in range(10)]
    for status in ("acknowledged", "resolved", "triggered"):
        items = [{"id": id_, "type": "incident_reference", "status": status} for id_ in ids]
        world.call("PUT", "/incidents", {"incidents": items})
    world.settled()
    expected = [f"incident.{name}" for name in ("triggered", "acknowledged", "resolved", "reopened")]
    for id_ in ids:
        rows = world.deliveries(incident_id=id_, outcome="delivered")
        assert [row["event_type"] for row in rows] == expected


def test_a_slow_receiver_does_not_hold_up_another(world: World, receiver: Receiver) -> None:
    released = threading.Event()

    def wait(received: Received) -> int:
        released.wait(0.35)
        return 202

    with Receiver(wait) as slow:
        world.subscribe(slow)
        for number in range(12):
            world.open(f"n{number}")
        slow.wait_for(6)
        started = time.monotonic()
        world.subscribe(receiver, filter={"type": "service_reference", "id": seeds.PAYMENTS_SERVICE_ID})
        world.open("quick", seeds.PAYMENTS_SERVICE_ID)
        receiver.wait_for(1)
        assert time.monotonic() - started < 0.3
        released.set()
        world.settled()


def test_three_drops_in_a_row_switch_the_subscription_off_for_a_day(world: World, receiver: Receiver) -> None:
    receiver.answer = answering(404, 404, 202, 404, 404, 404, 202)
    id_ = world.subscribe(receiver)["id"]
    for number in range(5):
        world.open(f"n{number}")
        receiver.wait_for(number + 1)
        world.settled()
        assert world.subscription(id_)["delivery_method"]["temporarily_disabled"] is False
    world.open("the sixth")
    receiver.wait_for(6)
    eventually(lambda: world.subscription(id_)["delivery_method"]["temporarily_disabled"])
    world.open("while it is off")
    world.simulator.advance(23 * 3600)
    world.open("still off")
    world.simulator.advance(3601)
    assert world.subscription(id_)["delivery_method"]["temporarily_disabled"] is False
    world.open("on again")
    receiver.wait_for(7)
    world.settled()
    assert [received.event["data"]["title"] for received in receiver.received[6:]] == ["on again"]


def test_switched_off_it_loses_its_queue_and_enable_switches_it_on(world: World, receiver: Receiver) -> None:
    receiver.answer = answering(503)
    id_ = world.subscribe(receiver)["id"]
    world.open("queued")
    receiver.wait_for(1)
    world.http.post(f"{world.url}/_sim/subscriptions/{id_}/disable")
    world.settled()
    receiver.answer = answering(202)
    world.open("lost")
    enabled = world.call("POST", f"/webhook_subscriptions/{id_}/enable")["webhook_subscription"]
    assert enabled["delivery_method"]["temporarily_disabled"] is False
    before = len(receiver.received)
    world.open("heard")
    receiver.wait_for(before + 1)
    assert receiver.received[-1].event["data"]["title"] == "heard"


def test_after_48_hours_a_webhook_is_given_up_and_the_next_goes_out(world: World, receiver: Receiver) -> None:
    receiver.answer = answering(503)
    world.subscribe(receiver)
    world.simulator.faults.change({"retry_schedule": [3600]})
    id_ = world.open("old")
    eventually(lambda: len(world.deliveries(outcome="retry")) == 1)
    world.simulator.advance(3601)
    eventually(lambda: len(world.deliveries(outcome="retry")) == 2)
    world.simulator.advance(47 * 3600)
    world.settled()
    assert [row["outcome"] for row in world.deliveries()] == ["retry", "retry", "expired"]
    receiver.answer = answering(202)
    world.put(id_, status="resolved")
    receiver.wait_for(3)
    assert receiver.event_types[-1] == "incident.resolved"


def test_a_receiver_that_was_down_gets_everything_once_it_is_up(world: World) -> None:
    with Receiver() as gone:
        world.subscribe(gone)
        port = int(gone.url.rsplit(":", 1)[1].split("/")[0])
    id_ = world.open()
    world.put(id_, status="resolved")
    eventually(lambda: len(world.deliveries(outcome="retry")) >= 2)
    with Receiver(port=port) as back:
        back.wait_for(2)
        assert back.event_types == ["incident.triggered", "incident.resolved"]
    assert world.deliveries(outcome="retry")[0]["error"] == "ConnectionError"


# Faults


def test_webhooks_can_be_dropped_doubled_delayed_and_reordered(world: World, receiver: Receiver) -> None:
    world.subscribe(receiver)
    change = world.simulator.faults.change
    change({"webhook_drop": {"next": 1, "match": {"event_type": "incident.triggered"}}})
    id_ = world.open()
    change({"webhook_duplicate": {"next": 1}})
    world.put(id_, status="acknowledged")
    twice = receiver.wait_for(2)
    assert twice[0].headers["x-webhook-id"] == twice[1].headers["x-webhook-id"]
    change({"webhook_reorder": {"next": 1, "seconds": 0.2}})
    world.put(id_, status="resolved")
    world.note(id_, "after")
    receiver.wait_for(4)
    names = [name.removeprefix("incident.") for name in receiver.event_types]
    assert names == ["acknowledged", "acknowledged", "annotated", "resolved"]
    change({"webhook_delay": {"next": 1, "seconds": 0.15}})
    started = time.monotonic()
    world.note(id_, "slow")
    world.note(id_, "behind it")
    receiver.wait_for(6)
    assert time.monotonic() - started >= 0.15
    assert [received.event["data"]["content"] for received in receiver.received[4:]] == ["slow", "behind it"]
    assert world.deliveries()[0]["outcome"] == "lost_by_fault"


def test_a_webhook_can_be_signed_wrongly(world: World, receiver: Receiver) -> None:
    secret = world.subscribe(receiver)["delivery_method"]["secret"]
    world.simulator.faults.change({"webhook_bad_signature": {"next": 1}})
    world.open()
    (received,) = receiver.wait_for(1)
    right = hmac.new(secret.encode(), received.body, hashlib.sha256).hexdigest()
    assert received.headers["x-pagerduty-signature"].startswith("v1=")
    assert right not in received.headers["x-pagerduty-signature"]


def test_raw_bodies_go_out_as_they_are(world: World, receiver: Receiver) -> None:
    made = world.subscribe(receiver)
    raw, secret = b'{"event":\xff not JSON', made["delivery_method"]["secret"]
    world.http.post(f"{world.url}/_sim/deliver", data=raw)
    world.http.post(f"{world.url}/_sim/deliver?bad_signature=1&subscription={made['id']}&webhook_id=w1", data=raw)
    world.http.post(f"{world.url}/_sim/deliver?unsigned=1", data=raw)
    good, bad, unsigned = receiver.wait_for(3)
    signature = "v1=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    assert [received.body for received in (good, bad, unsigned)] == [raw] * 3
    assert good.headers["x-pagerduty-signature"] == signature
    assert bad.headers["x-pagerduty-signature"] != signature
    assert bad.headers["x-webhook-id"] == "w1"
    assert "x-pagerduty-signature" not in unsigned.headers
    assert world.http.post(f"{world.url}/_sim/deliver?subscription=PNONE00", data=raw).status_code == 404


def test_an_impostors_posts_do_not_count_as_drops(world: World, receiver: Receiver) -> None:
    receiver.answer = answering(401)
    id_ = world.subscribe(receiver)["id"]
    for _ in range(4):
        world.http.post(f"{world.url}/_sim/deliver?bad_signature=1", data=b"{}")
    receiver.wait_for(4)
    world.settled()
    assert world.subscription(id_)["delivery_method"]["temporarily_disabled"] is False


def test_a_timer_runs_out_by_itself(world: World, receiver: Receiver) -> None:
    world.subscribe(receiver, events=["incident.unacknowledged"])
    id_ = world.open()
    world.call("POST", f"/incidents/{id_}/snooze", {"duration": 1})
    (received,) = receiver.wait_for(1)
    assert received.event["agent"] is None
