"""Taking a Case and its incident apart by hand; both sides are told who did it and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pagerduty_sync.domain import texts
from pagerduty_sync.domain.cases import Actor, CaseSystem
from pagerduty_sync.domain.deliveries import Direction, Outcome, Reason
from pagerduty_sync.domain.links import LedgerEntry, Link, LinkState
from pagerduty_sync.errors import ConflictError, NotFoundError, PagerDutyError
from pagerduty_sync.handlers.claims import Claims
from pagerduty_sync.handlers.incident_side import text_of
from pagerduty_sync.handlers.visits import Visit, Visits
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.link_edits import LinkEdits

LONGEST_REASON = 1_000
UNLINKED = "unlinked:"


class Unlinking:
    def __init__(
        self,
        *,
        cases: CaseSystem,
        claims: Claims,
        edits: LinkEdits,
        audit: Audit,
        visits: Visits,
        client: Callable[[str], PagerDutyClient],
    ) -> None:
        self._cases = cases
        self._claims = claims
        self._edits = edits
        self._audit = audit
        self._visits = visits
        self._client = client

    def unlink(self, link_id: str, reason: str, *, actor: Actor, who: str) -> Sequence[str]:
        """End a pair and say so on both sides; returns warnings. The Case opens no second incident afterwards.

        Raises NotFoundError, ConflictError, InvalidRequestError. What PagerDuty does not take is a warning.
        """
        reason = texts.clean(reason, "reason", LONGEST_REASON)
        found = self._edits.by_id(link_id)
        if found is None:
            raise NotFoundError(f"There is no link {link_id}.")
        link, _ = found
        if link.state is LinkState.ENDED:
            raise ConflictError(f"The link of {link.case_name} has ended already ({link.ended_reason}).")
        _require_settled(link)
        with self._claims.holding(link) as claim:
            visit = self._visits.open(claim)
            _require_settled(visit.link)
            warnings = self._tell_both(visit, actor, reason)
            visit.end(Reason.UNLINKED)
            visit.log(Direction.OUTBOUND, "unlink_incident", Reason.UNLINKED, detail=f"by {who}: {reason}")
            self._visits.record(visit)
            facts = {"incident_id": link.incident_id}, {"reason": reason}
            self._audit.add(None, who, "unlink", f"Case {link.case_name}", *facts)
        return warnings

    def _tell_both(self, visit: Visit, actor: Actor, reason: str) -> list[str]:
        begun = [e for e in visit.ledger.entries if e.source_id.startswith(UNLINKED) and e.state == "sending"]
        new_id = self._visits.new_id()
        entry = begun[0] if begun else _farewell(new_id, actor, reason)
        visit.put(entry)
        # On record before anything is told, so that a second try finds the first one's words.
        self._visits.record(visit)
        number = f"#{visit.link.incident_number}" if visit.link.incident_number else "of this Case"
        text = f"Unlinked from PagerDuty incident {number}: {reason}"
        self._cases.place_comment(visit.case.id, actor, text, entry.source_id)
        if visit.link.incident_id is None:
            visit.put(replace(entry, state="dropped", reason=Reason.UNLINKED))
            return []
        try:
            note_id = self._post(visit, entry, visit.link.incident_id, is_second_try=bool(begun))
        except PagerDutyError as exc:
            visit.put(replace(entry, state="dropped", reason=Reason.UNAVAILABLE))
            visit.log(Direction.OUTBOUND, "post_note", Reason.UNAVAILABLE, outcome=Outcome.FAILED, detail=str(exc))
            return [f"The incident was not told: {exc}."]
        visit.put(replace(entry, state="placed", remote_id=note_id))
        visit.log(Direction.OUTBOUND, "post_note", Reason.APPLIED)
        return []

    def _post(self, visit: Visit, entry: LedgerEntry, incident_id: str, *, is_second_try: bool) -> str:
        client = self._client(visit.link.integration_id)
        if is_second_try:
            standing = [note for note in client.list_notes(incident_id) if note.text.rstrip().endswith(entry.marker)]
            if standing:
                return standing[0].id
        return client.create_note(incident_id, text_of(entry, visit.link.case_name)).id


def _require_settled(link: Link) -> None:
    """An incident that may just be coming into being would be left alone for ever."""
    if link.state is LinkState.OPENING and link.is_open_attempted:
        raise ConflictError(f"The incident of {link.case_name} is being opened; try again in a moment.")


def _farewell(new_id: str, actor: Actor, reason: str) -> LedgerEntry:
    text = f"This incident is no longer kept in step with its Case: {reason}"
    return LedgerEntry(new_id, "outbound", "story", f"{UNLINKED}{new_id}", actor, text, "sending")
