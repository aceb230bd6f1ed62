"""The plain way, to compare with: apply each event as it comes.

A webhook becomes a task that changes the Case, a change of a Case becomes a task that calls PagerDuty, a failed call
is tried again a few times, and what was done in PagerDuty by our own user is taken for an echo and dropped. That is how
most such integrations are written. It runs against the same people, network and faults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pagerduty_sync.domain.cases import Actor, Case, CaseEvent, CasePriority, CaseStatus
from pagerduty_sync.domain.incidents import IncidentEvent, IncidentStatus
from pagerduty_sync.errors import PagerDutyError, RetryableError, SyncError
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.pagerduty.schemas import parse_event
from pagerduty_sync.simulator import seeds
from tests.histories.journal import Pair
from tests.histories.people import SERVICES
from tests.histories.world import World

TRIES = 5
PRIORITY_OF = {id_: CasePriority(name) for name, id_ in seeds.PRIORITY_IDS.items()}
STATUS_OF = {"ACKNOWLEDGED": IncidentStatus.ACKNOWLEDGED, "RESOLVED": IncidentStatus.RESOLVED}


class BaselineWorkers:
    """Keeps no state but which incident was opened for which Case; messages are all there is."""

    name = "baseline"

    def __init__(self, world: World) -> None:
        self._world = world
        self._this = world.application
        self._incidents: dict[str, str] = {}
        self._sent: dict[str, int] = {}

    # ------------------------------------------------------------ what the world asks

    def accept(self, body: bytes) -> None:
        self._world.nudge("webhook", body)

    def case_changed(self, case_id: str) -> None:
        """One message for each change since the last time, as an outbox would send them."""
        last = self._sent.get(case_id, 0)
        events: list[CaseEvent] = self._world.quietly(lambda: self._this.case_events.waiting(case_id))
        for event in events:
            if event.id > last:
                self._sent[case_id] = event.id
                if event.actor.kind != "pagerDuty":
                    self._world.nudge("change", (event, 1))

    def run(self, job: str, payload: Any) -> None:
        match job:
            case "webhook":
                self._apply(parse_event(payload))
            case "change":
                event, attempt = payload
                try:
                    self._call(event)
                except RetryableError:
                    if attempt < TRIES:
                        self._world.nudge("change", (event, attempt + 1), 2.0**attempt)
                except PagerDutyError as exc:
                    self._world.tell(f"  given up: {exc}")

    def reconcile(self) -> None:
        """There is none."""

    def watch(self) -> None:
        """Nobody looks; somebody notices one day and switches the subscription on again."""
        for subscription in self._world.simulator.subscriptions.all():
            self._world.simulator.subscriptions.enable(subscription)

    def wakes_at(self) -> float | None:
        return None

    def clear(self) -> None:
        self._incidents.clear()
        self._sent.clear()

    def pairs(self) -> Mapping[str, Pair]:
        return {case_id: Pair(incident_id, "linked") for case_id, incident_id in self._incidents.items()} | {
            case_id: Pair(None, "opening") for case_id in self._sent if case_id not in self._incidents
        }

    # ------------------------------------------------------------ from PagerDuty

    def _apply(self, event: IncidentEvent) -> None:
        case_id = next((c for c, incident_id in self._incidents.items() if incident_id == event.incident_id), None)
        if case_id is None or (event.agent is not None and event.agent.id == seeds.BOT_ID):
            return
        cases, actor = self._this.cases, event.agent or Actor("pagerDuty", name="PagerDuty")
        priority = event.incident.priority_id if event.incident else None
        text = event.note.text if event.note else ""
        acts: dict[str, Callable[[], Any]] = {
            "incident.acknowledged": lambda: cases.acknowledge(case_id, actor),
            "incident.unacknowledged": lambda: cases.unacknowledge(case_id, actor),
            "incident.resolved": lambda: cases.resolve(case_id, actor),
            "incident.priority_updated": lambda: cases.override_priority(
                case_id, actor, PRIORITY_OF[priority] if priority else None
            ),
            "incident.annotated": lambda: cases.place_comment(case_id, actor, text[:9_999], event.id),
        }
        if event.event_type in acts:
            try:
                acts[event.event_type]()
            except SyncError as exc:
                self._world.tell(f"  not applied: {exc}")

    # ------------------------------------------------------------ from the Case

    def _call(self, event: CaseEvent) -> None:
        client = self._this.client(self._world.integration_id)
        case = self._this.cases.get_case(event.case_id)
        if event.kind == "created":
            self._open(client, case)
            return
        incident_id = self._incidents.get(case.id)
        if incident_id is None:
            return
        content = self._this.cases.get_event(event.timeline_event_id or "").content
        if event.kind == "statusChanged" and content["newStatus"] in STATUS_OF:
            client.update_incident(incident_id, status=STATUS_OF[content["newStatus"]])
            if content["newStatus"] == CaseStatus.RESOLVED and case.resolution_reason:
                client.create_note(incident_id, f"Resolution Note: {case.resolution_reason}")
        elif event.kind == "priorityDetailsChanged":
            override = content["to"].get("override")
            client.update_incident(incident_id, priority_id=seeds.PRIORITY_IDS[override] if override else None)
        elif event.kind == "comment":
            client.create_note(incident_id, f"{event.actor.label}: {content['unsafeText']}")
        elif event.kind == "resolutionReasonChangedEvent":
            client.create_note(incident_id, f"Resolution Note: {content['to']}")

    def _open(self, client: PagerDutyClient, case: Case) -> None:
        made = client.create_incident(
            case.title,
            SERVICES[self._world.service],
            f"case-{case.id}",
            "",
            seeds.PRIORITY_IDS[case.priority],
        )
        self._incidents[case.id] = made.id
