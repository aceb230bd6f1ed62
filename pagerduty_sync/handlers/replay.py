"""Trying again what was tried before, on an operator's word: webhooks through today's rules, calls by today's plan.

A replay writes nothing to either side by itself. It puts the question again, and the sync answers it as it would
today; so a replay of what is in step changes nothing, and one while the account is disconnected waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pagerduty_sync.domain.cases import CaseSystem
from pagerduty_sync.domain.deliveries import Delivery, Reason
from pagerduty_sync.domain.links import Link
from pagerduty_sync.domain.second_tries import SETTLED_BY_SETTINGS, Again, all_again
from pagerduty_sync.errors import NotFoundError
from pagerduty_sync.handlers.replay_report import UNREAD, Changes, Report, attempt_of, changes_of, told_of, unless_over
from pagerduty_sync.handlers.routing import Router
from pagerduty_sync.handlers.second_looks import Chosen, Result, SecondLooks, Target
from pagerduty_sync.handlers.visits import Visit, Visits
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.deliveries import LARGEST_PAGE, Deliveries, DeliveryFilters
from pagerduty_sync.stores.event_queue import EventQueue
from pagerduty_sync.stores.leases import Leases, unheld
from pagerduty_sync.stores.ledger import LedgerStore
from pagerduty_sync.stores.quarantine import Quarantine
from pagerduty_sync.stores.replays import Replays

GIVE_BACK_SECONDS = 1.0


class Replay:
    def __init__(
        self,
        *,
        database: Database,
        replays: Replays,
        quarantine: Quarantine,
        second_looks: SecondLooks,
        leases: Leases,
        ledger: LedgerStore,
        deliveries: Deliveries,
        visits: Visits,
        router: Router,
        cases: CaseSystem,
        audit: Audit,
        event_queue: EventQueue,
    ) -> None:
        self._database = database
        self._replays = replays
        self._quarantine = quarantine
        self._second_looks = second_looks
        self._leases = leases
        self._ledger = ledger
        self._deliveries = deliveries
        self._visits = visits
        self._router = router
        self._cases = cases
        self._audit = audit
        self._event_queue = event_queue

    # ------------------------------------------------------------ choosing

    def chosen_by_id(self, ids: Sequence[int]) -> list[Chosen]:
        """Attempts by their numbers; raises NotFoundError for one that is not in the log."""
        found = self._replays.deliveries(ids)
        missing = next((id_ for id_ in ids if id_ not in found), None)
        if missing is not None:
            raise NotFoundError(f"There is no attempt {missing} in the log, or it is past its retention.")
        return [Chosen(found[id_]) for id_ in dict.fromkeys(ids)]

    def chosen_by_filter(self, filters: DeliveryFilters, limit: int) -> list[Chosen]:
        """The newest attempts of a filter, oldest first: each webhook once, and no replay of any."""
        found: dict[str, Delivery] = {}
        token: str | None = None
        while True:
            page, token = self._deliveries.find(filters, limit=LARGEST_PAGE, page_token=token)
            for one in page:
                name = one.cause if one.cause.startswith("inbox:") else f"delivery:{one.id}"
                # Of several attempts on one webhook the one that settings ended is worth another.
                if one.reason is not Reason.REPLAYED and (name not in found or one.reason in SETTLED_BY_SETTINGS):
                    found[name] = one
            if token is None or len(found) >= limit:
                return [Chosen(one) for one in list(found.values())[:limit][::-1]]

    def chosen_in_quarantine(self, limit: int) -> list[Chosen]:
        """What was authentic and not understood, oldest first."""
        return [Chosen(inbox_id=id_) for id_ in self._quarantine.ids(limit)]

    # ------------------------------------------------------------ trying again

    def run(self, chosen: Sequence[Chosen], *, is_dry: bool = False) -> Report:
        """Try these again, or with `is_dry` only say what that would change."""
        report = Report()
        by_link: dict[str, list[Target]] = {}
        for target in self._second_looks.targets(chosen):
            if target.link is not None and target.result is Result.QUEUED:
                by_link.setdefault(target.link.id, []).append(target)
            else:
                self._alone(target, report, is_dry=is_dry)
        for targets in by_link.values():
            self._together(targets, report, is_dry=is_dry)
        return report

    def record(self, who: str, asked: Mapping[str, object], report: Report) -> None:
        """Write into the audit who had what tried again, and what became of it."""
        self._audit.add(None, who, "replay", "deliveries", None, {"asked": dict(asked), "results": report.counts})

    def _alone(self, target: Target, report: Report, *, is_dry: bool) -> None:
        """What no link looks at: a webhook nothing comes of, or a change of a Case without an incident."""
        if target.result is Result.QUEUED and target.change is not None:
            target = self._routed_again(target, report, is_dry=is_dry)
        if target.notification_id in report.event_ids:
            # Another attempt on the same event was chosen as well.
            target = replace(target, notification_id=None).waits()
        elif target.notification_id is not None:
            report.event_ids.append(target.notification_id)
            report.changes.append(Changes(target.tried.case_name, "", (), (f"send {target.detail} again",)))
        report.results.append(told_of(target))
        if is_dry or target.result is Result.IMPOSSIBLE or target.reason == "waits":
            return
        with self._database.transaction() as conn:
            if target.notification_id is not None:
                self._event_queue.send_again(conn, target.notification_id)
            if target.change is not None:
                self._replays.look_again(conn, [target.change.id])
            if target.row is not None and target.row.state == "quarantined":
                event_id, reason = target.event.id if target.event else None, target.reason
                state = "quarantined" if reason in UNREAD else "done"
                if not self._replays.end_again(conn, target.row.id, reason, event_id, state):
                    self._replays.end_again(conn, target.row.id, Reason.DUPLICATE.value, None)
            self._deliveries.add(conn, [attempt_of(target)])

    def _routed_again(self, target: Target, report: Report, *, is_dry: bool) -> Target:
        """What the rules say of a Case without an incident today."""
        assert target.change is not None
        try:
            case = self._cases.get_case(target.change.case_id)
        except NotFoundError:
            return replace(target, change=None).with_nothing(Reason.NOT_FOUND, "the Case is gone")
        match = self._router.match(case)
        opens = f"open an incident through {match.connector.name}" if match.connector else ""
        if opens and case.status.is_open:
            report.changes.append(Changes(case.name, "", (), (opens,)))
        if not is_dry:
            report.case_ids.append(case.id)
        return replace(target, detail=opens or "no rule leads to an incident")

    def _together(self, targets: Sequence[Target], report: Report, *, is_dry: bool) -> None:
        """Everything of one link in one go."""
        link = targets[0].link
        assert link is not None
        claim = unheld(link) if is_dry else self._leases.claim(link.id)
        if claim is None:
            report.results += [told_of(replace(one, result=Result.BUSY)) for one in targets]
            return
        try:
            visit = self._visits.open(claim)
            targets = [unless_over(one, visit) for one in targets]
            again = self._prepared(visit, targets)
            changes = changes_of(visit, again, targets)
            if not is_dry:
                targets = self._put(visit, again, targets)
                report.link_ids.append(link.id)
        except NotFoundError as exc:
            targets = [one.with_nothing(Reason.NOT_FOUND, str(exc)) for one in targets]
            changes = None
            if not is_dry:
                self._leases.give_back(claim, 0)
        except BaseException:
            if not is_dry:
                self._leases.give_back(claim, GIVE_BACK_SECONDS)
            raise
        report.results += [told_of(one) for one in targets]
        if changes is not None:
            report.changes.append(changes)

    def _prepared(self, visit: Visit, targets: Sequence[Target]) -> Again:
        tries = [(one.tried, one.event, one.source_id) for one in targets if one.result is Result.QUEUED]
        return all_again(Again(visit.link, visit.ledger), tries, visit.policy)

    def _put(self, visit: Visit, again: Again, targets: Sequence[Target]) -> list[Target]:
        """Write it all in one transaction, the link given back with it."""
        visit.link, visit.ledger = again.link, again.ledger
        done: list[Target] = []
        with self._database.transaction() as conn:
            self._leases.record(conn, visit.claim.token, visit.link)
            self._replays.forget(conn, again.forgotten)
            self._ledger.record(conn, visit.link.id, visit.changed_entries())
            for one in targets:
                if one.result is Result.QUEUED and one.row is not None and one.event is not None:
                    one = self._waiting(conn, one, visit.link)
                done.append(one)
            self._deliveries.add(conn, [attempt_of(one) for one in done])
            self._replays.give_back(conn, visit.link.id, visit.claim.token)
        return done

    def _waiting(self, conn: Connection, target: Target, link: Link) -> Target:
        assert target.row is not None and target.event is not None
        if self._replays.wait_again(conn, target.row.id, link.id, target.event.id):
            return target
        if target.row.state == "quarantined":
            self._replays.end_again(conn, target.row.id, Reason.DUPLICATE.value, None)
        return target.with_nothing(Reason.DUPLICATE)
