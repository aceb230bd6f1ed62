"""What people do in a story: Jane on the Cases, Ada in PagerDuty. They meet no faults; what cannot be, is skipped."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pagerduty_sync.domain.cases import Actor, CasePriority
from pagerduty_sync.errors import SyncError
from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.model import Incident
from tests.histories.journal import Pair, Written
from tests.histories.wiring import CALL_SECONDS, PAGERDUTY_URL, serve

if TYPE_CHECKING:
    from tests.histories.world import World

JANE = Actor("user", "7c6b2a2e-3f5a-4a57-9d0c-9f1c2f1f0001", "Jane Doe", "jane@example.com")
SERVICES = {"checkout": seeds.CHECKOUT_SERVICE_ID, "payments": seeds.PAYMENTS_SERVICE_ID}
LONG_NOTE_BYTES = 60_000


class People:
    """The people of one history. Every text they write holds a word of its own, so that it is found again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._texts = itertools.count(1)
        self._others: dict[int, str] = {}
        self.closed_at: dict[str, float] = {}

    def act_on_case(self, case_id: str, verb: str, value: str) -> None:
        """Jane changes a Case, if its state allows it."""
        cases = self._world.application.cases
        text = f"words-{next(self._texts)}."
        acts: dict[str, Callable[[], Any]] = {
            "acknowledge": lambda: cases.acknowledge(case_id, JANE),
            "unacknowledge": lambda: cases.unacknowledge(case_id, JANE),
            "resolve": lambda: cases.resolve(case_id, JANE),
            "resolve with reason": lambda: cases.resolve(case_id, JANE, f"reason {text}"),
            "reason": lambda: cases.set_resolution_reason(case_id, JANE, f"reason {text}"),
            "close": lambda: cases.close(case_id, JANE),
            "priority": lambda: cases.override_priority(case_id, JANE, CasePriority(value)),
            "priority cleared": lambda: cases.override_priority(case_id, JANE, None),
            "comment": lambda: cases.add_comment(case_id, JANE, f"comment {text}"),
        }
        try:
            self._world.as_a_person(acts[verb])
        except SyncError as exc:
            self._world.tell(f"  not possible: {exc}")
            return
        if verb == "close":
            self.closed_at[case_id] = self._world.clock.now()
        self._world.workers.case_changed(case_id)

    # ------------------------------------------------------------ people in PagerDuty

    def incident_of(self, at: int) -> Incident | None:
        """The incident people take for this Case's: the one opened for it, or what it was merged into."""
        found = self._world.simulator.account.with_key(f"case-{self._world.case_ids[at]}")
        incident: Incident | None = next(iter(found), None)
        for _ in range(10):
            if incident is None or not incident.merged_into:
                break
            incident = self._world.simulator.account.incident(incident.merged_into)
        return incident

    def act_in_pagerduty(self, at: int, what: str, value: str) -> None:
        """Ada changes the incident of a Case, or another one, if its state allows it."""
        if what.startswith("other "):
            incident = self._world.simulator.account.incident(self._others.get(at, "?"))
        else:
            incident = self.incident_of(at)
        if incident is None:
            return
        path, verb = f"/incidents/{incident.id}", what.partition(" ")[2]
        is_open = incident.is_open
        text = f"words-{next(self._texts)}."
        if verb == "acknowledge" and is_open:
            self._change(path, status="acknowledged")
        elif verb == "urgency raised" and is_open:
            self._change(path, urgency="low")
            self._change(path, urgency="high")
        elif verb == "resolve" and is_open:
            self._change(path, status="resolved")
        elif verb == "resolve with note" and is_open:
            self._write_note(incident, f"Resolution Note: {text}")
            self._change(path, status="resolved")
        elif verb == "note with resolve" and is_open:
            self._change(path, status="resolved")
            self._write_note(incident, f"Resolution Note: {text}")
        elif verb == "re-open" and not is_open:
            self._change(path, status="triggered")
        elif verb == "re-open acknowledged" and not is_open:
            self._change(path, status="acknowledged")
        elif verb == "snooze" and is_open:
            self.responder("POST", f"{path}/snooze", {"duration": 3600})
        elif verb == "priority":
            reference = {"id": seeds.PRIORITY_IDS[value], "type": "priority_reference"}
            self._change(path, priority=reference)
        elif verb == "priority cleared":
            self._change(path, priority=None)
        elif verb == "note":
            self._write_note(incident, f"note {text}")
        elif verb == "long note":
            self._write_note(incident, f"note {text}{'x' * LONG_NOTE_BYTES}")
        elif verb == "resolution note":
            self._write_note(incident, f"Resolution Note: {text}")
        elif verb == "merged into own":
            self._merge(incident, self.incident_of((at + 1) % len(self._world.case_ids)))
        elif verb == "merged into other":
            self._merge(incident, self._other(at))

    def _change(self, path: str, **changes: Any) -> None:
        self.responder("PUT", path, {"incident": {"type": "incident_reference", **changes}})

    def _write_note(self, incident: Incident, text: str) -> None:
        pairs: Mapping[str, Pair] = self._world.quietly(self._world.workers.pairs)
        case_id = next(
            (
                case_id
                for case_id, pair in pairs.items()
                if (pair.incident_id == incident.id and pair.state == "linked")
                or (pair.state == "opening" and incident.key == f"case-{case_id}")
            ),
            None,
        )
        self.responder("POST", f"/incidents/{incident.id}/notes", {"note": {"content": text}})
        self._world.journal.notes.append(Written(text, incident.id, case_id, text.startswith("Resolution Note:")))

    def _merge(self, source: Incident, target: Incident | None) -> None:
        if target is None or target.id == source.id or not target.is_open or source.merged_into or not source.is_open:
            return
        references = [{"id": source.id, "type": "incident_reference"}]
        self.responder("PUT", f"/incidents/{target.id}/merge", {"source_incidents": references})

    def _other(self, at: int) -> Incident | None:
        """An incident that has no Case, for one to be merged into."""
        if at not in self._others:
            body = {"type": "incident", "title": f"other {at}", "service": {"id": SERVICES[self._world.service]}}
            self._others[at] = self.responder("POST", "/incidents", {"incident": body})["incident"]["id"]
        found: Incident | None = self._world.simulator.account.incident(self._others[at])
        return found

    def responder(self, method: str, path: str, body: object) -> Any:
        """A call to PagerDuty's REST API by a person, who meets no faults."""
        headers = {
            "Authorization": f"Token token={seeds.FULL_KEY}",
            "From": seeds.ADA_EMAIL,
            "Content-Type": "application/json",
        }
        self._world.simulator.limits.clear()
        status, _, content = serve(
            self._world.pagerduty, method, PAGERDUTY_URL + path, headers, json.dumps(body).encode()
        )
        self._world.clock.advance(CALL_SECONDS)
        assert status < 300, (method, path, body, status, content)
        return json.loads(content)
