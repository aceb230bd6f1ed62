"""The calls about incidents and their notes. Rules cited are of PagerDuty's API reference, section Incidents."""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from pagerduty_sync.domain.incidents import Incident, IncidentStatus, Note
from pagerduty_sync.errors import InvalidRequestError, PayloadError
from pagerduty_sync.pagerduty.answers import Answer
from pagerduty_sync.pagerduty.credentials import path_of
from pagerduty_sync.pagerduty.resources import parse_incident, parse_note
from pagerduty_sync.pagerduty.transport import Transport

log = logging.getLogger(__name__)

MAX_BULK = 250
"""Items of one PUT /incidents; more answer 413 (API reference: Manage incidents)."""

MAX_NOTE_BYTES = 65_535
"""A note's length in single-byte characters (Edit Incidents). We count UTF-8 bytes, which is never more."""


class Unset(enum.Enum):
    """Tells "leave the priority as it is" from None, which clears it."""

    UNSET = "unset"


UNSET = Unset.UNSET


@dataclass(frozen=True, slots=True)
class IncidentChanges:
    """What to change of an incident; what is not given stays. `priority_id` None clears the priority."""

    status: IncidentStatus | None = None
    priority_id: str | Literal[Unset.UNSET] | None = UNSET
    resolution: str | None = None
    title: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The body's fields. Raises InvalidRequestError when nothing changes, or for a resolution without a resolve."""
        if self.resolution is not None and self.status is not IncidentStatus.RESOLVED:
            raise InvalidRequestError("a resolution is accepted only together with status resolved", "resolution")
        changes: dict[str, Any] = {"type": "incident_reference"}
        if self.status is not None:
            changes["status"] = self.status.value
        if self.priority_id is not UNSET:
            changes["priority"] = _reference("priority", self.priority_id) if self.priority_id else None
        if self.resolution is not None:
            changes["resolution"] = self.resolution
        if self.title is not None:
            changes["title"] = self.title
        if len(changes) == 1:
            raise InvalidRequestError("an update must change something")
        return changes


@dataclass(frozen=True, slots=True)
class IncidentPage:
    """A page of incidents; `next_offset` is None on the last one."""

    incidents: list[Incident]
    next_offset: int | None


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """Which incidents to list. Without `all_time` PagerDuty looks one month back, or from `since` to `until`."""

    statuses: Sequence[IncidentStatus] = ()
    service_ids: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    all_time: bool = False

    def as_params(self) -> list[tuple[str, str]]:
        params = [("statuses[]", status.value) for status in self.statuses]
        params += [("service_ids[]", service_id) for service_id in self.service_ids]
        if self.all_time:
            params.append(("date_range", "all"))
        if self.since is not None:
            params.append(("since", self.since.isoformat()))
        if self.until is not None:
            params.append(("until", self.until.isoformat()))
        return params


