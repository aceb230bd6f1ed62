"""`make demo`: a whole installation for two minutes, both rides as people would see them, and a check mark per step.

Everything goes over HTTP, as a user would do it: the Case side through its API, the PagerDuty side as a responder
through the simulator's REST API. The exit code is 0 only when every step held.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import click
import requests

from pagerduty_sync.embedded.installation import Installation, an_installation
from pagerduty_sync.embedded.server import StartError
from pagerduty_sync.errors import SettingsError
from pagerduty_sync.simulator import seeds

PATIENCE_SECONDS = 30.0
CASES = "/mgmt/openapi/5/cases"
Json = dict[str, Any]


class Broken(Exception):  # noqa: N818 - the story is broken, the program is not
    """A step did not come true in time."""


@dataclass
class Sides:
    """Both sides of an installation, as the people on them reach it."""

    installation: Installation
    session: requests.Session = field(default_factory=requests.Session)

    # ------------------------------------------------------------ the Case's side

    def api(self, method: str, path: str, body: object = None, **params: str) -> Json:
        """A call to the service with the admin token."""
        reply = self.session.request(
            method,
            self.installation.web_url + path,
            json=body,
            params=params,
            headers={"Authorization": f"Bearer {self.installation.admin_token}"},
            timeout=15,
        )
        if not reply.ok:
            raise Broken(f"{method} {path} answered {reply.status_code}: {reply.text[:300]}")
        return dict(reply.json())

    def create_case(self, title: str, priority: str) -> Json:
        body = {"title": title, "priority": priority, "labels": {"team": ["payments"]}}
        return self.api("POST", "/api/v1/cases", body)

    def case(self, case_id: str) -> Json:
        return self.api("GET", f"/api/v1/cases/{case_id}")

    def timeline(self, case_id: str) -> list[Json]:
        return list(self.api("GET", f"{CASES}/cases/v1/{case_id}/events")["events"])

    def comments(self, case_id: str) -> list[str]:
        events = self.timeline(case_id)
        return [event["eventData"]["comment"]["unsafeText"] for event in events if "comment" in event["eventData"]]

    def comment(self, case_id: str, text: str) -> None:
        self.api("POST", f"{CASES}/cases/v1/{case_id}/comments", {"text": text})

    def deliveries(self, **filters: str) -> list[Json]:
        """The delivery log, newest first, all pages."""
        found: list[Json] = []
        token = ""
        while True:
            page = self.api(
                "GET", "/api/v1/deliveries", **filters, limit="500", **({"page_token": token} if token else {})
            )
            found += page["deliveries"]
            token = page["next_page_token"] or ""
            if not token:
                return found

    # ------------------------------------------------------------ PagerDuty's side

    def responder(self, method: str, path: str, body: object = None) -> Json:
        """A call to PagerDuty's REST API by Ada, who is on call."""
        reply = self.session.request(
            method,
            self.installation.simulator_url + path,
            json=body,
            headers={"Authorization": f"Token token={seeds.FULL_KEY}", "From": seeds.ADA_EMAIL},
            timeout=15,
        )
        if not reply.ok:
            raise Broken(f"PagerDuty: {method} {path} answered {reply.status_code}: {reply.text[:300]}")
        return dict(reply.json())

    def incident_of(self, case_id: str) -> Json:
        """The Case's incident with its notes; empty while there is none."""
        link = self.case(case_id)["pagerduty"] or {}
        if not link.get("incident_id"):
            return {}
        incident: Json = self.responder("GET", f"/incidents/{link['incident_id']}?include[]=body")["incident"]
        notes = self.responder("GET", f"/incidents/{link['incident_id']}/notes")["notes"]
        return {**incident, "notes": [note["content"] for note in notes]}

    def set_incident(self, incident_id: str, **changes: Any) -> None:
        # A person takes longer than this. Within one second PagerDuty's clock cannot tell who was first.
        time.sleep(1.1)
        self.responder("PUT", f"/incidents/{incident_id}", {"incident": {"type": "incident_reference", **changes}})

    def add_note(self, incident_id: str, text: str) -> None:
        self.responder("POST", f"/incidents/{incident_id}/notes", {"note": {"content": text}})

    def webhooks_pending(self) -> int:
        return int(self.responder("GET", "/_sim/deliveries?limit=1")["pending"])


