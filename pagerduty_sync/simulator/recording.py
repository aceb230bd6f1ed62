"""How a change to an incident is put on record: its moment, its log entry and the event a webhook may carry."""

from collections.abc import Callable

from .model import Actor, Agent, Event, Incident, Json, LogEntry
from .render import Shapes
from .state import Account, new_id
from .webhooks import agent_of, incident_data


class Recorder:
    """Writes for one account. `emit` receives every event in the order things happened."""

    def __init__(self, account: Account, shapes: Shapes, emit: Callable[[Event], None]) -> None:
        self._account, self._shapes, self._emit = account, shapes, emit
        self.moment: float | None = None  # set while a timer fires: the instant it was due

    def touch(self, incident: Incident) -> float:
        """The moment of this change, which also becomes `updated_at`; never before the incident's last one."""
        at = max(self._account.clock.now() if self.moment is None else self.moment, incident.updated_at)
        incident.updated_at = at
        return at

    def log(
        self,
        incident: Incident,
        kind: str,
        summary: str,
        actor: Actor,
        at: float | None = None,
        note: str | None = None,
        channel: Json | None = None,
    ) -> None:
        agent = actor.agent or Agent("service", incident.service_id)
        when = self.touch(incident) if at is None else at
        id_, shown = new_id("R", 26), channel or {"type": actor.channel}
        entry = LogEntry(id_, f"{kind}_log_entry", summary, when, incident.id, agent, shown, note)
        incident.log.append(entry)
        self._account.add_log_entry(entry)

    def report(
        self,
        event_type: str,
        incident: Incident,
        actor: Actor,
        at: float | None = None,
        data: Json | None = None,
        also: str | None = None,
    ) -> None:
        """Hand over one event. The times of one incident's events always increase, so they tell the order."""
        moment = self.touch(incident) if at is None else at
        incident.last_event_at = max(moment, incident.last_event_at + 0.001)
        services = {incident.service_id, also} - {None}
        teams = [team for id_ in services if id_ for team in self._account.services[id_].team_ids]
        self._emit(
            Event(
                event_type=event_type,
                resource_type="incident",
                occurred_at=incident.last_event_at,
                agent=agent_of(self._shapes, actor),
                client=actor.client,
                data=data or incident_data(self._shapes, incident),
                resource_id=incident.id,
                service_ids=frozenset(id_ for id_ in services if id_),
                team_ids=frozenset(teams),
            )
        )
