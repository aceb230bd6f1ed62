"""plan(link): what has to be done so that a Case and its incident agree, and why. The heart of the sync.

A three-way merge per field: each side is compared with its own half of what both last agreed on. The answer names the
next writes on either side, the differences that are settled without a write, and one reason a field. Carrying a plan
out and planning again ends in an empty plan; an empty plan is a good answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from pagerduty_sync.domain.cases import Case, CasePriority, CaseStatus
from pagerduty_sync.domain.connectors import Field, Policy
from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.incidents import IncidentStatus
from pagerduty_sync.domain.links import LOOP, Agreement, Ledger, Link, LinkState, Seen
from pagerduty_sync.domain.mapping import (
    CASE_RANK,
    INCIDENT_RANK,
    INCIDENT_STATUS,
    UNMAPPED,
    case_priority_value,
    priority_for_case,
    priority_for_incident,
)
from pagerduty_sync.domain.merging import Moved, moved
from pagerduty_sync.domain.observing import PAGERDUTY
from pagerduty_sync.domain.planning_texts import noted_reason, plan_comments, plan_resolution_note, story
from pagerduty_sync.domain.plans import (
    ChangeCase,
    ChangeIncident,
    IncidentAction,
    OpenIncident,
    Part,
    PlaceComment,
    Plan,
    PostNote,
    ReadIncident,
    ReadNotes,
    Tell,
)

# ------------------------------------------------------------------ the plan


def plan(
    link: Link, ledger: Ledger, case: Case, policy: Policy, *, is_fresh: bool = False, is_complete: bool = True
) -> Plan:
    """Decide what comes next for one link.

    `case` is the Case as it stands now; `is_fresh` says that the incident was read since the link was claimed, which
    an acknowledge and a final note ask for: a late acknowledge would re-open a resolved incident and page again.
    While not everything known is folded in (`is_complete`), no text is owed to the incident: the next event may show
    that it came from there.
    """
    if link.state is LinkState.ENDED:
        return _plan_ended(link, ledger)
    if LOOP in link.parked:
        return Plan(reasons=dict.fromkeys(Field, Reason.LOOP_SUSPECTED))
    if link.state is LinkState.OPENING:
        return _plan_opening(link, case)
    if link.merged_into:
        return _plan_merge(link, ledger, case, policy)
    comments = plan_comments(link, ledger)
    if link.is_doubtful or link.seen(Field.STATUS) is None:
        read = Part(Reason.CHECKED, incident_actions=(ReadIncident(),))
        return _join({Field.STATUS: read, Field.PRIORITY: read, Field.COMMENTS: comments})
    return _join(
        {
            Field.STATUS: _plan_status(link, case, policy, is_fresh),
            Field.PRIORITY: _plan_priority(link, case, policy),
            Field.RESOLUTION_NOTES: plan_resolution_note(link, case, policy, is_complete),
            Field.COMMENTS: comments,
        }
    )


_CASE_ORDER = (Field.PRIORITY, Field.STATUS, Field.RESOLUTION_NOTES, Field.COMMENTS)


def _join(parts: Mapping[Field, Part]) -> Plan:
    """One plan of all fields: a resolution note stands before the resolve it belongs to, everything else after."""
    incident_actions = [action for part in parts.values() for action in part.incident_actions]
    return Plan(
        settled={name: part.settled for name, part in parts.items() if part.settled is not None},
        tells=tuple(tell for part in parts.values() for tell in part.tells),
        # A resolved Case takes no priority: what came with the resolve is written before it.
        case_actions=tuple(action for name in _CASE_ORDER if name in parts for action in parts[name].case_actions),
        incident_actions=tuple(sorted(incident_actions, key=_order)),
        reasons={name: part.reason for name, part in parts.items()},
    )


def _order(action: IncidentAction) -> int:
    match action:
        case ReadIncident():
            return 0
        case ReadNotes():
            return 1
        case PostNote(entry) if entry.kind == "resolution_note":
            return 2
        case ChangeIncident(status=status) if status is not None:
            return 3
        case ChangeIncident():
            return 4
        case _:
            return 5


def _plan_ended(link: Link, ledger: Ledger) -> Plan:
    """The incident is left alone; the Case still gets what it was to be told, and why nothing more will come."""
    reasons = dict.fromkeys(Field, Reason.LINK_ENDED)
    gone = f"gone:{link.incident_id}"
    tells: tuple[Tell, ...] = ()
    if link.ended_reason == Reason.NOT_FOUND and ledger.by_source("inbound", gone) is None:
        incident = f"#{link.incident_number}" if link.incident_number else link.incident_id
        text = f"PagerDuty has no incident {incident} any more. This Case is kept in step with no incident from now on."
        tells = (Tell("inbound", "story", gone, PAGERDUTY, text),)
    placed = tuple(PlaceComment(entry) for entry in ledger.waiting("inbound"))
    return Plan(tells=tells, case_actions=placed, reasons=reasons)


def _plan_opening(link: Link, case: Case) -> Plan:
    reasons = dict.fromkeys(Field, Reason.WAITS_FOR_OPENING)
    if "open" in link.parked:
        return Plan(reasons=dict.fromkeys(Field, Reason.REFUSED))
    if link.is_open_attempted:
        return Plan(incident_actions=(OpenIncident(looks_first=True),), reasons=reasons)
    if not case.status.is_open:
        return Plan(ends=Reason.NOT_OPEN, reasons=dict.fromkeys(Field, Reason.NOT_OPEN))
    return Plan(incident_actions=(OpenIncident(looks_first=False),), reasons=reasons)


def _plan_merge(link: Link, ledger: Ledger, case: Case, policy: Policy) -> Plan:
    """A merge resolves nothing: the Case stays as it is, a comment says where the incident went, the link follows.

    Before it leaves, it is found out whether a note whose reply was lost stands here, or it would be written there too,
    and a note that came trimmed is read whole.
    """
    if link.wants_notes or any(entry.state == "sending" for entry in ledger.waiting("outbound")):
        return Plan(incident_actions=(ReadNotes(),), reasons=dict.fromkeys(Field, Reason.MERGED))
    seen = link.seen(Field.STATUS)
    target = link.merged_into
    assert target is not None
    text = f"PagerDuty merged incident #{link.incident_number or link.incident_id} into incident {target}."
    tells = (story(f"merged:{link.incident_id}:{target}", seen, text),) if policy.is_two_way else ()
    reasons = dict.fromkeys(Field, Reason.MERGED)
    if case.status is CaseStatus.CLOSED:
        return Plan(tells=tells, ends=Reason.MERGED, reasons=reasons)
    return Plan(tells=tells, follows=target, reasons=reasons)


# ------------------------------------------------------------------ status


def _plan_status(link: Link, case: Case, policy: Policy, is_fresh: bool) -> Part:
    seen = link.seen(Field.STATUS)
    assert seen is not None and seen.value is not None
    incident = IncidentStatus(seen.value)
    agreed = link.agreed(Field.STATUS)
    now = Agreement(case.status.value, incident.value)
    which = moved(agreed, now.case, now.incident)
    if which is Moved.NEITHER:
        return Part(Reason.IN_STEP)
    if case.status is CaseStatus.PENDING_ACTIVATION:
        return Part(Reason.WAITS_FOR_ACTIVATION)
    if case.status is CaseStatus.CLOSED:
        return _status_of_closed_case(link, case, policy, incident, is_fresh)
    if INCIDENT_STATUS[case.status] is incident:
        return Part(Reason.IN_STEP, settled=now)
    if which is Moved.BOTH:
        which = Moved.CASE if CASE_RANK[case.status] > INCIDENT_RANK[incident] else Moved.INCIDENT
    if which is Moved.INCIDENT:
        return _status_to_case(link, case, policy, incident, seen)
    return _status_to_incident(case, policy, incident, now, is_fresh)


def _status_to_case(link: Link, case: Case, policy: Policy, incident: IncidentStatus, seen: Seen) -> Part:
    now = Agreement(case.status.value, incident.value)
    if not policy.allows_in(Field.STATUS):
        return Part(Reason.DIRECTION_OFF, settled=now)
    if case.status is CaseStatus.RESOLVED:
        tells: tuple[Tell, ...] = ()
        if link.agreed(Field.STATUS).incident == IncidentStatus.RESOLVED.value:
            who = (seen.by or PAGERDUTY).label
            text = f"The PagerDuty incident was re-opened by {who}. A resolved Case cannot re-open and stays resolved."
            tells = (story(f"reopened:{seen.changed_at.isoformat()}", seen, text),)
        return Part(Reason.CASE_CANNOT_REOPEN, settled=now, tells=tells)
    if incident is IncidentStatus.TRIGGERED and not policy.unacknowledges_cases:
        return Part(Reason.UNACKNOWLEDGE_OFF, settled=now)
    target = {
        IncidentStatus.TRIGGERED: CaseStatus.ACTIVE,
        IncidentStatus.ACKNOWLEDGED: CaseStatus.ACKNOWLEDGED,
        IncidentStatus.RESOLVED: CaseStatus.RESOLVED,
    }[incident]
    agreed = Agreement(target.value, incident.value)
    reason = noted_reason(link, policy) if target is CaseStatus.RESOLVED else None
    action = ChangeCase(Field.STATUS, seen.by or PAGERDUTY, agreed, status=target, reason=reason)
    return Part(Reason.APPLIED, case_actions=(action,))


def _status_to_incident(case: Case, policy: Policy, incident: IncidentStatus, now: Agreement, is_fresh: bool) -> Part:
    if not policy.allows_out(Field.STATUS):
        return Part(Reason.DIRECTION_OFF, settled=now)
    if incident is IncidentStatus.RESOLVED:
        return Part(Reason.INCIDENT_NEVER_REOPENED, settled=now)
    if case.status is CaseStatus.ACTIVE:
        return Part(Reason.NO_EQUIVALENT, settled=now)
    target = INCIDENT_STATUS[case.status]
    if target is IncidentStatus.ACKNOWLEDGED and not is_fresh:
        return Part(Reason.CHECKED, incident_actions=(ReadIncident(),))
    resolution = None
    if target is IncidentStatus.RESOLVED and not policy.posts_resolution_notes:
        resolution = case.resolution_reason
    action = ChangeIncident(
        Field.STATUS, Agreement(case.status.value, target.value), status=target, resolution=resolution
    )
    return Part(Reason.APPLIED, incident_actions=(action,))


def _status_of_closed_case(link: Link, case: Case, policy: Policy, incident: IncidentStatus, is_fresh: bool) -> Part:
    """Closing changes no incident; one that is still open gets one final note."""
    now = Agreement(case.status.value, incident.value)
    was_closed_before = link.agreed(Field.STATUS).case == CaseStatus.CLOSED.value
    if was_closed_before or not incident.is_open or not policy.allows_out(Field.COMMENTS):
        return Part(Reason.CASE_CLOSED, settled=now)
    if not is_fresh:
        return Part(Reason.CHECKED, incident_actions=(ReadIncident(),))
    tell = Tell("outbound", "final_note", "closed", case.changed_by, "")
    return Part(Reason.CASE_CLOSED, settled=now, tells=(tell,))


# ------------------------------------------------------------------ priority


def _plan_priority(link: Link, case: Case, policy: Policy) -> Part:
    seen = link.seen(Field.PRIORITY)
    assert seen is not None
    agreed = link.agreed(Field.PRIORITY)
    now = Agreement(case_priority_value(case), seen.value)
    which = moved(agreed, now.case, now.incident)
    if which is Moved.NEITHER:
        return Part(Reason.IN_STEP)
    if case.status is CaseStatus.CLOSED:
        return Part(Reason.CASE_CLOSED, settled=now)
    wanted = priority_for_incident(now.case or "", agreed.case, policy.priority_map)
    if which is Moved.BOTH:
        if wanted == seen.value:
            return Part(Reason.IN_STEP, settled=now)
        which = Moved.CASE if case.priority_changed_at > seen.changed_at else Moved.INCIDENT
    if which is Moved.INCIDENT:
        return _priority_to_case(case, policy, seen, now)
    return _priority_to_incident(policy, wanted, seen, now)


def _priority_to_case(case: Case, policy: Policy, seen: Seen, now: Agreement) -> Part:
    if not policy.allows_in(Field.PRIORITY):
        return Part(Reason.DIRECTION_OFF, settled=now)
    actor = seen.by or PAGERDUTY
    if not case.status.is_open:
        text = f"{actor.label} changed the priority in PagerDuty. The priority of a resolved Case is fixed."
        tell = story(f"priority:{seen.value}:{seen.changed_at.isoformat()}", seen, text)
        return Part(Reason.CASE_NOT_OPEN, settled=now, tells=(tell,))
    if seen.value is None:
        if case.override_priority is None:
            return Part(Reason.IN_STEP, settled=now)
        cleared = Agreement(f"system:{case.system_priority}", None)
        return Part(Reason.APPLIED, case_actions=(ChangeCase(Field.PRIORITY, actor, cleared),))
    target = priority_for_case(seen.value, case.priority, policy.priority_map)
    if not isinstance(target, CasePriority):
        return Part(Reason.UNMAPPED_PRIORITY, settled=now)
    if target is case.priority:
        return Part(Reason.IN_STEP, settled=now)
    action = ChangeCase(Field.PRIORITY, actor, Agreement(f"override:{target}", seen.value), priority=target)
    return Part(Reason.APPLIED, case_actions=(action,))


def _priority_to_incident(policy: Policy, wanted: str | object | None, seen: Seen, now: Agreement) -> Part:
    if not policy.allows_out(Field.PRIORITY):
        return Part(Reason.DIRECTION_OFF, settled=now)
    if wanted is UNMAPPED:
        return Part(Reason.UNMAPPED_PRIORITY, settled=now)
    assert wanted is None or isinstance(wanted, str)
    if wanted == seen.value:
        return Part(Reason.IN_STEP, settled=now)
    action = ChangeIncident(Field.PRIORITY, Agreement(now.case, wanted), priority_id=wanted)
    return Part(Reason.APPLIED, incident_actions=(action,))
