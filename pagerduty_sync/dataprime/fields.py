"""The record of a delivery: how each field of Coralogix's own dataset, and each of our short names, reads our table.

One row of the log is one attempt. What Coralogix tells and the log does not know is null, so that a query written for
either runs on both. `$d.sync` holds the attempt in our own words; each of its names also stands alone.

| outcome of the attempt                                        | `$d.outcome.status` | `$m.severity` |
|---------------------------------------------------------------|---------------------|---------------|
| delivered                                                     | Success             | Info          |
| ignored                                                       | Discarded           | Info          |
| deferred, waiting for a Case or an event                      | Discarded           | Info          |
| deferred because PagerDuty did not take it (`NOT_TAKEN`)      | Failure             | Error         |
| failed                                                        | Failure             | Error         |
| rejected                                                      | Rejected            | Error         |
| sending, with no end written                                  | InternalFailure     | Error         |
"""

from __future__ import annotations

from dataclasses import dataclass

from pagerduty_sync.dataprime.values import Kind
from pagerduty_sync.domain.deliveries import Outcome, Reason

SEVERITIES = ("Verbose", "Debug", "Info", "Warning", "Error", "Critical")

STATUSES: dict[Outcome, tuple[str, ...]] = {
    Outcome.DELIVERED: ("Success",),
    Outcome.IGNORED: ("Discarded",),
    Outcome.DEFERRED: ("Discarded", "Failure"),
    Outcome.FAILED: ("Failure",),
    Outcome.REJECTED: ("Rejected",),
    Outcome.SENDING: ("InternalFailure",),
}
"""Without a further reason the first; a deferred attempt has the second when PagerDuty did not take it."""

NOT_TAKEN = (Reason.RATE_LIMITED, Reason.DISCONNECTED, Reason.UNAVAILABLE, Reason.NO_REPLY)


def status_of(outcome: Outcome, reason: Reason) -> str:
    """Coralogix's word for the end of an attempt."""
    return STATUSES[outcome][-1 if reason in NOT_TAKEN else 0]


def outcomes_of(status: str) -> list[str]:
    """The outcomes an attempt with this status may have."""
    return [outcome.value for outcome, statuses in STATUSES.items() if status in statuses]


@dataclass(frozen=True, slots=True)
class Field:
    """`read` is SQL over the view of its dataset, called d; `column` one whose index serves `== 'text'`."""

    path: str
    kind: Kind
    read: str
    is_nullable: bool = True
    column: str = ""

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.split("."))


STATUS_COLUMN = "status"
_STATUS = "CASE WHEN d.outcome = 'deferred' AND d.reason IN ({}) THEN 'Failure' ELSE CASE d.outcome {} END END".format(
    ", ".join(f"'{reason.value}'" for reason in NOT_TAKEN),
    " ".join(f"WHEN '{outcome.value}' THEN '{statuses[0]}'" for outcome, statuses in STATUSES.items()),
)
_SEVERITY = f"CASE WHEN ({_STATUS}) IN ('Success', 'Discarded') THEN 'Info' ELSE 'Error' END"
_LATENESS = "(extract(epoch FROM d.at - d.caused_at) * 1000)::double precision"
_CONNECTOR_TYPE = (
    "CASE d.connector_path WHEN 'bidirectional' THEN 'PAGERDUTY_INCIDENTS' WHEN 'service_key' THEN 'PAGERDUTY' END"
)

LABELS = Field("$l", Kind.OBJECT, "coalesce(d.case_labels, '{}'::jsonb)", is_nullable=False)
"""The labels the Case has now; `$l.team` is the first value of its label `team`."""

METADATA = (
    Field("$m.cxEventId", Kind.STRING, "d.id::text", is_nullable=False),
    Field("$m.timestamp", Kind.TIMESTAMP, "d.at", is_nullable=False),
    Field("$m.severity", Kind.STRING, _SEVERITY, is_nullable=False),
    Field("$m.priorityClass", Kind.STRING, "'medium'::text", is_nullable=False),
    Field("$m.entityType", Kind.STRING, "'notificationDeliveries'::text", is_nullable=False),
)

