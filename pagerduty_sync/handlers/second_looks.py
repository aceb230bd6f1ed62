"""What an attempt of the log, or a stored webhook, would be looked at for today: which link, which change, or why not.

Reads only. The rules are those of a first look; only the signature of what was believed once is not asked for again,
because its secret may have been exchanged since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pagerduty_sync.domain.deliveries import Delivery, Direction, Reason, outcome_of
from pagerduty_sync.domain.incidents import IncidentEvent
from pagerduty_sync.domain.links import Link, LinkState
from pagerduty_sync.errors import PayloadError, SecretError, SignatureError
from pagerduty_sync.handlers.inbound import link_of, reason_to_pass
from pagerduty_sync.pagerduty.schemas import parse_event
from pagerduty_sync.pagerduty.signature import verify
from pagerduty_sync.stores.inbox import InboxRow
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.links import Links
from pagerduty_sync.stores.replays import Change, Replays
from pagerduty_sync.stores.subscriptions import Subscriptions

LONGEST_CHAIN = 10
"""Replays of replays lead back to the first attempt; further back nobody looks."""


class Result(StrEnum):
    """What became of one thing that was to be tried again."""

    QUEUED = "queued"  # its link, or its Case, gets a look
    NOTHING = "nothing"  # looked at, and nothing would come of a second look
    IMPOSSIBLE = "impossible"  # it cannot be tried again
    BUSY = "busy"  # a worker has the link just now


@dataclass(frozen=True, slots=True)
class Chosen:
    """One thing to be tried again: an attempt of the log, a webhook in quarantine, or both."""

    delivery: Delivery | None = None
    inbox_id: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One chosen thing as it stands today. With a `link` it gets a look there; else `change` is routed anew."""

    tried: Delivery
    result: Result
    row: InboxRow | None = None
    event: IncidentEvent | None = None
    change: Change | None = None
    link: Link | None = None
    reason: str = ""
    detail: str = ""
    notification_id: int | None = None

    @property
    def source_id(self) -> str | None:
        """The line of the Case's timeline it is about."""
        return self.change.timeline_event_id if self.change else None

    def with_nothing(self, reason: Reason, detail: str = "") -> Target:
        return replace(self, result=Result.NOTHING, reason=reason.value, detail=detail)

    def waits(self) -> Target:
        return replace(self, result=Result.NOTHING, reason="waits", detail="it waits to be looked at already")

    def impossible(self, why: str) -> Target:
        return replace(self, result=Result.IMPOSSIBLE, detail=why)

    def with_event(self, notification_id: int, detail: str) -> Target:
        """An event of the one-way path is to be sent again."""
        return replace(self, notification_id=notification_id, detail=detail)


