"""The incident operations of the REST API: reads the request, asks `changes` and `incidents`, renders the answer."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Blueprint, Response, g, jsonify, request

from .access import acting_user
from .changes import check_change, check_creation, check_merge, check_note_content
from .clock import parse_time, rest_time
from .errors import ApiError, invalid, not_found
from .gate import read_json, read_wrapped
from .model import Actor, Incident, Json, LogEntry
from .paging import page
from .render import custom_fields
from .simulator import Simulator

MONTH = 31 * 86_400.0
SIX_MONTHS = 184 * 86_400.0
MOST_IN_BULK = 250
LONGEST_SNOOZE = 604_800
OVERVIEW = frozenset(
    f"{kind}_log_entry"
    for kind in (
        "acknowledge",
        "annotate",
        "assign",
        "escalate",
        "resolve",
        "snooze",
        "trigger",
        "unacknowledge",
        "reopen",
    )
)


def blueprint(simulator: Simulator) -> Blueprint:
    """Every view runs under the account's lock, so it sees and makes whole changes only."""
    api = Blueprint("incidents", __name__)
    account, shapes, faults = simulator.account, simulator.shapes, simulator.faults
    incidents, notes = simulator.incidents, simulator.notes

    def route(method: str, rule: str, status: int = 200) -> Callable[[Callable[..., Any]], None]:
        def register(view: Callable[..., Any]) -> None:
            def locked(**arguments: str) -> tuple[Response, int]:
                with account.lock:
                    answer = view(**arguments)
                    return (jsonify(answer), status) if answer is not None else (Response(), 204)

            api.add_url_rule(rule, f"{method} {rule}".replace(".", "_"), locked, methods=[method])

        return register

    def actor(required: bool = True) -> Actor:
        return acting_user(account, faults.knobs, g.key, required)

    def find(id_: str) -> Incident:
        incident = account.incident(id_)
        if incident is None:
            status = faults.knobs.deleted_incident_status if id_ in account.deleted else 404
            raise not_found(faults.knobs.incident_not_found_code, status)
        return incident

    @route("GET", "/incidents")
    def list_incidents() -> Json:
        return page("incidents", _matching(simulator), lambda incident: shapes.incident(incident, _include()))

    @route("POST", "/incidents", 201)
    def create() -> Json:
        who = actor()
        wanted = check_creation(account, faults.knobs, read_wrapped("incident"))
        return {"incident": shapes.incident(incidents.create(wanted, who))}

    @route("GET", "/incidents/<id_>")
    def get(id_: str) -> Json:
        return {"incident": shapes.incident(find(id_), _include())}

    @route("PUT", "/incidents/<id_>")
    def update(id_: str) -> Json:
        who, incident = actor(), find(id_)
        change = check_change(account, faults.knobs, incident, read_wrapped("incident"), who)
        incidents.apply(incident, change, who)
        return {"incident": shapes.incident(incident)}

    @route("PUT", "/incidents")
    def update_many() -> Json:
        """One bad item rejects all, and changes nothing ("Update incidents" API page)."""
        who, items = actor(), read_json().get("incidents")
        if not isinstance(items, list) or not items:
            raise invalid("Incidents must be an array.")
        if len(items) > MOST_IN_BULK:
            raise ApiError(413, "Request Entity Too Large", 2001, f"At most {MOST_IN_BULK} incidents may be updated.")
        checked = []
        for item in items:
            incident = account.incident(str(item.get("id"))) if isinstance(item, dict) else None
            if incident is None:
                raise invalid("Incident not found.", code=1004)
            checked.append((incident, check_change(account, faults.knobs, incident, item, who)))
        for incident, change in checked:
            incidents.apply(incident, change, who)
        return {"incidents": [shapes.incident(incident) for incident, _ in checked]}

    @route("PUT", "/incidents/<id_>/merge")
    def merge(id_: str) -> Json:
        who, target = actor(), find(id_)
        sources = check_merge(account, target, read_json().get("source_incidents"))
        incidents.merge(target, sources, who)
        return {"incident": shapes.incident_reference(target)}

    @route("POST", "/incidents/<id_>/snooze", 201)
    def snooze(id_: str) -> Json:
        who, incident, seconds = actor(), find(id_), read_json().get("duration")
        if type(seconds) is not int or not 1 <= seconds <= LONGEST_SNOOZE:
            raise invalid(f"Duration must be from 1 to {LONGEST_SNOOZE} seconds.")
        incidents.snooze(incident, seconds, who)
        return {"incident": shapes.incident(incident)}

    @route("GET", "/incidents/<id_>/notes")
    def list_notes(id_: str) -> Json:
        """Not paginated; the newest first, as in the API page's example."""
        return {"notes": [shapes.note(note) for note in reversed(find(id_).notes)]}

    @route("POST", "/incidents/<id_>/notes")
    def create_note(id_: str) -> Json:
        who, incident = actor(), find(id_)
        content = check_note_content(faults.knobs, read_wrapped("note").get("content"))
        return {"note": shapes.note(notes.add(incident, content, who))}

    @route("PUT", "/incidents/<id_>/notes/<note_id>")
    def update_note(id_: str, note_id: str) -> Json:
        actor()
        incident = find(id_)
        note = notes.find(incident, note_id)
        notes.edit(incident, note, check_note_content(faults.knobs, read_wrapped("note").get("content")))
        return {"note": shapes.note(note)}

    @route("DELETE", "/incidents/<id_>/notes/<note_id>")
    def delete_note(id_: str, note_id: str) -> None:
        """The contract asks for no From here."""
        actor(required=False)
        incident = find(id_)
        notes.delete(incident, notes.find(incident, note_id))

    @route("POST", "/incidents/<id_>/status_updates")
    def publish(id_: str) -> Json:
        who, incident, wanted = actor(), find(id_), read_json()
        message = wanted.get("message")
        if not isinstance(message, str) or not message.strip():
            raise invalid("Message cannot be empty.")
        extras = {name: wanted.get(name) for name in ("subject", "html_message") if name in wanted}
        if any(not isinstance(text, str) for text in extras.values()):
            raise invalid("Subject and html_message must be strings.")
        update_id, at = notes.publish(incident, message, who)
        sender = shapes.user_reference(who.user_id or "")
        created = {"id": update_id, "message": message, "sender": sender, "created_at": rest_time(at)}
        return {"status_update": created | extras}

    @route("GET", "/incidents/<id_>/log_entries")
    def log_of_incident(id_: str) -> Json:
        return page("log_entries", _log_entries(reversed(find(id_).log)), shapes.log_entry)

    @route("GET", "/log_entries")
    def log_of_account() -> Json:
        return page("log_entries", _log_entries(reversed(account.log)), shapes.log_entry)

    @route("GET", "/log_entries/<id_>")
    def log_entry(id_: str) -> Json:
        if id_ not in account.log_by_id:
            raise not_found()
        return {"log_entry": shapes.log_entry(account.log_by_id[id_])}

    @route("GET", "/incidents/<id_>/alerts")
    def list_alerts(id_: str) -> Json:
        incident, statuses = find(id_), request.args.getlist("statuses[]")
        key = request.args.get("alert_key")
        found = (a for a in incident.alerts if (not statuses or a.status in statuses) and key in (None, a.key))
        return page("alerts", found, lambda alert: shapes.alert(incident, alert))

    @route("GET", "/incidents/<id_>/alerts/<alert_id>")
    def get_alert(id_: str, alert_id: str) -> Json:
        incident = find(id_)
        for alert in incident.alerts:
            if alert.id == alert_id:
                return {"alert": shapes.alert(incident, alert)}
        raise not_found()

    _register_custom_fields(route, simulator, find, actor)
    return api


