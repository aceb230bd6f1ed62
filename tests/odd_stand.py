"""What tests of odd incidents share: the ways to hear of something, and what we asked PagerDuty to change."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from pagerduty_sync.simulator import seeds
from tests.harness import Harness

WAYS = ("webhook", "reconcile", "poll", "read")
"""A webhook; or it is lost, and pages and the account's log tell, or the log alone, or somebody asks for a read."""

PRIORITIES = {id_: name for name, id_ in seeds.PRIORITY_IDS.items()}


def hear(harness: Harness, case_id: str, way: str, happens: Callable[[], object]) -> None:
    """Have something happen in PagerDuty and be heard of in one way only."""
    harness.next_second()
    if way != "webhook":
        harness.faults(webhook_drop={"probability": 1.0})
    happens()
    harness.run()
    if way != "webhook":
        ask(harness, case_id, way)
        harness.faults(webhook_drop=None)


def ask(harness: Harness, case_id: str, way: str) -> None:
    """Learn by reading what no webhook has told."""
    this = harness.application
    {
        "reconcile": this.upkeep.reconcile,
        "poll": this.upkeep.poll,
        "read": lambda: this.links.doubt([harness.link(case_id).id], 0, "reconcile"),
    }[way]()
    harness.run()


def our_writes(harness: Harness) -> list[str]:
    """Everything we asked PagerDuty to change, in words, oldest first; what it refused says so."""
    rows = harness.sim("GET", "/_sim/requests", params={"from": seeds.BOT_EMAIL, "limit": "5000"})["requests"]
    return [_in_words(row) for row in rows if row["method"] != "GET"]


def _in_words(row: dict[str, Any]) -> str:
    body = json.loads(row["body"]) if len(row["body"]) < 60_000 else {}
    if row["path"].endswith("/notes"):
        word = "note"
    elif row["path"] == "/incidents":
        word = "open" if row["method"] == "POST" else "bulk"
    else:
        changes = body["incident"]
        priority = changes.get("priority") or {}
        word = changes.get("status") or f"priority {PRIORITIES.get(priority.get('id', ''), 'none')}"
    return word if row["status"] < 300 else f"{word} refused"


def requests_made(harness: Harness, happens: Callable[[], object]) -> list[str]:
    """Method and path of every call anybody made while something happened."""
    before = harness.sim("GET", "/_sim/requests", params={"limit": "1"})["requests"][-1]["seq"]
    happens()
    rows = harness.sim("GET", "/_sim/requests", params={"after": str(before), "limit": "5000"})["requests"]
    return [f"{row['method']} {row['path']}" for row in rows]


def reads_nothing_more(harness: Harness) -> bool:
    """Whether reconcile, once it has seen what happened, costs a page of incidents and one of the log, and no read."""
    this = harness.application
    requests_made(harness, lambda: (this.upkeep.reconcile(), harness.run()))
    again = requests_made(harness, lambda: (this.upkeep.reconcile(), harness.run()))
    return sorted(again) == ["GET /incidents", "GET /log_entries"]


def an_open_incident(harness: Harness, service_id: str = seeds.CHECKOUT_SERVICE_ID) -> str:
    """An incident that somebody opened by hand and no Case belongs to."""
    service = {"id": service_id, "type": "service_reference"}
    body = {"incident": {"type": "incident", "title": "somebody's own", "service": service}}
    return str(harness.responder("POST", "/incidents", body)["incident"]["id"])


def merge(harness: Harness, source: str, target: str) -> None:
    sources = {"source_incidents": [{"id": source, "type": "incident_reference"}]}
    harness.responder("PUT", f"/incidents/{target}/merge", sources)


def delete(harness: Harness, incident_id: str) -> None:
    """As PagerDuty's support would; nobody is told."""
    harness.sim("DELETE", f"/_sim/incidents/{incident_id}")


def pass_time(harness: Harness, seconds: float) -> None:
    """Move PagerDuty's clock; timers that become due on the way go off."""
    harness.sim("POST", "/_sim/clock/advance", json={"seconds": seconds})


def date_replies_by_the_simulators_clock(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """PagerDuty dates its replies by the clock it stamps incidents with; a test's server would by this machine's."""
    offset = harness.sim("GET", "/_sim/clock")["offset_seconds"]
    now = lambda self, timestamp=None: formatdate(time.time() + offset, usegmt=True)  # noqa: E731
    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", now)


def incident_id_of(harness: Harness, case_id: str) -> str:
    incident_id = harness.link(case_id).incident_id
    assert incident_id is not None
    return incident_id


def told(harness: Harness, case_id: str, words: str) -> int:
    """How many comments of the Case say so."""
    return sum(words in text for text in harness.comments(case_id))