class IncidentCalls(Transport):
    """Every call may raise any PagerDutyError; a docstring names only what is special to it."""

    def create_incident(
        self,
        title: str,
        service_id: str,
        incident_key: str,
        body: str,
        priority_id: str | None = None,
        urgency: str | None = None,
    ) -> Incident:
        """Open an incident. While an open one on the service has the same key, none is made (Create an Incident).

        Raises DuplicateIncidentError for that, and InvalidRequestError for an empty key. After a TransportError or
        ServerError the incident may exist: look with `find_incidents` before the next try.
        """
        _require_key(incident_key)
        incident: dict[str, Any] = {
            "type": "incident",
            "title": title,
            "service": _reference("service", service_id),
            "incident_key": incident_key,
        }
        if body:
            incident["body"] = {"type": "incident_body", "details": body}
        if priority_id:
            incident["priority"] = _reference("priority", priority_id)
        if urgency:
            incident["urgency"] = urgency
        answer = self.write("POST", "/incidents", {"incident": incident}, acts_as_user=True)
        return _dated(answer, answer.one("incident", parse_incident))

    def get_incident(self, incident_id: str) -> Incident:
        """Read one incident; IncidentNotFoundError when it is gone or another account's."""
        answer = self.get(path_of("incidents", incident_id))
        return _dated(answer, answer.one("incident", parse_incident))

    def find_incidents(self, incident_key: str, service_id: str) -> list[Incident]:
        """The service's incidents opened with this key, of any status and age, newest first.

        A blank key would list every open incident of the account, so it is refused with InvalidRequestError. What the
        reply holds beyond the question is left out; a null key stays, for that is how an incident with alerts shows.
        """
        _require_key(incident_key)
        statuses = [("statuses[]", status.value) for status in IncidentStatus]
        params = [("incident_key", incident_key), ("service_ids[]", service_id), ("date_range", "all"), *statuses]
        found: list[Incident] = []
        for answer in self.pages("/incidents", params):
            found += answer.many("incidents", parse_incident)
        mine = [one for one in found if one.incident_key in (incident_key, None) and one.service_id in (service_id, "")]
        return sorted(mine, key=lambda one: one.number, reverse=True)

    def get_incident_page(self, which: IncidentFilter, offset: int = 0) -> IncidentPage:
        """One page of 100 incidents, for a caller that pays for each call.

        Incidents that leave the filter meanwhile move later ones forward, so an incident missing from all pages may
        still match: read it before drawing conclusions. One that cannot be read is logged and left out. Raises
        InvalidRequestError beyond entry 10,000 (REST API: Pagination).
        """
        params = [*which.as_params(), ("sort_by", "created_at:asc")]
        answer, next_offset = self.page("/incidents", params, offset)
        return IncidentPage([one for item in answer.items("incidents") if (one := _readable(item))], next_offset)

    def list_incidents(
        self,
        *,
        statuses: Sequence[IncidentStatus] = (),
        service_ids: Sequence[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        all_time: bool = False,
    ) -> Iterator[Incident]:
        """All matching incidents, a page fetched when the one before is used up; rules as in `get_incident_page`."""
        which = IncidentFilter(statuses, service_ids, since, until, all_time)
        offset: int | None = 0
        while offset is not None:
            page = self.get_incident_page(which, offset)
            yield from page.incidents
            offset = page.next_offset

    def update_incident(
        self,
        incident_id: str,
        status: IncidentStatus | None = None,
        priority_id: str | Literal[Unset.UNSET] | None = UNSET,
        resolution: str | None = None,
        title: str | None = None,
    ) -> Incident:
        """Change an incident and return it (Update an incident). None as `priority_id` clears the priority.

        Acknowledging or triggering a *resolved* incident re-opens it, and there is no conditional write: read first.
        `resolution` goes to the log entry, not to the notes. Raises InvalidRequestError when nothing would change.
        """
        changes = IncidentChanges(status, priority_id, resolution, title).as_json()
        answer = self.write("PUT", path_of("incidents", incident_id), {"incident": changes}, acts_as_user=True)
        return _dated(answer, answer.one("incident", parse_incident))

    def update_incidents(self, updates: Sequence[tuple[str, IncidentChanges]]) -> list[Incident]:
        """Change up to 250 incidents in one call, all or none (Manage incidents). It has a rate limit of its own.

        Returns the incidents the reply shows. Raises InvalidRequestError for none, too many, or one named twice.
        """
        ids = [incident_id for incident_id, _ in updates]
        if not 0 < len(ids) <= MAX_BULK:
            raise InvalidRequestError(f"a bulk update takes 1 to {MAX_BULK} incidents, not {len(ids)}", "updates")
        if len(set(ids)) < len(ids) or not all(ids):
            raise InvalidRequestError("a bulk update must name each incident once", "updates")
        items = [{"id": incident_id} | changes.as_json() for incident_id, changes in updates]
        answer = self.write("PUT", "/incidents", {"incidents": items}, acts_as_user=True)
        return answer.many("incidents", parse_incident)

    def create_note(self, incident_id: str, text: str) -> Note:
        """Write a note (Create a note on an incident).

        Not repeatable: after a TransportError or ServerError the note may stand, so look for it. Raises
        InvalidRequestError for an empty text or one beyond the limit.
        """
        if not text.strip():
            raise InvalidRequestError("a note must have a text", "text")
        if len(text.encode("utf-8", "replace")) > MAX_NOTE_BYTES:
            raise InvalidRequestError(f"a note may hold {MAX_NOTE_BYTES} bytes", "text")
        path = path_of("incidents", incident_id, "notes")
        answer = self.write("POST", path, {"note": {"content": text}}, acts_as_user=True)
        return answer.one("note", parse_note)

    def list_notes(self, incident_id: str) -> list[Note]:
        """All notes of an incident, in full; the list has no pages (List notes for an incident)."""
        return self.get(path_of("incidents", incident_id, "notes")).many("notes", parse_note)


def _dated(answer: Answer, incident: Incident) -> Incident:
    """The incident with PagerDuty's own time of the answer."""
    return replace(incident, read_at=answer.reply.date)


def _require_key(incident_key: str) -> None:
    if not incident_key.strip():
        raise InvalidRequestError("the incident key must not be empty", "incident_key")


def _reference(kind: str, id: str) -> dict[str, str]:
    return {"id": id, "type": f"{kind}_reference"}


def _readable(item: object) -> Incident | None:
    try:
        return parse_incident(item)
    except PayloadError as exc:
        # One odd incident must not keep all others from being compared.
        log.warning("an incident in PagerDuty's list cannot be read: %s", exc)
        return None
