"""A Case and an incident as plain values, and the planner between them: no database, no HTTP, no clock.

For properties of the planner alone; the real stores and the simulator are for the integration tests. Every write of
the sync is checked as it is made: what may never be written raises BrokenPromiseError.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pagerduty_sync.domain.cases import Actor, Case, CaseStatus, Comment
from pagerduty_sync.domain.connectors import Field, Policy
from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.incidents import Incident, IncidentEvent, IncidentStatus, Note
from pagerduty_sync.domain.links import Ledger, LedgerEntry, Link, LinkState, Picture
from pagerduty_sync.domain.mapping import CASE_RANK, INCIDENT_RANK, INCIDENT_STATUS, case_priority_value, note_text
from pagerduty_sync.domain.observing import look_at_comments, look_at_event, look_at_incident, look_at_note
from pagerduty_sync.domain.planning import plan
from pagerduty_sync.domain.plans import ChangeCase, ChangeIncident, PlaceComment, PostNote, ReadIncident, ReadNotes
from tests.link_builders import ADA, JANE, POLICY, T0, a_case, a_link, an_incident

BOT = Actor("pagerDuty", "PBOT001", "Sync Bot")
EVENT_OF = {
    IncidentStatus.ACKNOWLEDGED: "incident.acknowledged",
    IncidentStatus.RESOLVED: "incident.resolved",
    IncidentStatus.TRIGGERED: "incident.unacknowledged",
}

REOPENED = "a resolved incident was re-opened"
RESOLVED_BY_MERGE = "a merge resolved a Case"
CHANGED_BY_CLOSE = "a closed Case changed its incident"
UNLINKED = "an incident without a link was changed"
CASE_OVER = "a Case that is not open was changed"
PLACED_TWICE = "a comment was placed twice"
NO_REST = "the plan does not come to rest"
PROMISES_OF_A_WRITE = (REOPENED, RESOLVED_BY_MERGE, CHANGED_BY_CLOSE, UNLINKED, CASE_OVER, PLACED_TWICE, NO_REST)
"""What the sync may never do, said as what was seen."""


class BrokenPromiseError(AssertionError):
    """Something that may never be was seen: `promise` says what, the text with which values."""

    def __init__(self, promise: str, particulars: str = "") -> None:
        super().__init__(f"{promise}: {particulars}" if particulars else promise)
        self.promise = promise


def hold(promise: str, is_kept: bool, particulars: str = "") -> None:
    """Raises BrokenPromiseError unless it is kept."""
    if not is_kept:
        raise BrokenPromiseError(promise, particulars)


@dataclass
class World:
    """Both sides, the link between them, and the webhooks PagerDuty has sent but nobody has delivered yet.

    `left` holds the incidents that were merged away, `written` what the sync wrote to incidents, `written_late` what of
    that reached one already resolved.
    """

    case: Case = field(default_factory=a_case)
    incident: Incident = field(default_factory=lambda: an_incident(seconds=0))
    left: dict[str, Incident] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    link: Link = field(default_factory=a_link)
    ledger: Ledger = field(default_factory=Ledger)
    policy: Policy = POLICY
    sent: list[IncidentEvent] = field(default_factory=list)
    now: datetime = T0 + timedelta(seconds=10)
    ids: int = 0
    writes: int = 0
    written: list[str] = field(default_factory=list)
    written_late: list[str] = field(default_factory=list)
    events_seen: set[str] = field(default_factory=set)

    # ------------------------------------------------------------ what people do

    def tick(self, milliseconds: int = 700) -> datetime:
        self.now += timedelta(milliseconds=milliseconds)
        return self.now

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.ids:08x}-0000-4000-8000-000000000000"

    def incident_becomes(self, status: IncidentStatus, by: Actor = ADA) -> None:
        """A person, or we, change the status; PagerDuty sends its webhook."""
        if self.incident.status is status:
            return
        reopens = self.incident.status is IncidentStatus.RESOLVED
        at = self.tick()
        self.incident = replace(self.incident, status=status, seen_at=at, status_changed_at=at, by=by)
        self._send("incident.reopened" if reopens else EVENT_OF[status], by)

    def merge(self, target: Incident, by: Actor = ADA) -> None:
        """A person merges the incident into another one, which is the one people go on with."""
        if not self.incident.status.is_open:
            return
        at = self.tick()
        self.incident = replace(
            self.incident,
            status=IncidentStatus.RESOLVED,
            merged_into=target.id,
            seen_at=at,
            status_changed_at=at,
            by=by,
        )
        self._send("incident.resolved", by)
        self.left[self.incident.id] = self.incident
        self.incident = replace(target, seen_at=at, status_changed_at=at)

    def incident_priority_becomes(self, priority_id: str | None, by: Actor = ADA) -> None:
        if self.incident.priority_id == priority_id:
            return
        self.incident = replace(self.incident, priority_id=priority_id, seen_at=self.tick(), by=by)
        self._send("incident.priority_updated", by)

    def note(self, text: str, by: Actor = ADA) -> Note:
        note = Note(f"PN{len(self.notes):05d}", text, by, self.tick())
        self.notes.append(note)
        self.sent.append(IncidentEvent(f"E{len(self.sent)}", "incident.annotated", self.now, "Q0INC1", by, None, note))
        return note

    def comment(self, text: str) -> None:
        self.comments.append(Comment(f"event-{len(self.comments)}", text, JANE, self.tick()))

    def case_becomes(self, status: CaseStatus) -> None:
        self.case = replace(self.case, status=status, status_changed_at=self.tick())

    def _send(self, event_type: str, by: Actor) -> None:
        event = IncidentEvent(f"E{len(self.sent)}", event_type, self.now, self.incident.id, by, self.incident)
        self.sent.append(event)

    # ------------------------------------------------------------ what the sync does

    def deliver(self, event: IncidentEvent) -> Reason | None:
        """One webhook arrives, perhaps again; the inbox knows its id."""
        if event.id in self.events_seen:
            return Reason.DUPLICATE
        self.events_seen.add(event.id)
        if event.incident_id != self.link.incident_id:
            return Reason.NO_LINK
        looked = look_at_event(self.link, self.ledger, event, self.case, self.policy, self.new_id())
        self.link, self.ledger = looked.link, looked.ledger
        return looked.reason

    def read(self) -> Incident:
        """The incident as a REST reply shows it: whole seconds."""
        linked = self.left.get(self.link.incident_id or "", self.incident)
        whole = replace(linked, read_at=self.now.replace(microsecond=0))
        changed = (whole.status_changed_at or whole.seen_at).replace(microsecond=0)
        return replace(whole, seen_at=whole.seen_at.replace(microsecond=0), status_changed_at=changed)

    def settle(self, *, loses_note_reply: bool = False) -> None:
        """Plan and act until the plan is empty."""
        is_fresh = False
        for _ in range(60):
            ids = (self.new_id() for _ in range(1000))
            self.ledger = look_at_comments(self.link, self.ledger, self.comments, self.policy, ids)
            now = plan(self.link, self.ledger, self.case, self.policy, is_fresh=is_fresh)
            for name, agreed in now.settled.items():
                self.link = self.link.agree(name, agreed.case, agreed.incident)
            for tell in now.tells:
                if self.ledger.by_source(tell.direction, tell.source_id) is None:
                    entry = LedgerEntry(
                        self.new_id(), tell.direction, tell.kind, tell.source_id, tell.author, tell.text
                    )
                    self.ledger = self.ledger.put(entry)
            if now.ends is not None:
                self.link = replace(self.link, state=LinkState.ENDED, merged_into=None)
            elif now.follows is not None:
                self._follow(now.follows)
            for action in now.case_actions:
                self._act_on_case(action)
            if now.settled or now.tells or now.case_actions or now.follows or now.ends:
                continue
            if not now.incident_actions:
                return
            is_fresh = self._act_on_incident(now.incident_actions[0], loses_note_reply) or is_fresh
        raise BrokenPromiseError(NO_REST, f"{now}")

    def _follow(self, target: str) -> None:
        """As the handlers do: nothing is known of the other incident but what it will be compared with."""
        pictures = {name: Picture(picture.agreed) for name, picture in self.link.pictures.items()}
        self.link = replace(self.link, incident_id=target, merged_into=None, is_doubtful=True, pictures=pictures)

    def _agree_with_target(self, incident: Incident) -> None:
        """As the handlers do after the first read: where the other incident got further it counts, else it is left."""
        status, case = incident.status, self.case.status
        if case in INCIDENT_STATUS and INCIDENT_RANK[status] > CASE_RANK[case]:
            status = INCIDENT_STATUS[case]
        link = self.link.agree(Field.STATUS, case.value, status.value)
        self.link = link.agree(Field.PRIORITY, case_priority_value(self.case), incident.priority_id)

    def fork(self) -> World:
        """A copy that goes its own way. Everything in a world is a value but its lists, its sets and its dict."""
        other = copy.copy(self)
        other.notes, other.comments, other.sent = list(self.notes), list(self.comments), list(self.sent)
        other.written, other.written_late = list(self.written), list(self.written_late)
        other.events_seen, other.left = set(self.events_seen), dict(self.left)
        return other

    def _act_on_case(self, action: ChangeCase | PlaceComment) -> None:
        self.writes += 1
        if isinstance(action, PlaceComment):
            entry = action.entry
            reference = f"ref:{entry.source_id}"
            hold(PLACED_TWICE, all(one.reference != reference for one in self.comments), entry.text)
            comment = Comment(f"event-{len(self.comments)}", entry.text, entry.author, self.tick(), reference)
            self.comments.append(comment)
            self.ledger = self.ledger.put(replace(entry, state="placed", remote_id=comment.event_id))
            return
        if action.field is Field.STATUS:
            assert action.status is not None
            hold(CASE_OVER, self.case.status.is_open, f"from {self.case.status} to {action.status}")
            hold(RESOLVED_BY_MERGE, action.status is not CaseStatus.RESOLVED or self._was_resolved_otherwise())
            self.case = replace(self.case, status=action.status, status_changed_at=self.tick())
            if action.reason is not None:
                self.case = replace(self.case, resolution_reason=action.reason, resolution_changed_at=self.now)
        elif action.field is Field.PRIORITY:
            hold(CASE_OVER, self.case.status.is_open, f"{self.case.status}, priority {action.priority}")
            self.case = replace(self.case, override_priority=action.priority, priority_changed_at=self.tick())
        else:
            self.case = replace(self.case, resolution_reason=action.reason, resolution_changed_at=self.tick())
        self.link = self.link.agree(action.field, action.agreed.case, action.agreed.incident)

    def _was_resolved_otherwise(self) -> bool:
        """Whether the linked incident was ever resolved by anything but a merge."""
        return any(
            event.event_type == "incident.resolved"
            and event.incident is not None
            and event.incident.id == self.link.incident_id
            and event.incident.merged_into is None
            for event in self.sent
        )

    def _check_incident_write(self, action: ChangeIncident) -> None:
        """I5, at every change of an incident; a repeated resolve and a late priority change nothing that pages."""
        hold(UNLINKED, self.link.state is LinkState.LINKED)
        hold(CHANGED_BY_CLOSE, self.case.status is not CaseStatus.CLOSED)
        what = action.status.value if action.status else "priority"
        self.written.append(what)
        if self.left.get(self.link.incident_id or "", self.incident).status.is_open:
            return
        hold(REOPENED, action.status in (None, IncidentStatus.RESOLVED), what)
        self.written_late.append(what)

    def _write_on_left(self, action: ChangeIncident) -> None:
        """A write on an incident that was merged away before its webhook came: PagerDuty takes it, nobody sees it."""
        left = self.left[self.link.incident_id or ""]
        if action.field is Field.PRIORITY:
            self.left[left.id] = replace(left, priority_id=action.priority_id, seen_at=self.tick())
        self.link, _ = look_at_incident(self.link, self.read())
        self.link = self.link.agree(action.field, action.agreed.case, action.agreed.incident)

    def _act_on_incident(self, action: object, loses_note_reply: bool) -> bool:
        match action:
            case ReadIncident():
                is_first = self.link.seen(Field.STATUS) is None
                self.link, _ = look_at_incident(self.link, self.read())
                if is_first:
                    self._agree_with_target(self.read())
                return True
            case ReadNotes():
                for note in list(self.notes):
                    looked = look_at_note(self.link, self.ledger, note, None, self.policy, self.new_id())
                    self.link, self.ledger = looked.link, looked.ledger
                for entry in self.ledger.waiting("outbound"):
                    self.ledger = self.ledger.put(replace(entry, state="intended"))
                self.link = replace(self.link, wants_notes=False)
                return False
            case PostNote(entry):
                self.writes += 1
                note = self.note(note_text(entry.author, "CASE-12", entry.text, entry.marker), BOT)
                state, remote = ("sending", None) if loses_note_reply else ("placed", note.id)
                self.ledger = self.ledger.put(replace(entry, state=state, remote_id=remote))  # type: ignore[arg-type]
                return False
            case ChangeIncident():
                self.writes += 1
                self._check_incident_write(action)
                if self.link.incident_id in self.left:
                    self._write_on_left(action)
                    return True
                if action.field is Field.PRIORITY:
                    self.incident_priority_becomes(action.priority_id, BOT)
                else:
                    assert action.status is not None
                    self.incident_becomes(action.status, BOT)
                self.link, _ = look_at_incident(self.link, self.read())
                self.link = self.link.agree(action.field, action.agreed.case, action.agreed.incident)
                return True
        raise AssertionError(f"unexpected: {action}")
