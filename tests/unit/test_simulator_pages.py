"""The responder's page: every button does to the incident what it says, as the chosen person."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.app import create_app
from pagerduty_sync.simulator.model import Incident
from pagerduty_sync.simulator.simulator import Simulator
from pagerduty_sync.simulator.subscriptions import EVENT_TYPES


class Responder:
    """A person with a browser."""

    def __init__(self, app: Flask) -> None:
        self.simulator: Simulator = app.extensions["simulator"]
        self.simulator.reset()
        self.browser: FlaskClient = app.test_client()
        method = {"type": "http_delivery_method", "url": "http://127.0.0.1:9/"}
        wanted = {"delivery_method": method, "events": sorted(EVENT_TYPES), "filter": {"type": "account_reference"}}
        self.simulator.subscriptions.create({"type": "webhook_subscription"} | wanted)

    def open(self, title: str = "Checkout is slow", details: str = "") -> Incident:
        self.browser.post(
            "/ui/incidents", data={"title": title, "service": seeds.CHECKOUT_SERVICE_ID, "details": details}
        )
        return list(self.simulator.account.incidents.values())[-1]

    def click(self, incident: Incident, button: str, **fields: Any) -> str:
        reply = self.browser.post(f"/ui/incidents/{incident.id}/{button}", data=fields)
        assert reply.status_code == 303
        return reply.headers["Location"]

    def see(self, path: str) -> str:
        reply = self.browser.get(path)
        assert reply.status_code == 200
        return reply.get_data(as_text=True)

    @property
    def event_types(self) -> list[str]:
        return [webhook.event_type.removeprefix("incident.") for webhook in self.simulator.dispatcher.pending()]


@pytest.fixture(scope="module")
def app() -> Flask:
    """Making the application takes longer than most tests; each of them resets it instead."""
    return create_app(start=False)


@pytest.fixture
def responder(app: Flask) -> Responder:
    return Responder(app)


def test_the_list_shows_open_incidents_or_all(responder: Responder) -> None:
    first, _ = responder.open("Slow checkout"), responder.open("Full disk")
    responder.click(first, "resolve")
    assert "Slow checkout" not in responder.see("/ui/incidents")
    page = responder.see("/ui/incidents?show=all")
    assert "Slow checkout" in page and "Full disk" in page


def test_details_are_escaped_and_links_in_them_can_be_clicked(responder: Responder) -> None:
    incident = responder.open("<b>bold</b>", "See https://case.example/1?a=1&b=2 <script>")
    page = responder.see(f"/ui/incidents/{incident.id}")
    assert '<a href="https://case.example/1?a=1&amp;b=2"' in page
    assert "<b>bold" not in page and "<script>" not in page


def test_the_buttons_change_the_incident(responder: Responder) -> None:
    incident, other = responder.open(), responder.open("Other")
    responder.click(incident, "acknowledge")
    assert incident.status == "acknowledged"
    responder.click(incident, "priority", priority=seeds.PRIORITY_IDS["P2"])
    responder.click(incident, "notes", content="On it")
    responder.click(incident, "resolve")
    responder.click(incident, "reopen")
    responder.click(incident, "snooze", seconds="300")
    assert incident.status == "acknowledged"
    responder.click(incident, "merge", target=other.id)
    assert (incident.status, incident.merged_into) == ("resolved", other.id)
    expected = "acknowledged priority_updated annotated resolved reopened acknowledged resolved"
    own = [w.event_type for w in responder.simulator.dispatcher.pending() if w.incident_id == incident.id]
    assert own == [f"incident.{name}" for name in ["triggered", *expected.split()]]
    for path in (f"/ui/incidents/{incident.id}", f"/ui/incidents/{other.id}", "/ui/webhooks"):
        responder.see(path)


@pytest.mark.parametrize("order", ["note_first", "resolve_first"])
def test_resolving_with_a_text_makes_a_note_in_either_order(responder: Responder, order: str) -> None:
    responder.simulator.faults.change({"resolution_note_order": order})
    incident = responder.open()
    responder.click(incident, "resolve", resolution="Restarted the pool")
    assert [note.content for note in incident.notes] == ["Resolution Note: Restarted the pool"]
    expected = ["annotated", "resolved"] if order == "note_first" else ["resolved", "annotated"]
    assert responder.event_types[1:] == expected


def test_the_chosen_person_acts(responder: Responder) -> None:
    incident = responder.open()
    responder.browser.post("/ui/act-as", data={"user": seeds.BO_EMAIL, "place": f"/ui/incidents/{incident.id}"})
    responder.click(incident, "acknowledge")
    responder.click(incident, "notes", content="By Ada", user=seeds.ADA_EMAIL)
    assert incident.acknowledgements[0][0] == seeds.BO_ID
    assert incident.notes[0].user_id == seeds.ADA_ID


def test_act_as_leads_nowhere_else(responder: Responder) -> None:
    for place in ("https://evil.example/", "//evil.example", "/ui/../x\r\n"):
        reply = responder.browser.post("/ui/act-as", data={"user": seeds.BO_EMAIL, "place": place})
        assert "evil" not in reply.headers["Location"]


@pytest.mark.parametrize(
    ("button", "fields"),
    [
        ("reopen", {}),
        ("notes", {"content": " "}),
        ("priority", {"priority": "PNONE00"}),
        ("snooze", {"seconds": "soon"}),
    ],
)
def test_a_refused_click_comes_back_with_the_reason(responder: Responder, button: str, fields: dict[str, str]) -> None:
    incident = responder.open()
    place = responder.click(incident, button, **fields)
    assert place.startswith(f"/ui/incidents/{incident.id}?error=")
    assert 'role="alert"' in responder.see(place)


def test_a_browser_at_the_api_address_is_shown_the_page(responder: Responder) -> None:
    incident = responder.open()
    reply = responder.browser.get(f"/incidents/{incident.id}", headers={"Accept": "text/html,*/*"})
    assert (reply.status_code, reply.headers["Location"]) == (302, f"/ui/incidents/{incident.id}")
    assert responder.browser.get(f"/incidents/{incident.id}").status_code == 401


def test_unknown_pages_say_so(responder: Responder) -> None:
    assert responder.browser.get("/ui/incidents/QNONE").status_code == 404
    assert responder.browser.post("/ui/incidents/QNONE/resolve").status_code == 404
    assert responder.browser.get("/").headers["Location"] == "/ui/incidents"
