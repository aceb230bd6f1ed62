"""Carrying out one action on PagerDuty: the call, and what its reply says. Budget and retries are the caller's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pagerduty_sync.domain.cases import CaseStatus
from pagerduty_sync.domain.connectors import Field, Preset
from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.incidents import Incident, IncidentStatus
from pagerduty_sync.domain.links import Agreement, LedgerEntry, LinkState
from pagerduty_sync.domain.mapping import (
    CASE_RANK,
    INCIDENT_RANK,
    INCIDENT_STATUS,
    case_priority_value,
    final_note_text,
    note_text,
    resolution_note_text,
)
from pagerduty_sync.domain.observing import PAGERDUTY, look_at_incident, look_at_note, written
from pagerduty_sync.domain.plans import (
    ChangeIncident,
    IncidentAction,
    OpenIncident,
    PostNote,
    ReadIncident,
    ReadNotes,
)
from pagerduty_sync.errors import DuplicateIncidentError, RefusedError
from pagerduty_sync.handlers.templates import incident_text
from pagerduty_sync.handlers.visits import Visit
from pagerduty_sync.pagerduty.budget import CallClass
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.pagerduty.incidents import UNSET

# "Incident Already Resolved" / "Already Acknowledged" (REST API: Errors): what was asked for is so already, perhaps.
ALREADY_SO = (1001, 1002)
WRITTEN_KEPT = 8


@dataclass(frozen=True, slots=True)
class Done:
    """What a call came to: a reason and what an operator may want to know."""

    reason: Reason
    detail: str = ""


class IncidentSide:
    def __init__(
        self, preset_of: Callable[[str], Preset | None], case_url: Callable[[str], str], new_id: Callable[[], str]
    ) -> None:
        self._preset_of = preset_of
        self._case_url = case_url
        self._new_id = new_id

    def prepare(self, visit: Visit, action: IncidentAction) -> bool:
        """Mark what cannot be asked twice as begun; True when that has to be recorded before the call."""
        match action:
            case OpenIncident(looks_first=False):
                visit.link = replace(visit.link, is_open_attempted=True)
                return True
            case PostNote(entry):
                visit.put(replace(entry, state="sending"))
                return True
            case _:
                return False

    def act(self, visit: Visit, action: IncidentAction, client: PagerDutyClient) -> Done:
        """Make the call and take in its reply. Raises PagerDutyError."""
        match action:
            case OpenIncident(looks_first=looks_first):
                return self._find(visit, client) if looks_first else self._open(visit, client)
            case ReadIncident():
                return self._read(visit, client)
            case ReadNotes():
                return self._read_notes(visit, client)
            case ChangeIncident():
                return self._change(visit, action, client)
            case PostNote(entry):
                return self._post(visit, entry, client)

    # ------------------------------------------------------------ opening

    def _open(self, visit: Visit, client: PagerDutyClient) -> Done:
        preset = self._preset_of(visit.link.preset_id) if visit.link.preset_id else None
        text = incident_text(preset, visit.case, self._case_url(visit.case.name))
        try:
            incident = client.create_incident(
                title=text.title,
                service_id=visit.link.service_id,
                incident_key=visit.link.incident_key,
                body=text.details,
                priority_id=self._wanted_priority(visit),
                urgency=text.urgency,
            )
        except DuplicateIncidentError:
            return self._find(visit, client)
        self._linked(visit, incident, incident.priority_id)
        return Done(Reason.APPLIED, text.problem or f"incident #{incident.number} opened")

    def _find(self, visit: Visit, client: PagerDutyClient) -> Done:
        """An incident may stand under our key already: adopt the newest, else be free to create one."""
        found = client.find_incidents(visit.link.incident_key, visit.link.service_id)
        if not found:
            visit.link = replace(visit.link, is_open_attempted=False)
            return Done(Reason.CHECKED, "no incident stands under the Case's key")
        self._linked(visit, found[0], self._wanted_priority(visit))
        # Notes of people may have come while nobody knew the incident as ours.
        visit.link = replace(visit.link, wants_notes=True)
        return Done(Reason.ADOPTED, f"incident #{found[0].number} was there under the Case's key")

    def _wanted_priority(self, visit: Visit) -> str | None:
        if not visit.policy.allows_out(Field.PRIORITY):
            return None
        return visit.policy.priority_map.get(visit.case.priority)

    def _linked(self, visit: Visit, incident: Incident, agreed_priority: str | None) -> None:
        """An incident begins as triggered: whatever it, or the Case, is by now moves on from there."""
        link = replace(visit.link, state=LinkState.LINKED, incident_id=incident.id, is_open_attempted=False)
        link, _ = look_at_incident(link, incident)
        link = link.agree(Field.STATUS, CaseStatus.ACTIVE.value, IncidentStatus.TRIGGERED.value)
        visit.link = link.agree(Field.PRIORITY, case_priority_value(visit.case), agreed_priority)
        visit.is_fresh = True
        text = f"PagerDuty incident #{incident.number} was opened for this Case: {incident.html_url}"
        visit.put(LedgerEntry(self._new_id(), "inbound", "story", f"opened:{incident.id}", PAGERDUTY, text))

    # ------------------------------------------------------------ reading

    def _read(self, visit: Visit, client: PagerDutyClient) -> Done:
        assert visit.link.incident_id is not None
        incident = client.get_incident(visit.link.incident_id)
        is_first = visit.link.seen(Field.STATUS) is None
        visit.link, _ = look_at_incident(visit.link, incident)
        visit.is_fresh = True
        if is_first:
            self._agree_with_target(visit, incident)
        return Done(Reason.CHECKED, f"the incident is {incident.status.value}")

    def _agree_with_target(self, visit: Visit, incident: Incident) -> None:
        """After a merge: the incident the link now follows counts where it got further; it is never pushed back."""
        case = visit.case.status
        status = incident.status
        if case in INCIDENT_STATUS and INCIDENT_RANK[status] > CASE_RANK[case]:
            status = INCIDENT_STATUS[case]
        link = visit.link.agree(Field.STATUS, case.value, status.value)
        visit.link = link.agree(Field.PRIORITY, case_priority_value(visit.case), incident.priority_id)

    def _read_notes(self, visit: Visit, client: PagerDutyClient) -> Done:
        """Every note counts once; ours that stand there are placed, ours that do not may be sent again."""
        assert visit.link.incident_id is not None
        notes = client.list_notes(visit.link.incident_id)
        found = 0
        for note in notes:
            known = visit.ledger
            looked = look_at_note(visit.link, visit.ledger, note, None, visit.policy, self._new_id())
            visit.link, visit.ledger = looked.link, looked.ledger
            found += visit.ledger != known
        for entry in visit.ledger.waiting("outbound"):
            if entry.state == "sending":
                visit.put(replace(entry, state="intended"))
        visit.link = replace(visit.link, wants_notes=False)
        return Done(Reason.CHECKED, f"{len(notes)} notes read, {found} new")

    # ------------------------------------------------------------ writing

    def _change(self, visit: Visit, action: ChangeIncident, client: PagerDutyClient) -> Done:
        assert visit.link.incident_id is not None
        is_priority = action.field is Field.PRIORITY
        try:
            incident = client.update_incident(
                visit.link.incident_id,
                status=action.status,
                priority_id=action.priority_id if is_priority else UNSET,
                resolution=action.resolution,
            )
        except RefusedError as exc:
            if exc.code not in ALREADY_SO:
                raise
            incident = client.get_incident(visit.link.incident_id)
            if incident.status is not action.status:
                raise
        take_in_change(visit, action, incident)
        return Done(Reason.APPLIED)

    def _post(self, visit: Visit, entry: LedgerEntry, client: PagerDutyClient) -> Done:
        assert visit.link.incident_id is not None
        note = client.create_note(visit.link.incident_id, text_of(entry, visit.link.case_name))
        visit.put(replace(entry, state="placed", remote_id=note.id))
        return Done(Reason.APPLIED)


def take_in_change(visit: Visit, action: ChangeIncident, incident: Incident | None) -> None:
    """After a write that PagerDuty took: what its reply shows, and the agreement that follows from it.

    A reply that shows what was asked for is believed whatever its times say: nobody has confirmed that every change
    moves `updated_at`. Another status is somebody's change and will be looked at; another priority means that this
    account does not take ours. A bulk reply without the incident (None) asks for a read.
    """
    asked = action.priority_id if action.field is Field.PRIORITY else action.agreed.incident
    agreed = action.agreed
    if incident is None:
        visit.link = replace(visit.link, is_doubtful=True)
    else:
        visit.link, _ = look_at_incident(visit.link, incident)
        visit.is_fresh = True
        shown = incident.priority_id if action.field is Field.PRIORITY else incident.status.value
        seen = visit.link.seen(action.field)
        if shown == asked and seen is not None and seen.value != asked:
            visit.link = visit.link.see(action.field, replace(seen, value=asked, is_read=True, by=incident.by))
        elif shown != asked and action.field is Field.PRIORITY:
            agreed = Agreement(agreed.case, shown)
    visit.link = replace(
        visit.link.agree(action.field, agreed.case, agreed.incident),
        written=(*visit.link.written, written(action.field, asked))[-WRITTEN_KEPT:],
    )


def text_of(entry: LedgerEntry, case_name: str) -> str:
    """An outbound entry as its note reads."""
    if entry.kind == "final_note":
        return final_note_text(entry.author, case_name, entry.marker)
    if entry.kind == "resolution_note":
        return resolution_note_text(entry.author, case_name, entry.text, entry.marker)
    return note_text(entry.author, case_name, entry.text, entry.marker)


def operation_of(action: IncidentAction) -> str:
    """The name of a call in the delivery log."""
    match action:
        case OpenIncident(looks_first=True):
            return "find_incident"
        case OpenIncident():
            return "open_incident"
        case ReadIncident():
            return "read_incident"
        case ReadNotes():
            return "read_notes"
        case PostNote(entry):
            return {"final_note": "post_final_note", "resolution_note": "post_resolution_note"}.get(
                entry.kind, "post_note"
            )
        case ChangeIncident(status=IncidentStatus.ACKNOWLEDGED):
            return "acknowledge_incident"
        case ChangeIncident(status=IncidentStatus.RESOLVED):
            return "resolve_incident"
        case ChangeIncident(priority_id=None):
            return "clear_priority"
        case ChangeIncident():
            return "set_priority"


def field_of(action: IncidentAction) -> Field:
    """Which field an action belongs to."""
    match action:
        case ChangeIncident(field=name):
            return name
        case PostNote(entry):
            return Field.RESOLUTION_NOTES if entry.kind == "resolution_note" else Field.COMMENTS
        case ReadNotes():
            return Field.COMMENTS
        case _:
            return Field.STATUS


def class_of(action: IncidentAction) -> CallClass:
    """How urgent a call is: pages and their end first, then priority, then words."""
    match action:
        case ChangeIncident(field=Field.PRIORITY):
            return CallClass.PRIORITY
        case PostNote(entry) if entry.kind != "resolution_note":
            return CallClass.NOTES
        case ReadNotes():
            return CallClass.NOTES
        case _:
            return CallClass.URGENT


def urgency_of(visit: Visit, action: IncidentAction) -> CallClass:
    """How urgent a call is now: a read is only as urgent as whatever asked for it."""
    if visit.asked_class is None or not isinstance(action, ReadIncident | ReadNotes):
        return class_of(action)
    return max(class_of(action), CallClass(visit.asked_class))
