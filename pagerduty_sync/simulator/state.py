"""What the account holds and how to find it: records by id, the indexes over them, and the one lock around it all.

Knows no rule about incidents and nothing of HTTP.
"""

import secrets
import threading
import uuid
from collections.abc import Iterator

from . import seeds
from .clock import Clock
from .model import Alert, Incident, LogEntry, Policy, Priority, Service, Team, User

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def new_id(prefix: str, length: int) -> str:
    """An opaque id in one of the two lengths seen: `P` + 6 or `Q` + 13 ("Resource References" API page)."""
    return prefix + "".join(_LETTERS[byte % 36] for byte in secrets.token_bytes(length - len(prefix)))


def new_incident_id() -> str:
    return new_id("Q", 14)


def new_note_id() -> str:
    return new_id("P", 7)


def new_key() -> str:
    """An incident key nobody chose: 32 hexadecimal characters, as on incidents made by hand."""
    return uuid.uuid4().hex


class Account:
    """All records of the simulated account. Hold `lock` to read several or to change any."""

    def __init__(self, clock: Clock) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.keys = {key.secret: key for key in seeds.api_keys()}
        self.users: dict[str, User] = {user.id: user for user in seeds.users()}
        self.users_by_email = {user.email.lower(): user for user in self.users.values()}
        self.teams: dict[str, Team] = {team.id: team for team in seeds.teams()}
        self.priorities: dict[str, Priority] = {priority.id: priority for priority in seeds.priorities()}
        self.policies: dict[str, Policy] = {policy.id: policy for policy in seeds.policies()}
        self.services: dict[str, Service] = {service.id: service for service in seeds.services()}
        self.services_by_routing_key = {service.routing_key: service for service in self.services.values()}
        self.clear_incidents()

    def clear_incidents(self) -> None:
        with self.lock:
            self.incidents: dict[str, Incident] = {}
            self.deleted: set[str] = set()
            self._by_number: dict[int, str] = {}
            self._last_number = 0
            self._by_key: dict[str, list[str]] = {}
            self._open: dict[str, dict[str, None]] = {}  # service id -> open incident ids, in order
            self.log: list[LogEntry] = []
            self.log_by_id: dict[str, LogEntry] = {}

    # Incidents

    def add(self, incident: Incident) -> None:
        """File a new incident, or one read from a snapshot, with its log."""
        self.incidents[incident.id] = incident
        self._by_number[incident.number] = incident.id
        self._last_number = max(self._last_number, incident.number)
        if incident.key is not None:
            self._by_key.setdefault(incident.key, []).append(incident.id)
        for alert in incident.alerts:
            self.index_alert(incident, alert)
        for entry in incident.log:
            self.add_log_entry(entry)
        self.reindex(incident)

    def forget(self, incident: Incident) -> None:
        """Take an incident and its log out of everything; its id is known as a deleted one."""
        del self.incidents[incident.id], self._by_number[incident.number]
        for ids in self._by_key.values():
            if incident.id in ids:
                ids.remove(incident.id)
        self._open.get(incident.service_id, {}).pop(incident.id, None)
        for entry in incident.log:
            self.log.remove(entry)
            self.log_by_id.pop(entry.id, None)
        self.deleted.add(incident.id)

    def index_alert(self, incident: Incident, alert: Alert) -> None:
        ids = self._by_key.setdefault(alert.key, [])
        if incident.id not in ids:
            ids.append(incident.id)

    def reindex(self, incident: Incident) -> None:
        """Bring the index of open incidents in line with the incident's status and service."""
        for service_id, ids in self._open.items():
            if service_id != incident.service_id:
                ids.pop(incident.id, None)
        ids = self._open.setdefault(incident.service_id, {})
        if incident.is_open:
            ids[incident.id] = None
        else:
            ids.pop(incident.id, None)

    def add_log_entry(self, entry: LogEntry) -> None:
        self.log.append(entry)
        self.log_by_id[entry.id] = entry

    def next_number(self) -> int:
        return self._last_number + 1

    def incident(self, id_or_number: str) -> Incident | None:
        """By id or by number; both work in a URL ("Get an incident" API page)."""
        found = self.incidents.get(id_or_number)
        if found is None and id_or_number.isascii() and id_or_number.isdigit() and len(id_or_number) < 19:
            found = self.incidents.get(self._by_number.get(int(id_or_number), ""))
        return found

    def with_key(self, key: str) -> Iterator[Incident]:
        """Incidents made with this key, and those with an alert of this key ("List incidents" API page)."""
        return (self.incidents[id_] for id_ in self._by_key.get(key, ()))

    def open_with_key(self, service_id: str, key: str) -> Incident | None:
        return next((i for i in self.with_key(key) if i.is_open and i.service_id == service_id and i.key == key), None)

    def open_alert(self, service_id: str, key: str) -> tuple[Incident, Alert] | None:
        """The unresolved alert with this key that came in through this service, wherever a merge has moved it."""
        for incident in self.with_key(key):
            for alert in incident.alerts:
                if alert.key == key and alert.service_id == service_id and alert.status != "resolved":
                    return incident, alert
        return None

    def open_incidents(self, service_id: str | None = None) -> Iterator[Incident]:
        if service_id is not None:
            return (self.incidents[id_] for id_ in self._open.get(service_id, ()))
        return (self.incidents[id_] for ids in self._open.values() for id_ in ids)

    # The rest

    def service_status(self, service: Service) -> str:
        """`critical` with a triggered incident, `warning` with acknowledged ones only ("Services" API page)."""
        if service.disabled:
            return "disabled"
        worst = "active"
        for incident in self.open_incidents(service.id):
            if incident.status == "triggered":
                return "critical"
            worst = "warning"
        return worst

    def on_call(self, policy_id: str, level: int = 1) -> tuple[str, ...]:
        levels = self.policies[policy_id].levels
        return levels[level - 1] if 0 < level <= len(levels) else ()
