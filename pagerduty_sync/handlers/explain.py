"""The story of one Case or one incident: everything on record about it in the order of time, how it stands, and why.

Changes nothing. PagerDuty is asked only on demand, and then with two calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pagerduty_sync.domain.cases import Case, CaseSystem
from pagerduty_sync.domain.connectors import Integration, RoutingRule
from pagerduty_sync.domain.deliveries import Delivery, Reason
from pagerduty_sync.domain.diagnosing import diagnose
from pagerduty_sync.domain.evidence import Evidence, differing
from pagerduty_sync.domain.links import Link, LinkState
from pagerduty_sync.domain.rehearsing import rehearse
from pagerduty_sync.errors import TemplateError
from pagerduty_sync.handlers import standing
from pagerduty_sync.handlers.asking import Asked, Asking
from pagerduty_sync.handlers.routing import Router
from pagerduty_sync.handlers.story import Now, Story, Webhook, read, steps_of
from pagerduty_sync.handlers.templates import case_context, evaluate
from pagerduty_sync.handlers.visits import Visit, Visits
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.deliveries import Deliveries, DeliveryFilters
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.leases import unheld
from pagerduty_sync.stores.links import Links
from pagerduty_sync.stores.overview import Overviews
from pagerduty_sync.stores.routing import Routing
from pagerduty_sync.stores.traces import MOST_ROWS, CaseChange, Traces

REJECTIONS_SINCE = timedelta(days=1)
CASES = "cases"


@dataclass(frozen=True, slots=True)
class _Record:
    """The rows a story is made of; attempts are the newest first."""

    attempts: Sequence[Delivery]
    webhooks: Sequence[Webhook]
    changes: Sequence[CaseChange] = ()
    is_cut: bool = False


class Explain:
    def __init__(
        self,
        *,
        cases: CaseSystem,
        links: Links,
        visits: Visits,
        traces: Traces,
        overviews: Overviews,
        deliveries: Deliveries,
        integrations: Integrations,
        connectors: Connectors,
        routing: Routing,
        router: Router,
        asking: Asking,
        case_url: str,
        give_up_after: timedelta,
        snapshot: Callable[[], AbstractContextManager[None]],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cases = cases
        self._links = links
        self._visits = visits
        self._traces = traces
        self._overviews = overviews
        self._deliveries = deliveries
        self._integrations = integrations
        self._connectors = connectors
        self._routing = routing
        self._router = router
        self._asking = asking
        self._case_url = case_url
        self._give_up_after = give_up_after
        self._snapshot = snapshot
        self._now = now

    def case(self, case_id: str, *, asks: bool = False) -> Story:
        """The story of a Case, by id or readable id, and of the incident it is linked with. Raises NotFoundError."""
        # Asked before the snapshot: no transaction is open while PagerDuty answers.
        asked = self._ask(self._links.of_case(self._cases.get_case(case_id).id)) if asks else None
        with self._snapshot():
            case = self._cases.get_case(case_id)
            link = self._links.of_case(case.id)
            # A claim that nobody made: this visit only reads, and is never recorded.
            visit = self._visits.open(unheld(link)) if link is not None else None
            record = self._record(case.id, link.incident_id if link else None, link.id if link else None)
            now = self._standing(case, visit, record, asked)
        names = {link.id: case.name} if link else {}
        incident = f" and incident {link.incident_id}" if link and link.incident_id else ""
        steps = steps_of(record.changes, record.webhooks, record.attempts, names)
        return Story(f"{case.name}{incident}", steps, now, record.is_cut)

    def incident(self, incident_id: str, *, asks: bool = False) -> Story:
        """The story of an incident: its Case's, when it has one, else what was heard of it."""
        account = self._integrations.only()
        link = self._links.of_incident(account.id, incident_id, None) if account else None
        if link is not None:
            return self.case(link.case_id, asks=asks)
        asked = self._ask(None) if asks else None
        with self._snapshot():
            record = self._record(None, incident_id, None)
            asked = asked or self._on_record(account)
            evidence = replace(self._evidence(account, record, asked), incident_id=incident_id)
        now = Now(incident={"id": incident_id}, asked=asked.said, causes=diagnose(evidence))
        return Story(f"incident {incident_id}", steps_of((), record.webhooks, record.attempts, {}), now, record.is_cut)

    # ------------------------------------------------------------ what is on record

    def _record(self, case_id: str | None, incident_id: str | None, link_id: str | None) -> _Record:
        attempts: list[Delivery] = []
        is_cut = False
        asked = [DeliveryFilters(case=case_id)] if case_id else []
        if incident_id:
            asked.append(DeliveryFilters(incident_id=incident_id, without_case_id=case_id or ""))
        for filters in asked:
            found, more = self._deliveries.find(filters, limit=MOST_ROWS)
            attempts += found
            is_cut = is_cut or more is not None
        ordered = sorted(attempts, key=lambda one: (one.at, one.id or 0), reverse=True)
        inbox_ids = {
            int(one.cause[6:]) for one in ordered if one.cause.startswith("inbox:") and one.cause[6:].isdecimal()
        }
        webhooks = [read(row) for row in self._traces.webhooks(sorted(inbox_ids), link_id)]
        return _Record(ordered, webhooks, self._traces.changes(case_id) if case_id else (), is_cut)

    def _ask(self, link: Link | None) -> Asked:
        account = self._integrations.only()
        return self._asking.ask(account, link) if account is not None else Asked()

    def _on_record(self, account: Integration | None) -> Asked:
        return self._asking.on_record(account) if account is not None else Asked()

    # ------------------------------------------------------------ how it stands

    def _standing(self, case: Case, visit: Visit | None, record: _Record, asked: Asked | None) -> Now:
        account = self._integrations.only()
        asked = asked or self._on_record(account)
        schedule = self._overviews.schedule(visit.link.id) if visit else None
        waits = standing.waits_of(visit, schedule, record.changes, record.webhooks, account, self._give_up_after)
        match, rules = self._router.match(case), self._rules(case)
        evidence = replace(
            self._evidence(account, record, asked),
            case=case,
            leads_to=match.connector.name if match.connector else "",
            is_told_one_way=bool(match.one_way),
            why_not=rules,
            waits_since=standing.late_since(schedule, record.changes, record.webhooks, account),
        )
        if visit is None:
            return Now(
                case=standing.case_facts(case),
                waits=waits,
                rules=rules,
                asked=asked.said,
                causes=diagnose(evidence),
            )
        connector = self._connectors.by_id(visit.link.connector_id)
        evidence = replace(evidence, link=visit.link, connector=connector, policy=visit.policy)
        would_do = rehearse(visit.link, visit.ledger, case, visit.policy).changes
        is_alike = not differing(case, visit.link, visit.policy)
        is_at_rest = not would_do and not waits and visit.link.state is LinkState.LINKED
        return Now(
            case=standing.case_facts(case),
            incident=standing.incident_facts(visit.link, account),
            link=standing.link_facts(visit.link, connector.name if connector else ""),
            is_in_step=is_alike and is_at_rest,
            compared=standing.fields_of(visit, record.attempts),
            waits=waits,
            would_do=would_do,
            rules=rules,
            asked=asked.said,
            causes=diagnose(evidence),
        )

    def _evidence(self, account: Integration | None, record: _Record, asked: Asked) -> Evidence:
        now = self._now()
        heard = [(one.row.received_at, one.event.occurred_at) for one in record.webhooks if one.event is not None]
        aside = next((one for one in record.attempts if one.reason in (Reason.UNKNOWN_EVENT, Reason.UNREADABLE)), None)
        in_quarantine = {f"inbox:{one.row.id}" for one in record.webhooks if one.row.state == "quarantined"}
        rejected = self._traces.last_rejection(account.id, now - REJECTIONS_SINCE) if account else None
        return Evidence(
            now,
            integration=account,
            attempts=record.attempts,
            lags=[(received_at - occurred_at).total_seconds() for received_at, occurred_at in heard],
            rejected=f"the last at {rejected.at:%Y-%m-%d %H:%M:%S} UTC, {rejected.detail}" if rejected else "",
            quarantined=f"{aside.operation}, {aside.reason}" if aside and aside.cause in in_quarantine else "",
            an_incident_url=self._traces.an_incident_url(account.id) if account else "",
            key_problem=asked.key_problem,
            webhooks_problem=asked.webhooks_problem,
        )

    def _rules(self, case: Case) -> list[str]:
        context = case_context(case, self._case_url.format(name=case.name))
        return [_verdict(rule, context) for rule in self._routing.rules(CASES)]


def _verdict(rule: RoutingRule, context: dict[str, object]) -> str:
    if not rule.is_enabled:
        return f"{rule.name} is switched off"
    try:
        is_true = evaluate(rule.condition, context)
    except TemplateError as exc:
        return f"{rule.name} cannot be decided: {exc}"
    return f"{rule.name}: {rule.condition} is {'' if is_true else 'not '}true of the Case"