def _register_custom_fields(
    route: Callable[[str, str, int], Callable[[Callable[..., Any]], None]],
    simulator: Simulator,
    find: Callable[[str], Incident],
    actor: Callable[[bool], Actor],
) -> None:
    @route("GET", "/incidents/<id_>/custom_fields/values", 200)
    def get_values(id_: str) -> Json:
        return {"custom_fields": custom_fields(find(id_))}

    @route("PUT", "/incidents/<id_>/custom_fields/values", 201)
    def put_values(id_: str) -> Json:
        incident, items = find(id_), read_json().get("custom_fields")
        who = actor(False)
        values: Json = {}
        for item in items if isinstance(items, list) else []:
            name = (item.get("name") or item.get("id")) if isinstance(item, dict) else None
            if not isinstance(name, str) or not name or isinstance(item.get("value"), dict):
                raise invalid("Custom field needs a name and a plain value.")
            values[name] = item.get("value")
        if not values:
            raise invalid("Custom fields cannot be empty.")
        simulator.notes.set_custom_fields(incident, values, who)
        return {"custom_fields": custom_fields(incident)}


def _include() -> frozenset[str]:
    return frozenset(request.args.getlist("include[]"))


def _matching(simulator: Simulator) -> Iterable[Incident]:
    """The filters of "List incidents". No priority filter is documented, so `priorities[]` is silently ignored."""
    account = simulator.account
    arguments = request.args
    statuses, services = frozenset(arguments.getlist("statuses[]")), frozenset(arguments.getlist("service_ids[]"))
    teams, users = frozenset(arguments.getlist("team_ids[]")), frozenset(arguments.getlist("user_ids[]"))
    urgencies, key = frozenset(arguments.getlist("urgencies[]")), arguments.get("incident_key")
    since, until = _window(simulator.clock.now())
    candidates: Iterable[Incident]
    if key == "":
        candidates = account.open_incidents()  # an empty key returns every open incident; a known quirk
    elif key is not None:
        candidates = account.with_key(key)
    else:
        candidates = account.incidents.values()
    found = (
        incident
        for incident in candidates
        if (not statuses or incident.status in statuses)
        and (not services or incident.service_id in services)
        and (not urgencies or incident.urgency in urgencies)
        and since <= incident.created_at <= until
        and (not users or any(user_id in users for user_id, _ in incident.assignments))
        and (not teams or not teams.isdisjoint(simulator.shapes.team_ids(incident)))
    )
    return _sorted(found)


