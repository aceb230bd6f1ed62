"""Delivers webhooks by the rules of PagerDuty's "Webhook Behavior" page: order, retries, drops, three strikes.

A lane is one subscription and one incident. Only the head of a lane is ever under way, so order is kept within a lane,
while lanes run side by side. Knows nothing of incidents; it carries bytes.
"""

import heapq
import itertools
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable

import requests

from .clock import Clock, webhook_time
from .faults import Faults
from .journal import Ring
from .model import Event, Subscription, Webhook
from .subscriptions import Subscriptions
from .webhooks import SIZE_LIMIT, describe, encode, judge, new_event_id, sign, to_bytes

log = logging.getLogger(__name__)

WORKERS = 8
MOST_WORKERS_FOR_ONE = 6  # of one subscription, so that a slow receiver leaves room for the others


class Dispatcher:
    """The queue and its threads. `start` once per process; `stop` keeps what is not yet delivered."""

    def __init__(
        self, clock: Clock, faults: Faults, subscriptions: Subscriptions, deliveries: Ring, changed: Callable[[], None]
    ) -> None:
        self._clock, self._faults, self._subscriptions = clock, faults, subscriptions
        self._deliveries, self._changed = deliveries, changed
        self._wake = threading.Condition()
        self._lanes: dict[str, deque[Webhook]] = {}
        self._ready: list[tuple[float, int, str]] = []
        self._parked: dict[str, list[str]] = {}
        self._under_way: dict[str, int] = {}
        self._sequence = itertools.count()
        self._threads: list[threading.Thread] = []
        self._stopping = False

    # Taking in

    def emit(self, event: Event) -> None:
        """Queue one event for every subscription that asked for it; a switched-off one gets nothing, now or later."""
        shared_id = new_event_id()
        for subscription in self._subscriptions.interested(event):
            event_id = shared_id if self._faults.knobs.shared_event_id else new_event_id()
            self._queue(subscription, event, event_id)

    def _queue(self, subscription: Subscription, event: Event, event_id: str) -> None:
        webhook = self._make(
            subscription, event.resource_id, event.event_type, event_id, event.resource_id, encode(event, event_id)
        )
        facts = {"event_type": event.event_type, "subscription": subscription.id, "incident": event.resource_id}
        if len(to_bytes(webhook.body)) > SIZE_LIMIT:
            self._note(webhook, subscription, "too_large")
            return
        if self._faults.strikes("webhook_drop", **facts):
            self._note(webhook, subscription, "lost_by_fault")
            return
        if self._faults.strikes("webhook_bad_signature", **facts):
            webhook.signing = "bad"
        if rule := self._faults.strikes("webhook_delay", **facts):
            webhook.not_before += rule.options["seconds"]
        if rule := self._faults.strikes("webhook_reorder", **facts):
            webhook.lane, webhook.not_before = webhook.id, webhook.created_at + rule.options["seconds"]
        copies = 2 if self._faults.strikes("webhook_duplicate", **facts) else 1
        for _ in range(copies):
            self.put(Webhook(**vars(webhook)))

    def ping(self, subscription: Subscription) -> None:
        """A signed `pagey.ping` ("Webhooks" support page shows its body), which is lost like any other webhook."""
        data = {"message": "Hello from your friend Pagey!", "type": "ping"}
        none: frozenset[str] = frozenset()
        event = Event("pagey.ping", "pagey", self._clock.now(), None, None, data, "pagey", none, none)
        event_id = new_event_id()
        webhook = self._make(subscription, "pagey", event.event_type, event_id, None, encode(event, event_id))
        if self._faults.strikes("webhook_drop", event_type=event.event_type, subscription=subscription.id):
            self._note(webhook, subscription, "lost_by_fault")
            return
        self.put(webhook)

    def deliver_raw(self, subscription: Subscription, body: str, signing: str, webhook_id: str | None = None) -> str:
        """Send these bytes as a webhook of this subscription; returns its X-Webhook-Id."""
        event_type, event_id, incident_id = describe(body)
        lane = incident_id or "raw"
        webhook = self._make(subscription, lane, event_type, event_id, incident_id, body, webhook_id)
        webhook.signing = signing
        self.put(webhook)
        return webhook.id

    def _make(
        self,
        subscription: Subscription,
        lane: str,
        event_type: str,
        event_id: str,
        incident_id: str | None,
        body: str,
        webhook_id: str | None = None,
    ) -> Webhook:
        now, id_ = self._clock.now(), webhook_id or str(uuid.uuid4())
        lane = f"{subscription.id}/{lane}"
        return Webhook(id_, subscription.id, lane, event_type, event_id, incident_id, body, now, now)

    def put(self, webhook: Webhook) -> None:
        with self._wake:
            lane = self._lanes.setdefault(webhook.lane, deque())
            lane.append(webhook)
            if len(lane) == 1:
                self._schedule(webhook)

    def _schedule(self, webhook: Webhook) -> None:
        heapq.heappush(self._ready, (webhook.not_before, next(self._sequence), webhook.lane))
        self._wake.notify()

    # Threads

    def start(self) -> None:
        if self._threads:
            return
        self._stopping = False
        for number in range(WORKERS):
            thread = threading.Thread(target=self._work, name=f"webhooks-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        deadline = time.monotonic() + 1.0
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))
        self._threads = []

    def wake(self) -> None:
        """The clock has moved: look again at what is due."""
        with self._wake:
            self._wake.notify_all()

    def _work(self) -> None:
        session = requests.Session()
        session.trust_env = False  # no proxy between us and a receiver on this machine
        while (webhook := self._take()) is not None:
            try:
                outcome = self._attempt(session, webhook)
            except Exception:
                log.exception("webhook=%s outcome=crashed", webhook.id)
                outcome = "dropped"
            self._finish(webhook, outcome)

    def _take(self) -> Webhook | None:
        """Wait for a lane whose head is due; None when stopping."""
        with self._wake:
            while not self._stopping:
                now = self._clock.now()
                if not self._ready or self._ready[0][0] > now:
                    self._wake.wait(min(self._ready[0][0] - now, 1.0) if self._ready else 1.0)
                    continue
                _, _, lane = heapq.heappop(self._ready)
                if not self._lanes.get(lane):
                    continue
                head = self._lanes[lane][0]
                if self._under_way.get(head.subscription_id, 0) >= MOST_WORKERS_FOR_ONE:
                    self._parked.setdefault(head.subscription_id, []).append(lane)
                    continue
                self._under_way[head.subscription_id] = self._under_way.get(head.subscription_id, 0) + 1
                return head
        return None

    def _finish(self, webhook: Webhook, outcome: str) -> None:
        with self._wake:
            self._under_way[webhook.subscription_id] -= 1
            self._unpark(webhook.subscription_id)
            lane = self._lanes.get(webhook.lane)
            # Discarded meanwhile, or a fresh lane of the same name: not ours to touch.
            if lane and lane[0] is webhook:
                if outcome != "retry":
                    lane.popleft()
                if lane:
                    self._schedule(lane[0])
                else:
                    del self._lanes[webhook.lane]
        self._changed()

    def _unpark(self, subscription_id: str) -> None:
        parked = self._parked.get(subscription_id, [])
        while parked:
            if lane := self._lanes.get(parked.pop(0)):
                self._schedule(lane[0])
                return

    # One attempt

    def _attempt(self, session: requests.Session, webhook: Webhook) -> str:
        subscription = self._subscriptions.get(webhook.subscription_id)
        if subscription is None:
            return "discarded"
        knobs, now = self._faults.knobs, self._clock.now()
        if now > webhook.created_at + knobs.retry_window_seconds:
            self._note(webhook, subscription, "expired")
            return "expired"
        webhook.attempts += 1
        status, error, seconds = self._post(session, subscription, webhook)
        outcome = judge(status)
        if outcome == "retry":
            wait = knobs.retry_schedule[min(webhook.attempts, len(knobs.retry_schedule)) - 1]
            webhook.not_before = self._clock.now() + wait
        self._note(webhook, subscription, outcome, status, error, seconds)
        if outcome == "delivered":
            subscription.strikes = 0
        elif outcome == "dropped" and webhook.signing in ("good", "bad") and self._subscriptions.strike(subscription):
            log.info("subscription=%s temporarily_disabled", subscription.id)
            self.discard(subscription.id)
        return outcome

    def _post(
        self, session: requests.Session, subscription: Subscription, webhook: Webhook
    ) -> tuple[int | None, str | None, float]:
        body = to_bytes(webhook.body)
        timeout = self._faults.knobs.delivery_timeout_seconds
        started = time.monotonic()
        try:
            reply = session.post(
                subscription.url,
                data=body,
                headers=self._headers(subscription, webhook, body),
                timeout=timeout,
                allow_redirects=False,
            )
            status, error = reply.status_code, None
        except requests.RequestException as exc:
            status, error = None, type(exc).__name__
        seconds = time.monotonic() - started
        if seconds > timeout and status is not None:
            status, error = None, "Timeout"
        return status, error, seconds

    def _headers(self, subscription: Subscription, webhook: Webhook, body: bytes) -> dict[str, str]:
        """As on the "Webhook Behavior" and "Verifying Signatures" pages; several signatures are joined by commas."""
        headers = {header["name"]: header["value"] for header in subscription.custom_headers}
        headers |= {
            "Content-Type": "application/json",
            "User-Agent": "PagerDuty-Webhook/V3.0",
            "X-Webhook-Id": webhook.id,
            "X-Webhook-Subscription": subscription.id,
        }
        if webhook.signing in ("bad", "forged"):
            headers["X-PagerDuty-Signature"] = sign("not the secret", body)
        elif webhook.signing == "good":
            values = [sign(subscription.secret, body)]
            if extra := self._faults.knobs.second_secret:
                values.insert(0 if self._faults.knobs.second_secret_first else 1, sign(extra, body))
            headers["X-PagerDuty-Signature"] = ",".join(values)
        return headers

    def _note(
        self,
        webhook: Webhook,
        subscription: Subscription,
        outcome: str,
        status: int | None = None,
        error: str | None = None,
        seconds: float = 0.0,
    ) -> None:
        milliseconds = round(seconds * 1000, 1)
        self._deliveries.add(
            {
                "at": webhook_time(self._clock.now()),
                "webhook_id": webhook.id,
                "event_id": webhook.event_id,
                "event_type": webhook.event_type,
                "subscription_id": subscription.id,
                "incident_id": webhook.incident_id,
                "attempt": webhook.attempts,
                "outcome": outcome,
                "status": status,
                "error": error,
                "duration_ms": milliseconds,
                "url": subscription.url,
            }
        )
        log.info(
            "webhook=%s type=%s subscription=%s incident=%s attempt=%d outcome=%s status=%s ms=%s",
            webhook.id, webhook.event_type, subscription.id, webhook.incident_id, webhook.attempts, outcome,
            status or error, milliseconds,
        )  # fmt: skip

    # Looking in

    def discard(self, subscription_id: str | None = None) -> None:
        """Forget everything queued, of one subscription or of all."""
        with self._wake:
            for name, lane in list(self._lanes.items()):
                if subscription_id is None or lane[0].subscription_id == subscription_id:
                    del self._lanes[name]

    def pending(self) -> list[Webhook]:
        with self._wake:
            return [webhook for lane in self._lanes.values() for webhook in lane]
