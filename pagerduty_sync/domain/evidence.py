"""What is on record about one Case or one incident, all together, and the form in which a cause of trouble is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pagerduty_sync.domain.cases import Case
from pagerduty_sync.domain.connectors import Connector, Field, Integration, Policy
from pagerduty_sync.domain.deliveries import Delivery
from pagerduty_sync.domain.links import Link
from pagerduty_sync.domain.mapping import INCIDENT_STATUS


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A named cause: what is the matter, and what to do about it."""

    code: str
    says: str
    mend: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the causes are read from. `attempts` are the newest first; `lags` say by how many seconds webhooks
    came after they happened; `webhooks_problem` is why events do not reach us, as far as known."""

    now: datetime
    case: Case | None = None
    incident_id: str = ""
    link: Link | None = None
    integration: Integration | None = None
    connector: Connector | None = None
    policy: Policy | None = None
    attempts: Sequence[Delivery] = ()
    lags: Sequence[float] = ()
    rejected: str = ""
    quarantined: str = ""
    leads_to: str = ""
    is_told_one_way: bool = False
    why_not: Sequence[str] = ()
    an_incident_url: str = ""
    key_problem: str = ""
    webhooks_problem: str = ""
    waits_since: datetime | None = None


def differing(case: Case, link: Link, policy: Policy) -> list[Field]:
    """The fields in which both sides say something else, whether or not that is settled."""
    fields = []
    status, priority = link.seen(Field.STATUS), link.seen(Field.PRIORITY)
    if status is not None and INCIDENT_STATUS.get(case.status) != status.value:
        fields.append(Field.STATUS)
    # Without an override a priority that somebody cleared stays cleared: both sides have none of their own.
    has_any = priority is not None and (priority.value is not None or case.override_priority is not None)
    if priority is not None and has_any and policy.priority_map.get(case.priority) != priority.value:
        fields.append(Field.PRIORITY)
    return fields
