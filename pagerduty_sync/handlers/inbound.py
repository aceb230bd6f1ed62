"""From stored bytes to a waiting event: verify once more, read, find the link, or say why nothing will come of it."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from pagerduty_sync.domain.connectors import Integration
from pagerduty_sync.domain.deliveries import Delivery, Direction, Reason, outcome_of
from pagerduty_sync.domain.incidents import IncidentEvent
from pagerduty_sync.domain.links import Link, LinkState
from pagerduty_sync.errors import PayloadError, SecretError, SignatureError
from pagerduty_sync.pagerduty.schemas import KNOWN_EVENT_TYPES, parse_event
from pagerduty_sync.pagerduty.signature import verify
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.inbox import Inbox, InboxRow
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.links import Links
from pagerduty_sync.stores.subscriptions import Subscriptions

log = structlog.get_logger(__name__)


class Inbound:
    def __init__(
        self,
        *,
        database: Database,
        inbox: Inbox,
        subscriptions: Subscriptions,
        integrations: Integrations,
        links: Links,
        deliveries: Deliveries,
    ) -> None:
        self._database = database
        self._inbox = inbox
        self._subscriptions = subscriptions
        self._integrations = integrations
        self._links = links
        self._deliveries = deliveries

    def verify(self, inbox_ids: Sequence[int]) -> list[str]:
        """Handle these inbox rows, each in a transaction of its own; returns the links that have something new.

        Rows that are handled already are passed over, so a second run does nothing.
        """
        dirty: dict[str, None] = {}
        for row in self._inbox.received(inbox_ids):
            try:
                link_id = self._take(row)
            except SecretError as exc:
                # The row stays as received: it is read when the key is back.
                log.error("webhook_secret_unreadable", inbox=row.id, error=str(exc))
                continue
            if link_id is not None:
                dirty[link_id] = None
        return list(dirty)

    def _take(self, row: InboxRow) -> str | None:
        """One row; the id of the link it waits for now."""
        try:
            verify(row.body, row.signature, self._subscriptions.secrets(row.integration_id).values())
        except SignatureError as exc:
            return self._finish(row, None, Reason.REJECTED_SIGNATURE, detail=str(exc))
        try:
            event = parse_event(row.body)
        except PayloadError as exc:
            return self._finish(row, None, Reason.UNREADABLE, detail=str(exc))
        reason = reason_to_pass(event, self._integrations.by_id(row.integration_id))
        if reason is not None:
            if event.is_ping:
                self._subscriptions.pinged(row.subscription_id)
            return self._finish(row, event, reason)
        link = link_of(self._links, row.integration_id, event)
        if link is None:
            return self._finish(row, event, Reason.NO_LINK)
        if link.state is LinkState.ENDED:
            return self._finish(row, event, Reason.LINK_ENDED, link=link)
        with self._database.transaction() as conn:
            is_new = self._inbox.mark_waiting(conn, row.id, link.id, event.id)
            if is_new:
                self._links.mark_dirty([link.id], conn)
            else:
                self._log(conn, row, event, Reason.DUPLICATE, link=link)
        return link.id if is_new else None

    def _finish(
        self, row: InboxRow, event: IncidentEvent | None, reason: Reason, *, detail: str = "", link: Link | None = None
    ) -> str | None:
        """Nothing will be written because of this row; its reason is logged. Always None: no link wants a look."""
        event_id = event.id if event else None
        with self._database.transaction() as conn:
            if reason in (Reason.UNKNOWN_EVENT, Reason.UNREADABLE):
                is_new = self._inbox.quarantine(conn, row.id, reason.value, event_id)
            else:
                is_new = self._inbox.mark_done(conn, row.id, reason.value, event_id)
            self._log(conn, row, event, reason if is_new else Reason.DUPLICATE, detail=detail, link=link)
        return None

    def _log(
        self,
        conn: Connection,
        row: InboxRow,
        event: IncidentEvent | None,
        reason: Reason,
        *,
        detail: str = "",
        link: Link | None = None,
    ) -> None:
        self._deliveries.add(
            conn,
            [
                Delivery(
                    Direction.INBOUND,
                    event.event_type if event else "webhook",
                    outcome_of(reason),
                    reason,
                    detail,
                    case_id=link.case_id if link else None,
                    case_name=link.case_name if link else "",
                    incident_id=(event.incident_id if event else None) or "",
                    link_id=link.id if link else None,
                    connector_id=link.connector_id if link else None,
                    integration_id=row.integration_id,
                    event_id=event.id if event else "",
                    cause=f"inbox:{row.id}",
                    actor=event.agent.label if event and event.agent else "",
                )
            ],
        )


def reason_to_pass(event: IncidentEvent, integration: Integration | None) -> Reason | None:
    """Why an authentic event needs no look at any link; None when it does."""
    if event.is_ping:
        return Reason.PING
    if event.event_type not in KNOWN_EVENT_TYPES:
        return Reason.UNKNOWN_EVENT
    if integration is None or not integration.is_two_way:
        return Reason.DIRECTION_OFF
    return Reason.NOT_SYNCED if event.incident_id is None else None


def link_of(links: Links, integration_id: str, event: IncidentEvent) -> Link | None:
    """The link of the incident that an event which is not to be passed over is about."""
    assert event.incident_id is not None
    key = event.incident.incident_key if event.incident else None
    return links.of_incident(integration_id, event.incident_id, key)
