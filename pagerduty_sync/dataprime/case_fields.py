"""The record of a state update: how each field of Coralogix's dataset of Cases reads what our own Case store wrote.

One row is one creation, change of status or assignment of a Case, with what the Case was right after it. Cases that
live in a Coralogix account have their rows there: with a real account the dataset is that account's own, to be asked
there.

What the layout has and our Cases have no word for is null (`resolutionType`); whole parts that they do not have
(indicators, evidences, KPIs, summaries) are no fields, and there are no heartbeats. Times of the data are nanoseconds,
as there: `createdAt:timestamp` reads them.
"""

from __future__ import annotations

from pagerduty_sync.dataprime.fields import Field
from pagerduty_sync.dataprime.values import Kind
from pagerduty_sync.domain.cases import CaseStatus

TRIGGERS = {
    CaseStatus.ACTIVE: "caseActivated",
    CaseStatus.ACKNOWLEDGED: "caseAcknowledged",
    CaseStatus.RESOLVED: "caseResolved",
    CaseStatus.CLOSED: "caseClosed",
}
UNACKNOWLEDGED = "caseUnacknowledged"
"""Our own word: Coralogix names none, and who counts what was activated does not mean these."""

_TRIGGER = (
    "CASE d.kind WHEN 'created' THEN 'caseCreated' WHEN 'assigned' THEN 'caseAssigned' "
    "ELSE CASE WHEN d.previous_status = 'ACKNOWLEDGED' AND d.current_status = 'ACTIVE' "
    f"THEN '{UNACKNOWLEDGED}' ELSE CASE d.current_status {{}} END END END"
).format(" ".join(f"WHEN '{status.value}' THEN '{trigger}'" for status, trigger in TRIGGERS.items()))


def _resolved(read: str) -> str:
    return f"CASE WHEN d.status IN ('RESOLVED', 'CLOSED') THEN {read} END"


def _nanoseconds(read: str) -> str:
    return f"(extract(epoch FROM {read})::double precision * 1e9)"


_RESOLVED_AT = _nanoseconds(_resolved("d.resolved_at"))
_RESOLVED_BY = "coalesce({}, d.resolved_by ->> 'kind')".format(
    ", ".join(f"nullif(d.resolved_by ->> '{known}', '')" for known in ("name", "email", "id"))
)

FIELDS = (
    Field("$m.cxEventId", Kind.STRING, "d.event_id::text", is_nullable=False),
    Field("$m.timestamp", Kind.TIMESTAMP, "d.at", is_nullable=False),
    Field("$l", Kind.OBJECT, "d.labels", is_nullable=False),
    Field("$d.caseId", Kind.STRING, "d.case_id::text", is_nullable=False, column="d.case_id"),
    Field("$d.caseNumber", Kind.STRING, "d.case_number", column="d.case_number"),
    Field("$d.metadata.trigger", Kind.STRING, _TRIGGER),
    Field("$d.metadata.change.$type", Kind.STRING, "CASE WHEN d.kind = 'statusChanged' THEN d.kind END"),
    Field("$d.metadata.change.previousStatus", Kind.STRING, "d.previous_status"),
    Field("$d.metadata.change.currentStatus", Kind.STRING, "d.current_status"),
    Field("$d.title", Kind.STRING, "d.title", is_nullable=False),
    Field("$d.description", Kind.STRING, "nullif(d.description, '')"),
    Field("$d.assignee", Kind.STRING, "nullif(d.assignee, '')"),
    Field("$d.status", Kind.STRING, "d.status", is_nullable=False),
    Field("$d.priority", Kind.STRING, "coalesce(d.priorities ->> 'override', d.priorities ->> 'system')"),
    Field("$d.priorityDetails.system", Kind.STRING, "(d.priorities ->> 'system')"),
    Field("$d.priorityDetails.override", Kind.STRING, "(d.priorities ->> 'override')"),
    Field("$d.category", Kind.STRING, "d.category", is_nullable=False),
    Field("$d.createdAt", Kind.NUMBER, _nanoseconds("d.case_created_at"), is_nullable=False),
    Field("$d.updatedAt", Kind.NUMBER, _nanoseconds("d.at"), is_nullable=False),
    # An un-acknowledge takes it back.
    Field(
        "$d.acknowledgedAt",
        Kind.NUMBER,
        _nanoseconds("CASE WHEN d.status <> 'ACTIVE' THEN d.acknowledged_at END"),
    ),
    Field("$d.resolvedAt", Kind.NUMBER, _RESOLVED_AT),
    # CLOSED is final, so the last change of status is this one.
    Field("$d.closedAt", Kind.NUMBER, _nanoseconds("CASE WHEN d.status = 'CLOSED' THEN d.status_changed_at END")),
    Field("$d.resolutionDetails.resolutionType", Kind.STRING, "NULL::text"),
    Field("$d.resolutionDetails.resolutionReason", Kind.STRING, _resolved("d.resolution_reason")),
    Field("$d.resolutionDetails.resolvedAt", Kind.NUMBER, _RESOLVED_AT),
    Field("$d.resolutionDetails.resolvedBy", Kind.STRING, _resolved(_RESOLVED_BY)),
    Field("$d.labels", Kind.OBJECT, "d.labels", is_nullable=False),
    Field("$d.groupings", Kind.OBJECT, "d.groupings", is_nullable=False),
)