class SecondLooks:
    def __init__(
        self,
        *,
        replays: Replays,
        links: Links,
        integrations: Integrations,
        subscriptions: Subscriptions,
        of_event: Callable[[Delivery], Target],
    ) -> None:
        self._replays = replays
        self._links = links
        self._integrations = integrations
        self._subscriptions = subscriptions
        self._of_event = of_event

    def targets(self, chosen: Sequence[Chosen]) -> list[Target]:
        """Each chosen thing as it stands today, in the order given."""
        originals = self._originals([one.delivery for one in chosen if one.delivery is not None])
        causes = [originals[one.delivery.id].cause for one in chosen if one.delivery is not None]
        inbox_ids = _numbers("inbox", causes) + [one.inbox_id for one in chosen if one.inbox_id is not None]
        rows = self._replays.webhooks(inbox_ids)
        changes = self._replays.changes(_numbers("case_event", causes))
        found = []
        for one in chosen:
            if one.delivery is not None:
                tried = originals[one.delivery.id]
                target = self._of_delivery(tried, rows, changes)
                # The attempt that was named is the one the new one names.
                found.append(replace(target, tried=replace(tried, id=one.delivery.id)))
            elif one.inbox_id in rows:
                found.append(self._of_webhook(self._attempt_on(rows[one.inbox_id]), rows[one.inbox_id]))
        return found

    def _originals(self, deliveries: Sequence[Delivery]) -> dict[int | None, Delivery]:
        """For each attempt the one it is, or that it was a replay of."""
        found: dict[int | None, Delivery] = {one.id: one for one in deliveries}
        for _ in range(LONGEST_CHAIN):
            replays = {id_: one for id_, one in found.items() if one.reason is Reason.REPLAYED}
            named = self._replays.deliveries(_numbers("delivery", [one.cause for one in replays.values()]))
            known = {f"delivery:{id_}": one for id_, one in named.items()}
            earlier = {id_: known[one.cause] for id_, one in replays.items() if one.cause in known}
            if not earlier:
                break
            found.update(earlier)
        return found

    def _attempt_on(self, row: InboxRow) -> Delivery:
        found = self._replays.attempt_on(row)
        return found or Delivery(
            Direction.INBOUND,
            "webhook",
            outcome_of(Reason.UNREADABLE),
            Reason.UNREADABLE,
            integration_id=row.integration_id,
            event_id=row.event_id or "",
            cause=f"inbox:{row.id}",
        )

    def _of_delivery(self, tried: Delivery, rows: dict[int, InboxRow], changes: dict[int, Change]) -> Target:
        kind, _, number = tried.cause.partition(":")
        if kind == "inbox":
            row = rows.get(int(number))
            if row is None:
                return Target(tried, Result.QUEUED).impossible("the webhook itself is past its retention")
            return self._of_webhook(tried, row)
        if tried.reason is Reason.REJECTED_SIGNATURE:
            return Target(tried, Result.QUEUED).impossible("nobody vouches for it, so nothing of it was stored")
        if _is_one_way(tried):
            return self._of_event(tried)
        change = changes.get(int(number)) if kind == "case_event" else None
        return self._of_change(tried, change)

    def _of_change(self, tried: Delivery, change: Change | None) -> Target:
        link = self._links.by_id(tried.link_id) if tried.link_id else None
        if link is None and tried.case_id:
            link = self._links.of_case(tried.case_id)
        if link is not None:
            target = Target(tried, Result.QUEUED, change=change, link=link)
            return target.with_nothing(Reason.LINK_ENDED) if link.state is LinkState.ENDED else target
        if change is None:
            why = "no link, webhook or change of a Case belongs to it"
            return Target(tried, Result.QUEUED).impossible(why)
        return Target(tried, Result.QUEUED, change=change)

    def _of_webhook(self, tried: Delivery, row: InboxRow) -> Target:
        target = Target(tried, Result.QUEUED, row=row)
        if row.state in ("received", "waiting"):
            return target.waits()
        if row.archive:
            why = f"its body was moved to {row.archive}; `pagerduty-sync inbox import` brings it back"
            return target.impossible(why)
        if row.reason == Reason.REJECTED_SIGNATURE.value and not self._is_signed(row):
            return target.with_nothing(Reason.REJECTED_SIGNATURE)
        try:
            event = parse_event(row.body)
        except PayloadError as exc:
            return target.with_nothing(Reason.UNREADABLE, str(exc))
        target = replace(target, event=event)
        reason = reason_to_pass(event, self._integrations.by_id(row.integration_id))
        if reason is not None:
            return target.with_nothing(reason, event.event_type if reason is Reason.UNKNOWN_EVENT else "")
        link = link_of(self._links, row.integration_id, event)
        if link is None:
            return target.with_nothing(Reason.NO_LINK)
        target = replace(target, link=link)
        return target.with_nothing(Reason.LINK_ENDED) if link.state is LinkState.ENDED else target

    def _is_signed(self, row: InboxRow) -> bool:
        try:
            verify(row.body, row.signature, self._subscriptions.secrets(row.integration_id).values())
        except (SignatureError, SecretError):
            return False
        return True


def _numbers(kind: str, causes: Sequence[str]) -> list[int]:
    parts = [cause.partition(":") for cause in causes]
    return sorted({int(number) for name, _, number in parts if name == kind and number.isdecimal()})


def _is_one_way(tried: Delivery) -> bool:
    is_of_connector = tried.connector_id is not None and tried.integration_id is None
    return tried.direction is Direction.OUTBOUND and tried.link_id is None and is_of_connector