def _window(now: float) -> tuple[float, float]:
    """The last month unless said otherwise, six months at most, or everything ("List incidents" API page)."""
    if request.args.get("date_range") == "all":
        return 0.0, float("inf")
    until = _time("until")
    since = _time("since")
    if since is None:
        since = (now if until is None else until) - MONTH
    if until is None:
        until = max(now, since)
    if until - since > SIX_MONTHS:
        raise invalid("The date range may span at most six months.")
    return since, until + 1.0


def _time(name: str) -> float | None:
    text = request.args.get(name)
    if not text:
        return None
    try:
        return parse_time(text)
    except (ValueError, OverflowError):
        raise invalid(f"{name.capitalize()} is not a valid date.") from None


_SORTABLE: dict[str, Callable[[Incident], float | str]] = {
    "incident_number": lambda incident: incident.number,
    "created_at": lambda incident: incident.created_at,
    "resolved_at": lambda incident: incident.resolved_at or 0.0,
    "urgency": lambda incident: incident.urgency,
}


def _sorted(found: Iterator[Incident]) -> Iterable[Incident]:
    """`sort_by=field:direction`, two at most, in one parameter or several. Unsorted is by number, as they are kept."""
    texts = [
        part for text in request.args.getlist("sort_by") + request.args.getlist("sort_by[]") for part in text.split(",")
    ]
    wanted = [text.partition(":") for text in texts if text]
    if len(wanted) > 2 or any(name not in _SORTABLE or way not in ("", "asc", "desc") for name, _, way in wanted):
        raise invalid("Sort by at most two of incident_number, created_at, resolved_at, urgency.")
    if not wanted:
        return found
    incidents = list(found)
    for name, _, way in reversed(wanted):
        incidents.sort(key=_SORTABLE[name], reverse=way == "desc")
    return incidents


def _log_entries(entries: Iterator[LogEntry]) -> Iterator[LogEntry]:
    """The newest first, within `since` and `until` when given."""
    since, until = _time("since"), _time("until")
    overview = request.args.get("is_overview") == "true"
    for entry in entries:
        if since is not None and entry.created_at < since:
            continue
        if until is not None and entry.created_at >= until:
            continue
        if overview and entry.type not in OVERVIEW:
            continue
        yield entry