_NOTHING = "NULL::text"
LAYOUT = (
    Field("$d.notificationDeliveryId", Kind.STRING, "d.id::text", is_nullable=False),
    Field("$d.source.requestDeduplicationId", Kind.STRING, "nullif(d.event_id, '')"),
    Field("$d.source.notificationId", Kind.STRING, "nullif(d.cause, '')"),
    Field(
        "$d.source.requestTimestamp",
        Kind.TIMESTAMP,
        "(d.at - make_interval(secs => coalesce(d.duration_ms, 0) / 1000.0))",
        is_nullable=False,
    ),
    Field(
        "$d.source.entityType",
        Kind.STRING,
        "CASE WHEN d.connector_path = 'service_key' AND d.case_id IS NULL THEN 'alerts' ELSE 'cases' END",
        is_nullable=False,
    ),
    Field("$d.source.entitySubType", Kind.STRING, "d.operation", is_nullable=False),
    Field("$d.destination.type", Kind.STRING, _CONNECTOR_TYPE),
    Field("$d.destination.connectorInfo.id", Kind.STRING, "d.connector_id::text"),
    Field("$d.destination.connectorInfo.userFacingId", Kind.STRING, "d.connector_id::text"),
    Field("$d.destination.connectorInfo.name", Kind.STRING, "d.connector_name"),
    Field("$d.destination.presetInfo.id", Kind.STRING, "d.preset_id::text"),
    Field("$d.destination.presetInfo.userFacingId", Kind.STRING, "d.preset_id::text"),
    Field("$d.destination.presetInfo.name", Kind.STRING, "d.preset_name"),
    Field("$d.destination.message", Kind.STRING, "nullif(d.detail, '')"),
    Field("$d.content.templated.messageConfig", Kind.STRING, _NOTHING),
    Field("$d.content.templated.connectorConfig", Kind.STRING, _NOTHING),
    Field("$d.content.rendered.messageConfig", Kind.STRING, _NOTHING),
    Field("$d.content.rendered.connectorConfig", Kind.STRING, _NOTHING),
    Field("$d.content.renderingErrors.messageConfig.message", Kind.STRING, _NOTHING),
    Field("$d.content.renderingErrors.connectorConfig.message", Kind.STRING, _NOTHING),
    Field("$d.routing.routerInfo.id", Kind.STRING, _NOTHING),
    Field("$d.routing.routerInfo.userFacingId", Kind.STRING, _NOTHING),
    Field("$d.routing.routerInfo.name", Kind.STRING, _NOTHING),
    Field("$d.routing.matchingRule.name", Kind.STRING, _NOTHING),
    Field("$d.routing.matchingRule.condition", Kind.STRING, _NOTHING),
    Field("$d.outcome.timestamp", Kind.TIMESTAMP, "d.at", is_nullable=False),
    Field("$d.outcome.durationMs", Kind.NUMBER, "d.duration_ms::double precision"),
    Field("$d.outcome.e2eDuration", Kind.NUMBER, _LATENESS),
    Field("$d.outcome.protocol", Kind.STRING, "'https'::text", is_nullable=False),
    Field("$d.outcome.https.responseStatusCode", Kind.NUMBER, "d.http_status::double precision"),
    Field("$d.outcome.status", Kind.STRING, _STATUS, is_nullable=False, column=STATUS_COLUMN),
    Field("$d.outcome.statusReasons.type", Kind.STRING, "d.reason", is_nullable=False),
    Field("$d.outcome.statusReasons.message", Kind.STRING, "nullif(d.detail, '')"),
)

SYNC = "$d.sync"
OURS = (
    Field(f"{SYNC}.id", Kind.NUMBER, "d.id::double precision", is_nullable=False),
    Field(f"{SYNC}.at", Kind.TIMESTAMP, "d.at", is_nullable=False),
    Field(f"{SYNC}.direction", Kind.STRING, "d.direction", is_nullable=False),
    Field(f"{SYNC}.operation", Kind.STRING, "d.operation", is_nullable=False),
    Field(f"{SYNC}.outcome", Kind.STRING, "d.outcome", is_nullable=False),
    Field(f"{SYNC}.reason", Kind.STRING, "d.reason", is_nullable=False),
    Field(f"{SYNC}.case", Kind.STRING, "nullif(d.case_name, '')", column="d.case_name"),
    Field(f"{SYNC}.case_id", Kind.STRING, "d.case_id::text", column="d.case_id"),
    Field(f"{SYNC}.incident", Kind.STRING, "nullif(d.incident_id, '')", column="d.incident_id"),
    Field(f"{SYNC}.link", Kind.STRING, "d.link_id::text", column="d.link_id"),
    Field(f"{SYNC}.connector", Kind.STRING, "d.connector_name"),
    Field(f"{SYNC}.connector_id", Kind.STRING, "d.connector_id::text", column="d.connector_id"),
    Field(f"{SYNC}.integration", Kind.STRING, "d.integration_name"),
    Field(f"{SYNC}.integration_id", Kind.STRING, "d.integration_id::text", column="d.integration_id"),
    Field(f"{SYNC}.attempt", Kind.NUMBER, "d.attempt::double precision", is_nullable=False),
    Field(f"{SYNC}.http_status", Kind.NUMBER, "d.http_status::double precision"),
    Field(f"{SYNC}.duration_ms", Kind.NUMBER, "d.duration_ms::double precision"),
    # From the change of the Case, or the arrival of the webhook, to the end of the attempt; null once those are pruned.
    Field(f"{SYNC}.lateness_ms", Kind.NUMBER, _LATENESS),
    Field(f"{SYNC}.request_id", Kind.STRING, "nullif(d.request_id, '')"),
    Field(f"{SYNC}.event_id", Kind.STRING, "nullif(d.event_id, '')"),
    Field(f"{SYNC}.cause", Kind.STRING, "nullif(d.cause, '')"),
    Field(f"{SYNC}.actor", Kind.STRING, "nullif(d.actor, '')"),
    Field(f"{SYNC}.detail", Kind.STRING, "nullif(d.detail, '')"),
)

UUID_COLUMNS = frozenset({"d.case_id", "d.link_id", "d.connector_id", "d.integration_id"})

ALIASES = {"timestamp": "at", "case_name": "case", "incident_id": "incident", "link_id": "link"}
"""Further short names for names of `OURS`."""