@dataclass
class Story:
    """Steps that must come true; each waits as long as a patient person would."""

    sides: Sides
    say: Callable[[str], None]
    held: int = 0

    def chapter(self, title: str) -> None:
        self.say(f"\n{title}")

    def step(self, text: str, is_true: Callable[[], object]) -> None:
        """Wait until it is true and tick it off; raises Broken."""
        started = time.monotonic()
        last: object = None
        while time.monotonic() - started < PATIENCE_SECONDS:
            last = is_true()
            if last:
                self.held += 1
                self.say(f"  ✓ {text}  ({time.monotonic() - started:.1f} s)")
                return
            time.sleep(0.1)
        self.say(f"  ✗ {text}")
        raise Broken(f"after {PATIENCE_SECONDS:.0f} s it was still not so: {text}")

    def settle(self) -> None:
        """Wait until no webhook is on its way any more."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.sides.webhooks_pending() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1.0)


def main(say: Callable[[str], None] = click.echo) -> int:
    """Play the story; the exit code."""
    say("Starting a whole installation on free ports, in a directory that is thrown away …")
    try:
        with an_installation(lambda line: say(f"  {line}")) as installation:
            story = Story(Sides(installation), say)
            try:
                play(story)
            except Broken as exc:
                say(f"\nThe story broke: {exc}")
                say(installation.log("worker-inbound")[-2000:])
                say(installation.log("worker-outbound")[-2000:])
                return 1
            say("\nStopping …")
    except (StartError, SettingsError) as exc:
        say(str(exc))
        return 1
    except KeyboardInterrupt:
        say("Stopped.")
        return 130
    say(f"All {story.held} steps held.")
    return 0


def play(story: Story) -> None:
    """Both rides and the ending; raises Broken at the first step that does not hold."""
    first = ride_from_pagerduty(story)
    second = ride_from_the_case(story)
    third = ride_past_the_end(story)
    story.settle()
    the_log(story, first, [first, second, third])


def ride_from_pagerduty(story: Story) -> str:
    sides = story.sides
    story.chapter("First ride: PagerDuty leads")
    case = sides.create_case("Checkout latency above 2 s", "P3")
    id_, name = case["id"], case["name"]
    story.step(f"{name} is created, and its incident appears", lambda: sides.incident_of(id_))
    incident = sides.incident_of(id_)
    number = f"#{incident['incident_number']}"
    story.step(
        f"incident {number} links to {name}", lambda: f"/cases/{name}" in sides.incident_of(id_)["body"]["details"]
    )
    story.step(
        f"{name} links to incident {number}", lambda: any(incident["html_url"] in t for t in sides.comments(id_))
    )
    sides.set_incident(incident["id"], status="acknowledged")
    story.step(
        "Ada acknowledges in PagerDuty: the Case is acknowledged", lambda: sides.case(id_)["status"] == "ACKNOWLEDGED"
    )
    story.step("the timeline names her", lambda: _who_changed_status(sides, id_) == "Ada Responder")
    sides.set_incident(incident["id"], priority={"id": seeds.PRIORITY_IDS["P1"], "type": "priority_reference"})
    story.step("Ada sets P1 in PagerDuty: the Case is P1", lambda: sides.case(id_)["priority"] == "P1")
    sides.api("PUT", f"{CASES}/priority-override/v1/{id_}", {"priority": "CASE_PRIORITY_P2"})
    story.step(
        "the Case is set to P2: the incident is P2", lambda: sides.incident_of(id_)["priority"]["summary"] == "P2"
    )
    sides.comment(id_, "Seen on the dashboards since 09:14")
    story.step(
        "a comment on the Case becomes a note", lambda: _count(sides.incident_of(id_)["notes"], "since 09:14") == 1
    )
    sides.add_note(incident["id"], "Rolling back the last release")
    story.step("Ada's note becomes a comment", lambda: _count(sides.comments(id_), "Rolling back") == 1)
    sides.add_note(incident["id"], "Resolution Note: rolled back release 412")
    sides.set_incident(incident["id"], status="resolved")
    story.step("Ada resolves with a note: the Case is resolved", lambda: sides.case(id_)["status"] == "RESOLVED")
    story.step("with her words", lambda: sides.case(id_)["resolution_reason"] == "rolled back release 412")
    story.settle()
    story.step("still each note and each comment once", lambda: _each_once(sides, id_))
    return str(id_)


def ride_from_the_case(story: Story) -> str:
    sides = story.sides
    story.chapter("Second ride: the Case leads")
    id_ = sides.create_case("Payments queue is growing", "P2")["id"]
    story.step("a second Case has its incident", lambda: sides.incident_of(id_))
    sides.api("PUT", f"{CASES}/acknowledged/v1/{id_}", {})
    story.step(
        "acknowledged on the Case: so is the incident", lambda: sides.incident_of(id_)["status"] == "acknowledged"
    )
    sides.api("PUT", f"{CASES}/resolved/v1/{id_}", {"reason": "consumer restarted"})
    story.step("resolved on the Case: so is the incident", lambda: sides.incident_of(id_)["status"] == "resolved")
    story.step(
        "the resolution note stands there once",
        lambda: _count(sides.incident_of(id_)["notes"], "Resolution Note: consumer restarted") == 1,
    )
    return str(id_)


def ride_past_the_end(story: Story) -> str:
    sides = story.sides
    story.chapter("Third: the Case is closed while the incident is open")
    id_ = sides.create_case("Disk nearly full on db-7", "P4")["id"]
    story.step("a third Case has its incident", lambda: sides.incident_of(id_))
    incident = sides.incident_of(id_)
    sides.api("POST", f"{CASES}/closed/v1/{id_}", {})
    story.step("closed: one final note", lambda: _count(sides.incident_of(id_)["notes"], "was closed") == 1)
    story.step("the incident is untouched", lambda: sides.incident_of(id_)["status"] == "triggered")
    before = len(sides.comments(id_))
    sides.set_incident(incident["id"], status="acknowledged")
    sides.add_note(incident["id"], "Cleaned up old logs")
    sides.set_incident(incident["id"], status="resolved")
    story.step("what happens in PagerDuty now becomes comments", lambda: len(sides.comments(id_)) == before + 3)
    story.step("and nothing else", lambda: sides.case(id_)["status"] == "CLOSED")
    return str(id_)


def the_log(story: Story, case_id: str, all_cases: list[str]) -> None:
    sides, say = story.sides, story.say
    story.chapter("The delivery log of the first Case")
    for row in reversed(sides.deliveries(case=case_id)):
        arrow = "←" if row["direction"] == "inbound" else "→"
        say(
            f"  {row['at'][11:19]} {arrow} {row['operation']:<28} {row['outcome']:<10} {row['reason']:<14} "
            f"{row['detail']}"
        )
    rows = sides.deliveries()
    echoes = sum(row["reason"] == "echo" for row in rows)
    say(f"\n  {echoes} echoes suppressed, {len(rows)} rows in all")
    sent = sides.responder("GET", "/_sim/deliveries?limit=100000")["deliveries"]
    arrived = {row["event_id"] for row in sent if row["event_id"]}
    told = {row["event_id"] for row in rows if row["event_id"]}
    story.step(
        f"each of the {len(arrived)} webhooks has its row and its reason",
        lambda: arrived <= told and all(r["reason"] for r in rows),
    )
    story.step(
        "no Case has two incidents",
        lambda: len({sides.case(id_)["pagerduty"]["incident_id"] for id_ in all_cases}) == 3,
    )


def _who_changed_status(sides: Sides, case_id: str) -> str:
    changes = [event for event in sides.timeline(case_id) if "statusChanged" in event["eventData"]]
    return str(changes[-1]["actor"].get("pagerDuty", {}).get("displayName", "")) if changes else ""


def _each_once(sides: Sides, case_id: str) -> bool:
    comments, notes = sides.comments(case_id), sides.incident_of(case_id)["notes"]
    once_here = all(_count(comments, text) == 1 for text in ("since 09:14", "Rolling back"))
    once_there = all(_count(notes, text) == 1 for text in ("since 09:14", "Rolling back", "release 412"))
    return once_here and once_there and _count(comments, "release 412") == 0


def _count(texts: list[str], part: str) -> int:
    return sum(part in text for text in texts)
