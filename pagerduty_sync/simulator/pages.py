"""What a responder sees and clicks: incidents, one incident, webhooks. Server-rendered forms, no script, no login.

Every button does what the same button does in PagerDuty's web application; the person is the one chosen under "act as".
"""

import re
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from .access import client_of
from .changes import Change, Creation, check_merge, check_note_content
from .clock import rest_time, webhook_time
from .errors import ApiError, invalid, not_found
from .model import Actor, Agent, Incident, User
from .seeds import ADA_EMAIL, RESPONDING_ROLES
from .simulator import Simulator

COOKIE = "simulator_user"
SHOWN = 200
SNOOZES = ((300, "5 minutes"), (3600, "1 hour"), (14_400, "4 hours"), (86_400, "1 day"))


def blueprint(simulator: Simulator) -> Blueprint:
    pages = Blueprint("pages", __name__)
    account, incidents, faults = simulator.account, simulator.incidents, simulator.faults

    def person() -> User:
        """Chosen in the form, or by cookie, else Ada."""
        chosen = request.form.get("user") or request.cookies.get(COOKIE) or ADA_EMAIL
        user = account.users.get(chosen) or account.users_by_email.get(chosen.lower())
        return user or account.users_by_email[ADA_EMAIL]

    def actor() -> Actor:
        return Actor(Agent("user", person().id), "website", client=client_of(faults.knobs))

    def find(id_: str) -> Incident:
        incident = account.incident(id_)
        if incident is None:
            raise not_found()
        return incident

    def show(template: str, **values: Any) -> str:
        people = [user for user in account.users.values() if user.role in RESPONDING_ROLES]
        shared = {"person": person(), "people": people, "account": account, "time": rest_time}
        return render_template(template, **shared, **values, error=request.args.get("error"))

    def back_to(incident: Incident) -> BaseResponse:
        return redirect(f"/ui/incidents/{incident.id}", 303)

    @pages.after_request
    def keep(response: Response) -> Response:
        if request.method == "POST":
            simulator.changed()
        return response

    @pages.errorhandler(ApiError)
    def explain(error: ApiError) -> BaseResponse | tuple[str, int]:
        """A refused click goes back to where it was made, with the reason."""
        detail = error.body["error"]
        text = ". ".join([detail["message"], *detail.get("errors", [])])
        if error.status == 404 or request.method != "POST":
            return show("problem.html", text=text), error.status
        parts = request.path.split("/")
        place = "/".join(parts[:4]) if len(parts) > 4 else "/ui/incidents"
        return redirect(f"{place}?error={quote(text)}", 303)

    @pages.get("/")
    def home() -> BaseResponse:
        return redirect("/ui/incidents")

    @pages.post("/ui/act-as")
    def act_as() -> BaseResponse:
        place = request.form.get("place", "")
        # Only to a page of ours, whatever the form says.
        answer = redirect(place if re.fullmatch(r"/ui/[\w/]+", place) else "/ui/incidents", 303)
        answer.set_cookie(COOKIE, person().email, samesite="Strict", httponly=True)
        return answer

    @pages.get("/ui/incidents")
    def list_incidents() -> str:
        wants_all = request.args.get("show") == "all"
        with account.lock:
            source = reversed(account.incidents.values()) if wants_all else account.open_incidents()
            newest = sorted(source, key=lambda incident: -incident.number)
            return show("incidents.html", incidents=newest[:SHOWN], total=len(newest), wants_all=wants_all)

    @pages.post("/ui/incidents")
    def create() -> BaseResponse:
        title, service_id = request.form.get("title", "").strip(), request.form.get("service", "")
        if not title:
            raise invalid("Title cannot be empty.")
        if service_id not in account.services:
            raise invalid("Service Not Found")
        details = request.form.get("details", "").strip() or None
        wanted = Creation(title, service_id, None, None, "high", details, (), None, "incident_default", None)
        with account.lock:
            incident = incidents.create(wanted, actor())
        return back_to(incident) if incident.id in account.incidents else redirect("/ui/incidents", 303)

    @pages.get("/ui/incidents/<id_>")
    def incident_page(id_: str) -> str:
        with account.lock:
            incident = find(id_)
            others = [other for other in account.open_incidents() if other.id != incident.id]
            others.sort(key=lambda other: -other.number)
            return show(
                "incident.html", incident=incident, others=others[:SHOWN], snoozes=SNOOZES, now=simulator.clock.now()
            )

    @pages.post("/ui/incidents/<id_>/acknowledge")
    def acknowledge(id_: str) -> BaseResponse:
        with account.lock:
            incident = find(id_)
            if not incident.is_open:
                raise invalid("Incident Already Resolved", code=1001)
            incidents.apply(incident, Change(status="acknowledged"), actor())
        return back_to(incident)

    @pages.post("/ui/incidents/<id_>/resolve")
    def resolve(id_: str) -> BaseResponse:
        """With a text, PagerDuty adds a note `Resolution Note: …` beside the resolve; their order is not fixed."""
        resolution = request.form.get("resolution", "").strip() or None
        with account.lock:
            incident = find(id_)
            if not incident.is_open:
                raise invalid("Incident Already Resolved", code=1001)
            incidents.resolve(incident, actor(), resolution, as_note=resolution is not None)
        return back_to(incident)

    @pages.post("/ui/incidents/<id_>/reopen")
    def reopen(id_: str) -> BaseResponse:
        with account.lock:
            incident = find(id_)
            if incident.is_open:
                raise invalid("Incident is open.")
            incidents.apply(incident, Change(status="triggered"), actor())
        return back_to(incident)

    @pages.post("/ui/incidents/<id_>/notes")
    def add_note(id_: str) -> BaseResponse:
        with account.lock:
            incident = find(id_)
            content = check_note_content(faults.knobs, request.form.get("content", ""))
            simulator.notes.add(incident, content, actor())
        return back_to(incident)

    @pages.post("/ui/incidents/<id_>/priority")
    def set_priority(id_: str) -> BaseResponse:
        wanted = request.form.get("priority") or None
        with account.lock:
            incident = find(id_)
            if wanted is not None and wanted not in account.priorities:
                raise invalid("Priority Not Found", code=1020)
            incidents.apply(incident, Change(priority_id=wanted), actor())
        return back_to(incident)

    @pages.post("/ui/incidents/<id_>/snooze")
    def snooze(id_: str) -> BaseResponse:
        text = request.form.get("seconds", "")
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 604_800:
            raise invalid("Duration must be from 1 to 604800 seconds.")
        with account.lock:
            incident = find(id_)
            incidents.snooze(incident, int(text), actor())
        return back_to(incident)

    @pages.post("/ui/incidents/<id_>/merge")
    def merge(id_: str) -> BaseResponse:
        """This incident is the source; it goes into the chosen target."""
        with account.lock:
            source, target = find(id_), find(request.form.get("target", ""))
            incidents.merge(target, check_merge(account, target, [{"id": source.id}]), actor())
        return back_to(target)

    @pages.get("/ui/webhooks")
    def webhooks() -> str:
        rows = [
            (s, simulator.subscriptions.is_disabled(s), account.services.get(s.filter_id or ""))
            for s in simulator.subscriptions.all()
        ]
        attempts = simulator.deliveries.newest(SHOWN)[::-1]
        pending, now = len(simulator.dispatcher.pending()), webhook_time(simulator.clock.now())
        return show("webhooks.html", subscriptions=rows, attempts=attempts, pending=pending, now=now)

    @pages.post("/ui/webhooks/<id_>/<action>")
    def change_subscription(id_: str, action: str) -> BaseResponse:
        subscription = simulator.subscriptions.get(id_)
        if subscription is None or action not in ("enable", "ping"):
            raise not_found()
        if action == "enable":
            simulator.subscriptions.enable(subscription)
        else:
            simulator.dispatcher.ping(subscription)
        return redirect("/ui/webhooks", 303)

    return pages
