"""A Case and an alert that never happened: what templates and conditions are tried on before they meet real ones."""

from __future__ import annotations

from datetime import UTC, datetime

from pagerduty_sync.domain.cases import Case, CaseCategory, CasePriority, CaseStatus
from pagerduty_sync.domain.notifications import Alert, EventAction

_AT = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)

SAMPLE_CASE = Case(
    id="3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    readable_id="CASE-0",
    title="Checkout is slow",
    description="95 % of the requests to /pay take longer than two seconds.",
    status=CaseStatus.ACTIVE,
    system_priority=CasePriority.P2,
    category=CaseCategory.AVAILABILITY,
    created_at=_AT,
    updated_at=_AT,
    status_changed_at=_AT,
    priority_changed_at=_AT,
    labels={"team": ["payments"], "service": ["checkout"], "environment": ["production"], "region": ["eu-west-1"]},
    groupings={"service": ["checkout"]},
)

SAMPLE_ALERT = Alert(
    id="0d6b5c2e-1f7a-4c11-8a52-6f0b7d9e4a10",
    name="Latency of checkout",
    action=EventAction.TRIGGER,
    description="The 95th percentile is above two seconds.",
    priority="P2",
    severity="error",
    url="https://cases.example.com/alerts/1",
    labels={"team": ["payments"], "service": ["checkout"], "environment": ["production"]},
    occurred_at=_AT,
)
