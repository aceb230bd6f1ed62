"""The life of an incident: each method is one change, writes its log and reports the events a webhook may carry.

Inputs are already checked. Knows nothing of HTTP; hold the account's lock around every call.
"""

import heapq
import itertools

from .changes import Change, Creation, _Unset
from .errors import conflicting, invalid
from .faults import Faults
from .model import Actor, Agent, Alert, Incident, Json
from .notes import Notes
from .recording import Recorder
from .render import Shapes
from .state import Account, new_incident_id, new_key
from .webhooks import part_data

RESOLUTION_PREFIX = "Resolution Note: "
AUTOMATIC = Actor(None, "auto")
TIMED_OUT = Actor(None, "timeout")


class Incidents:
    """The state machine over one account."""

    def __init__(self, account: Account, faults: Faults, shapes: Shapes, record: Recorder, notes: Notes) -> None:
        self._account, self._faults, self._shapes = account, faults, shapes
        self._record, self._notes = record, notes
        self._timers: list[tuple[float, int, str]] = []
        self._sequence = itertools.count()

    # Creation

    def create(self, wanted: Creation, actor: Actor) -> Incident:
        """An incident asked for by a person, through REST or the page. Raises when PagerDuty would not make one."""
        service = self._account.services[wanted.service_id]
        policy_id = wanted.policy_id or service.policy_id
        assignees = wanted.assignees or self._account.on_call(policy_id)
        incident = self._new(wanted.title, service.id, policy_id, wanted.key or new_key(), actor)
        incident.priority_id, incident.urgency, incident.body = wanted.priority_id, wanted.urgency, wanted.body
        incident.incident_type, incident.conference_bridge = wanted.incident_type, wanted.conference_bridge
        incident.assignments = [(user_id, incident.created_at) for user_id in assignees]
        incident.assigned_via = "direct_assignment" if wanted.assignees else "escalation_policy"
        # "Why Incidents Fail to Trigger" support page: none while the service is disabled or nobody is on call.
        # What REST answers then is not known.
        if service.disabled or not assignees:
            if self._faults.knobs.uncreatable_incident == "refuse":
                raise (
                    conflicting("Service is disabled and cannot create new incidents")
                    if service.disabled
                    else invalid("Escalation policy has no user on call", code=1015)
                )
            return incident
        self._begin(incident, actor)
        if actor.user_id is not None and actor.user_id in wanted.assignees:
            # "Incidents" support page: assigning a new incident to oneself acknowledges it.
            self._acknowledge(incident, actor)
        return incident

    def trigger_alert(self, service_id: str, alert: Alert, actor: Actor) -> Incident | None:
        """A new alert from the Events API opens an incident without an incident key; a disabled service drops it."""
        service = self._account.services[service_id]
        assignees = self._account.on_call(service.policy_id)
        if service.disabled or not assignees:
            return None
        incident = self._new(alert.summary, service.id, service.policy_id, None, actor)
        incident.assignments = [(user_id, incident.created_at) for user_id in assignees]
        incident.alerts.append(alert)
        self._begin(incident, actor)
        return incident

    def _new(self, title: str, service_id: str, policy_id: str, key: str | None, actor: Actor) -> Incident:
        now = self._account.clock.now()
        agent = actor.agent or Agent("service", service_id)
        number = self._account.next_number()
        return Incident(new_incident_id(), number, title, service_id, policy_id, key, now, now, now, agent)

    def _begin(self, incident: Incident, actor: Actor) -> None:
        self._account.add(incident)
        through = {"website": "the website", "api": "the API"}.get(actor.channel, actor.channel)
        self._record.log(incident, "trigger", f"Triggered through {through}.", actor, incident.created_at)
        self._start_auto_resolve(incident, incident.created_at)
        self._record.report("incident.triggered", incident, actor)

    # Updates

    def apply(self, incident: Incident, change: Change, actor: Actor) -> None:
        """Carry out a checked change. Each part has its own event ("Webhooks Overview" page); a new title has none."""
        if change.title is not None and change.title != incident.title:
            incident.title = change.title
            self._record.log(incident, "field_value_change", f"Title changed to {change.title}", actor)
        if change.incident_type is not None and change.incident_type != incident.incident_type:
            incident.incident_type = change.incident_type
            self._record.touch(incident)
        if change.service_id is not None and change.service_id != incident.service_id:
            self._move(incident, change.service_id, actor)
        if not isinstance(change.priority_id, _Unset) and change.priority_id != incident.priority_id:
            self.set_priority(incident, change.priority_id, actor)
        if not isinstance(change.conference_bridge, _Unset) and change.conference_bridge != incident.conference_bridge:
            self._set_bridge(incident, change.conference_bridge, actor)
        if change.status is not None:
            self._set_status(incident, change, actor)
        if change.urgency is not None and change.urgency != incident.urgency:
            self._set_urgency(incident, change.urgency, actor)
        if incident.is_open:
            self._reassign(incident, change, actor)

    def _set_status(self, incident: Incident, change: Change, actor: Actor) -> None:
        knobs = self._faults.knobs
        if change.status == "resolved":
            if incident.is_open:
                creates_note = bool(change.resolution) and knobs.resolution_creates_note
                self.resolve(incident, actor, change.resolution, creates_note)
            elif knobs.repeat_sends_webhook:
                self._record.report("incident.resolved", incident, actor)
        elif not incident.is_open:
            self._reopen(incident, change, actor)
        elif change.status == "acknowledged":
            repeated = incident.status == "acknowledged"
            self._acknowledge(incident, actor, silent=repeated and not knobs.repeat_sends_webhook)

    def _acknowledge(self, incident: Incident, actor: Actor, silent: bool = False) -> None:
        """A second user may acknowledge too, which ends a snooze ("Edit Incidents" support page)."""
        at = self._record.touch(incident)
        user_id = actor.user_id
        if incident.status != "acknowledged":
            self._change_status(incident, "acknowledged", actor, at)
        if user_id is not None and user_id not in [id_ for id_, _ in incident.acknowledgements]:
            incident.acknowledgements.append((user_id, at))
        timeout = self._account.services[incident.service_id].acknowledgement_timeout
        incident.unacknowledge_at = self._alarm(incident, at + timeout) if timeout else None
        self._record.log(incident, "acknowledge", "Acknowledged.", actor, at)
        if not silent:
            self._record.report("incident.acknowledged", incident, actor, at)

    def resolve(self, incident: Incident, actor: Actor, resolution: str | None = None, as_note: bool = False) -> None:
        """Resolve an open incident. A note made of the resolution text comes before or after, which is not fixed."""
        note_first = self._faults.knobs.resolution_note_order == "note_first"
        if as_note and note_first:
            self._notes.add(incident, f"{RESOLUTION_PREFIX}{resolution}", actor)
        at = self._record.touch(incident)
        self._change_status(incident, "resolved", actor, at)
        incident.resolved_at = at
        incident.assignments, incident.acknowledgements = [], []
        incident.unacknowledge_at = incident.resolve_at = None
        for alert in incident.alerts:
            alert.status = "resolved"  # "Incidents" support page: resolving an incident resolves its alerts
        self._record.log(incident, "resolve", "Resolved.", actor, at, note=None if as_note else resolution)
        self._record.report("incident.resolved", incident, actor, at)
        if as_note and not note_first:
            self._notes.add(incident, f"{RESOLUTION_PREFIX}{resolution}", actor)

    def _reopen(self, incident: Incident, change: Change, actor: Actor) -> None:
        """Re-open, as the "Update an incident" API page has it.

        To acknowledged, it is assigned to the acting user; to triggered, to the request's assignees or the policy.
        """
        at = self._record.touch(incident)
        incident.reopened_at, incident.resolved_at, incident.merged_into = at, None, None
        if change.policy_id is not None:
            incident.policy_id = change.policy_id
        if change.status == "acknowledged" and actor.user_id is not None:
            assignees: tuple[str, ...] = (actor.user_id,)
        else:
            assignees = change.assignees or self._account.on_call(incident.policy_id)
        incident.assignments = [(user_id, at) for user_id in assignees]
        incident.assigned_via = "direct_assignment" if change.assignees else "escalation_policy"
        self._change_status(incident, "triggered", actor, at)
        self._record.log(incident, "reopen", "Reopened.", actor, at)
        self._start_auto_resolve(incident, at)
        if change.status == "acknowledged":
            follows = self._faults.knobs.acknowledged_follows_reopen
            if follows:
                self._record.report("incident.reopened", incident, actor, at)
            self._acknowledge(incident, actor, silent=not follows)
            if follows:
                return
        self._record.report("incident.reopened", incident, actor, at)

    def _reassign(self, incident: Incident, change: Change, actor: Actor) -> None:
        at = self._account.clock.now()
        current = tuple(user_id for user_id, _ in incident.assignments)
        if change.policy_id is not None and change.policy_id != incident.policy_id:
            incident.policy_id, incident.escalation_level = change.policy_id, 1
            self._assign(incident, self._account.on_call(change.policy_id), "escalation_policy", at)
            self._record.log(incident, "delegate", "Delegated to another escalation policy.", actor)
            self._record.report("incident.delegated", incident, actor)
        elif change.assignees and change.assignees != current:
            self._assign(incident, change.assignees, "direct_assignment", at)
            self._record.log(incident, "assign", "Reassigned.", actor)
            self._record.report("incident.reassigned", incident, actor)
        elif change.level is not None and change.level != incident.escalation_level:
            incident.escalation_level = change.level
            users = self._account.on_call(incident.policy_id, change.level)
            self._assign(incident, users, "escalation_policy", at)
            self._record.log(incident, "escalate", f"Escalated to level {change.level}.", actor)
            self._record.report("incident.escalated", incident, actor)

    def _assign(self, incident: Incident, user_ids: tuple[str, ...], via: str, at: float) -> None:
        incident.assignments = [(user_id, at) for user_id in user_ids]
        incident.assigned_via = via

    def set_priority(self, incident: Incident, priority_id: str | None, actor: Actor) -> None:
        incident.priority_id = priority_id
        name = self._account.priorities[priority_id].name if priority_id else "none"
        self._record.log(incident, "priority_change", f"Priority changed to {name}.", actor)
        self._record.report("incident.priority_updated", incident, actor)

    def _set_urgency(self, incident: Incident, urgency: str, actor: Actor) -> None:
        """Low to high on an acknowledged incident un-acknowledges it ("Edit Incidents" support page)."""
        incident.urgency = urgency
        self._record.log(incident, "urgency_change", f"Urgency changed to {urgency}.", actor)
        if urgency == "high" and incident.status == "acknowledged":
            self._unacknowledge(incident, actor, silent=not self._faults.knobs.urgency_raise_reports)

    def _set_bridge(self, incident: Incident, bridge: Json | None, actor: Actor) -> None:
        incident.conference_bridge = bridge
        self._record.touch(incident)
        number, url = (bridge or {}).get("conference_number"), (bridge or {}).get("conference_url")
        numbers = [{"label": "", "number": number}] if number else None
        fields = {"conference_numbers": numbers, "conference_url": url}
        data = part_data(self._shapes, incident, "incident_conference_bridge", **fields)
        self._record.report("incident.conference_bridge.updated", incident, actor, data=data)

    def _move(self, incident: Incident, service_id: str, actor: Actor) -> None:
        """To another service. A subscription scoped to the old one may hear of it, and then no more."""
        both = self._faults.knobs.service_updated_reaches == "both"
        old = incident.service_id
        incident.service_id = service_id
        self._account.reindex(incident)
        name = self._account.services[service_id].name
        self._record.log(incident, "field_value_change", f"Moved to {name}.", actor)
        self._record.report("incident.service_updated", incident, actor, also=old if both else None)

    def merge(self, target: Incident, sources: list[Incident], actor: Actor) -> None:
        """Alerts move to the target; open sources become resolved with a merge reason ("Merge incidents" API page)."""
        for source in sources:
            source.merged_into = target.id
            alerts, source.alerts = source.alerts, []
            target.alerts.extend(alerts)
            for alert in alerts:
                self._account.index_alert(target, alert)
            if self._faults.knobs.merged_notes == "move":
                self._notes.move(source, target)
            if source.is_open:
                # The agent is the person who merged ("Edit Incidents" support page).
                self.resolve(source, actor)
            self._record.touch(source)
        names = ", ".join(f"#{source.number}" for source in sources)
        self._record.log(target, "merge", f"Merged {names} into this incident.", actor)

    def delete(self, incident: Incident) -> None:
        """Gone, as when PagerDuty's support removes it: no page of the API or of the application does this."""
        self._account.forget(incident)

    def snooze(self, incident: Incident, seconds: int, actor: Actor) -> None:
        """Acknowledged until the time is over, then triggered again ("Snooze an incident" API page).

        The snooze itself has no webhook; whether its acknowledge has one is not known.
        """
        if not incident.is_open:
            raise invalid("A resolved incident cannot be snoozed.", code=1001)
        if incident.status == "triggered":
            self._acknowledge(incident, actor, silent=not self._faults.knobs.snooze_reports)
        at = self._record.touch(incident)
        incident.unacknowledge_at = self._alarm(incident, at + seconds)
        self._record.log(incident, "snooze", f"Snoozed for {seconds} seconds.", actor, at)

    # Alerts of the Events API

    def acknowledge_alert(self, incident: Incident, actor: Actor) -> None:
        if incident.status == "triggered":
            self._acknowledge(incident, actor)

    def resolve_alert(self, incident: Incident, alert: Alert, actor: Actor) -> None:
        """An incident resolves when its last alert does ("Incidents" support page)."""
        alert.status = "resolved"
        self._record.touch(incident)
        if incident.is_open and all(other.status == "resolved" for other in incident.alerts):
            self.resolve(incident, actor)

    # Timers

    def next_due(self) -> float | None:
        return self._timers[0][0] if self._timers else None

    def fire_due(self) -> None:
        """Carry out the timers that are due, each dated to the moment it was due."""
        now = self._account.clock.now()
        while self._timers and self._timers[0][0] <= now:
            due, _, incident_id = heapq.heappop(self._timers)
            incident = self._account.incidents.get(incident_id)
            if incident is None or not incident.is_open:
                continue
            self._record.moment = due
            try:
                if incident.resolve_at == due:
                    self.resolve(incident, self._timer(incident))
                elif incident.unacknowledge_at == due:
                    self._unacknowledge(incident, self._timer(incident))
            finally:
                self._record.moment = None

    def rearm(self) -> None:
        """Set the timers of all open incidents again, after a snapshot was read or dropped."""
        self._timers = []
        for incident in self._account.open_incidents():
            for at in (incident.unacknowledge_at, incident.resolve_at):
                if at:
                    self._alarm(incident, at)

    def _alarm(self, incident: Incident, at: float) -> float:
        heapq.heappush(self._timers, (at, next(self._sequence), incident.id))
        return at

    def _start_auto_resolve(self, incident: Incident, at: float) -> None:
        timeout = self._account.services[incident.service_id].auto_resolve_timeout
        incident.resolve_at = self._alarm(incident, at + timeout) if timeout else None

    def _timer(self, incident: Incident) -> Actor:
        """Who a timer's webhooks name: null "might indicate automation" ("Webhooks Overview" page)."""
        is_service = self._faults.knobs.timer_agent == "service"
        return Actor(Agent("service", incident.service_id), "timeout") if is_service else TIMED_OUT

    def _unacknowledge(self, incident: Incident, actor: Actor, silent: bool = False) -> None:
        at = self._record.touch(incident)
        self._change_status(incident, "triggered", actor, at)
        incident.acknowledgements, incident.unacknowledge_at = [], None
        self._record.log(incident, "unacknowledge", "Unacknowledged.", actor, at)
        if not silent:
            self._record.report("incident.unacknowledged", incident, actor, at)

    def _change_status(self, incident: Incident, status: str, actor: Actor, at: float) -> None:
        incident.status = status
        incident.last_status_change_at = at
        incident.last_status_change_by = actor.agent or Agent("service", incident.service_id)
        self._account.reindex(incident)
