"""Service-key connectors as an operator makes them, and the test of a connector of either path."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pagerduty_sync.domain import texts
from pagerduty_sync.domain.connectors import Connector, ConnectorPath
from pagerduty_sync.domain.deliveries import Delivery, Direction, Reason, outcome_of
from pagerduty_sync.domain.notifications import EventAction, Severity
from pagerduty_sync.errors import InvalidRequestError, NotFoundError, PagerDutyError, RetryableError, TemplateError
from pagerduty_sync.handlers import templates
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.pagerduty.credentials import checked_url
from pagerduty_sync.pagerduty.events import EVENTS_URLS, EventsClient, checked_routing_key
from pagerduty_sync.pagerduty.replies import Reply
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.service_keys import ServiceKeys

LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class ConnectorTest:
    """Whether a connector works, and what PagerDuty said, sentence by sentence."""

    connector: Connector
    is_good: bool
    said: Sequence[str]


class ServiceKeyConnectors:
    def __init__(
        self,
        *,
        database: Database,
        connectors: Connectors,
        service_keys: ServiceKeys,
        deliveries: Deliveries,
        audit: Audit,
        client: Callable[[str], PagerDutyClient],
        client_of: Callable[[str], EventsClient],
    ) -> None:
        self._database = database
        self._connectors = connectors
        self._service_keys = service_keys
        self._deliveries = deliveries
        self._audit = audit
        self._client = client
        self._client_of = client_of

    def create_service_key_connector(
        self,
        name: str,
        *,
        who: str,
        routing_key: str | None = None,
        key_template: str | None = None,
        region: str = "us",
    ) -> Connector:
        """A one-way connector with a routing key, a template that yields one for each event, or both.

        With both, the key stands in when the template fails. `region` is us, eu, or the address of an Events API.
        Raises InvalidRequestError, naming the field.
        """
        name = texts.clean(name, "name", LONGEST_NAME)
        routing_key, key_template = (routing_key or "").strip() or None, (key_template or "").strip() or None
        if routing_key is None and key_template is None:
            raise InvalidRequestError("Give a routing key, a template for one, or both.", "routing_key")
        if routing_key is not None:
            routing_key = checked_routing_key(routing_key)
        if key_template is not None:
            try:
                templates.check_template(texts.storable(key_template, "key_template"))
            except TemplateError as exc:
                raise InvalidRequestError(f"The routing key's template has an error: {exc}.", "key_template") from exc
        events_url = _events_url(region)
        with self._database.transaction() as conn:
            made = self._service_keys.create(name, routing_key, key_template, events_url, conn)
            facts = {
                "path": made.path.value,
                "events_url": events_url,
                "routing_key": f"…{routing_key[-4:]}" if routing_key else None,
                "key_template": key_template,
            }
            self._audit.add(conn, who, "create", f"connector {name}", None, facts)
        return made

    def test_connector(self, name: str) -> ConnectorTest:
        """Ask PagerDuty whether a connector works; a service key's test opens and resolves an alert that says so.

        Raises NotFoundError for an unknown name, SecretError, and InvalidRequestError where there is nothing to test.
        """
        connector = self._connectors.by_name(name)
        if connector is None:
            raise NotFoundError(f"There is no connector named {name}.")
        if connector.path is ConnectorPath.SERVICE_KEY:
            return self._test_service_key(connector)
        assert connector.integration_id is not None and connector.service_id is not None
        try:
            service = self._client(connector.integration_id).get_service(connector.service_id)
        except PagerDutyError as exc:
            return ConnectorTest(connector, False, [str(exc)])
        said = [f"PagerDuty knows the service {service.name} ({service.id}); it is {service.status}."]
        if service.status == "disabled":
            return ConnectorTest(connector, False, [*said, "A disabled service opens no incidents."])
        return ConnectorTest(connector, True, said)

    def _test_service_key(self, connector: Connector) -> ConnectorTest:
        sends = self._service_keys.of(connector.id)
        if not sends.has_key:
            raise InvalidRequestError(
                f"{connector.name} has no routing key of its own, only a template, which needs a Case or alert.", "name"
            )
        key, client = self._service_keys.routing_key(connector.id), self._client_of(sends.events_url)
        dedup_key = f"test-{uuid.uuid4()}"
        content = {
            "payload": {
                "summary": f"Test of the connector {connector.name}: nothing is wrong",
                "source": "pagerduty-sync",
                "severity": Severity.INFO.value,
                "timestamp": datetime.now(UTC).isoformat(),
            },
            "client": "pagerduty-sync",
        }
        said: list[str] = []
        for action in (EventAction.TRIGGER, EventAction.RESOLVE):
            replies: list[Reply] = []
            error: PagerDutyError | None = None
            try:
                client.send(key, action, dedup_key, content, heard=replies.append)
                said.append(f"PagerDuty accepted the {action} event ({replies[-1].status}).")
            except PagerDutyError as exc:
                error = exc
                said.append(str(exc))
            self._deliveries.add(None, [_row(connector, action, dedup_key, replies[-1], error)])
            if error is not None:
                return ConnectorTest(connector, False, said)
        # An accepted event may still be suppressed by a rule, a maintenance window or a disabled service.
        return ConnectorTest(connector, True, [*said, "Accepted does not mean that an incident was opened."])


def _events_url(region: str) -> str:
    given = region.strip()
    if given.lower() in EVENTS_URLS:
        return EVENTS_URLS[given.lower()]
    try:
        return checked_url(given)
    except InvalidRequestError:
        raise InvalidRequestError("region must be us, eu, or the address of an Events API.", "region") from None


def _row(
    connector: Connector, action: EventAction, dedup_key: str, reply: Reply, error: PagerDutyError | None
) -> Delivery:
    reason = Reason.APPLIED
    if error is not None:
        reason = Reason.GAVE_UP if isinstance(error, RetryableError) else Reason.REFUSED
    return Delivery(
        Direction.OUTBOUND,
        action.operation,
        outcome_of(reason),
        reason,
        str(error or ""),
        connector_id=connector.id,
        http_status=reply.status or None,
        duration_ms=reply.duration_ms,
        request_id=reply.request_id or "",
        event_id=dedup_key,
        cause="connector test",
    )
