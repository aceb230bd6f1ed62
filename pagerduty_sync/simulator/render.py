"""How the account's records look on the wire: REST objects, references, log entries. Decides nothing."""

import re
from collections.abc import Callable

from .clock import rest_time
from .faults import Knobs
from .model import Agent, Alert, Incident, Json, LogEntry, Note, Policy, Priority, Service, Subscription, User
from .seeds import SUBDOMAIN, opaque_id
from .state import Account

# A reserved name, so that no click on a user or service leaves this machine for somebody's real account.
ACCOUNT_WEB = f"https://{SUBDOMAIN}.pagerduty.example"


class Shapes:
    """Renders one account. `public_base` is where this simulator's REST API and pages are reached."""

    def __init__(self, account: Account, public_base: str, knobs: Callable[[], Knobs]) -> None:
        self.account = account
        self._knobs = knobs
        self.public_base = public_base.rstrip("/")

    # References: id, type, summary, self, html_url ("Resource References" API page)

    def _reference(self, kind: str, path: str, id_: str, summary: str | None, html_url: str | None) -> Json:
        return {
            "id": id_,
            "type": kind,
            "summary": summary,
            "self": f"{self.public_base}/{path}/{id_}",
            "html_url": html_url,
        }

    def user_reference(self, user_id: str) -> Json:
        user = self.account.users[user_id]
        return self._reference("user_reference", "users", user.id, user.name, f"{ACCOUNT_WEB}/users/{user.id}")

    def service_reference(self, service_id: str) -> Json:
        service, page = self.account.services[service_id], f"{ACCOUNT_WEB}/service-directory/{service_id}"
        return self._reference("service_reference", "services", service.id, service.name, page)

    def policy_reference(self, policy_id: str) -> Json:
        policy, page = self.account.policies[policy_id], f"{ACCOUNT_WEB}/escalation_policies/{policy_id}"
        return self._reference("escalation_policy_reference", "escalation_policies", policy.id, policy.name, page)

    def team_reference(self, team_id: str) -> Json:
        team = self.account.teams[team_id]
        return self._reference("team_reference", "teams", team.id, team.name, f"{ACCOUNT_WEB}/teams/{team.id}")

    def priority_reference(self, priority_id: str) -> Json:
        priority, page = self.account.priorities[priority_id], f"{ACCOUNT_WEB}/account/settings/incidents"
        return self._reference("priority_reference", "priorities", priority.id, priority.name, page)

    def integration_reference(self, service: Service) -> Json:
        path = f"services/{service.id}/integrations"
        page = f"{ACCOUNT_WEB}/{path}/{service.integration_id}"
        return self._reference("inbound_integration_reference", path, service.integration_id, "Events API V2", page)

    def incident_reference(self, incident: Incident, summary: str | None = None) -> Json:
        text = summary or f"[#{incident.number}] {incident.title}"
        return self._reference("incident_reference", "incidents", incident.id, text, self.incident_page(incident.id))

    def incident_page(self, incident_id: str) -> str:
        return f"{self.public_base}/ui/incidents/{incident_id}"

    def agent_reference(self, agent: Agent) -> Json:
        if agent.kind == "user":
            return self.user_reference(agent.id)
        if agent.kind == "integration":
            service = next(s for s in self.account.services.values() if s.integration_id == agent.id)
            return self.integration_reference(service)
        return self.service_reference(agent.id)

    # REST objects

    def user(self, user: User) -> Json:
        return self.user_reference(user.id) | {
            "type": "user",
            "name": user.name,
            "email": user.email,
            "time_zone": "Etc/UTC",
            "color": "green",
            "role": user.role,
            "avatar_url": f"{ACCOUNT_WEB}/avatars/{user.id}.png",
            "description": None,
            "invitation_sent": False,
            "job_title": "",
            "created_via_sso": False,
            "teams": [self.team_reference(id_) for id_ in user.team_ids],
            "contact_methods": [],
            "notification_rules": [],
        }

    def priority(self, priority: Priority) -> Json:
        plain = {"type": "priority", "name": priority.name, "description": priority.description}
        return self.priority_reference(priority.id) | plain

    def policy(self, policy: Policy) -> Json:
        rules = [
            {
                "id": f"{policy.id}{level}",
                "escalation_delay_in_minutes": 30,
                "targets": [self.user_reference(user_id) for user_id in users] or [self._empty_schedule()],
            }
            for level, users in enumerate(policy.levels, start=1)
        ]
        served = [service.id for service in self.account.services.values() if service.policy_id == policy.id]
        return self.policy_reference(policy.id) | {
            "type": "escalation_policy",
            "name": policy.name,
            "escalation_rules": rules,
            "services": [self.service_reference(id_) for id_ in served],
            "num_loops": 0,
            "teams": [self.team_reference(id_) for id_ in policy.team_ids],
            "description": "",
            "on_call_handoff_notifications": "if_has_services",
        }

    def _empty_schedule(self) -> Json:
        """A level always has a target; that nobody is on call means that its schedule has a gap."""
        id_ = opaque_id("schedule", "Empty")
        return self._reference("schedule_reference", "schedules", id_, "Empty", f"{ACCOUNT_WEB}/schedules/{id_}")

    def service(self, service: Service) -> Json:
        return self.service_reference(service.id) | {
            "type": "service",
            "name": service.name,
            "description": "",
            "auto_resolve_timeout": service.auto_resolve_timeout,
            "acknowledgement_timeout": service.acknowledgement_timeout,
            "created_at": "2026-01-05T09:00:00Z",
            "status": self.account.service_status(service),
            "alert_creation": "create_alerts_and_incidents",
            "integrations": [self.integration_reference(service)],
            "escalation_policy": self.policy_reference(service.policy_id),
            "teams": [self.team_reference(id_) for id_ in service.team_ids],
            "incident_urgency_rule": {"type": "constant", "urgency": "high"},
            "scheduled_actions": [],
        }

    def incident(self, incident: Incident, include: frozenset[str] = frozenset()) -> Json:
        """As in "Get an incident": `assignments` is empty when resolved, `acknowledgements` unless acknowledged."""
        first = incident.log[0] if incident.log else None
        return self.incident_reference(incident) | {
            "type": "incident",
            "incident_number": incident.number,
            "title": incident.title,
            "description": incident.title,
            "created_at": rest_time(incident.created_at),
            "updated_at": rest_time(self._updated_at(incident)),
            "status": incident.status,
            "incident_key": incident.key,
            "service": self._service(incident, include),
            "assignments": [
                {"at": rest_time(at), "assignee": self._person(user_id, "assignees" in include)}
                for user_id, at in incident.assignments
            ],
            "assigned_via": incident.assigned_via,
            "last_status_change_at": rest_time(incident.last_status_change_at),
            "last_status_change_by": self.agent_reference(incident.last_status_change_by),
            "resolved_at": rest_time(incident.resolved_at) if incident.resolved_at else None,
            "first_trigger_log_entry": self.log_entry_reference(first) if first else None,
            "alert_counts": alert_counts(incident),
            "is_mergeable": incident.merged_into is None,
            "incident_type": {"name": incident.incident_type},
            "escalation_policy": self.policy_reference(incident.policy_id),
            "teams": [self.team_reference(id_) for id_ in self.team_ids(incident)],
            "pending_actions": pending_actions(incident),
            "acknowledgements": [
                {"at": rest_time(at), "acknowledger": self._person(user_id, "acknowledgers" in include)}
                for user_id, at in incident.acknowledgements
            ],
            "alert_grouping": None,
            "priority": self._priority(incident, include),
            "resolve_reason": self.resolve_reason(incident),
            "conference_bridge": incident.conference_bridge,
            "incidents_responders": [],
            "responder_requests": [],
            "urgency": incident.urgency,
            **self._extras(incident, include),
        }

    def _updated_at(self, incident: Incident) -> float:
        """No page says which changes move it; a status that changed has a time of its own beside it."""
        always = self._knobs().updated_at_moves == "always"
        return incident.updated_at if always else max(incident.created_at, incident.last_status_change_at)

    def _extras(self, incident: Incident, include: frozenset[str]) -> Json:
        """Parts that appear only when asked for with `include[]`."""
        extras: Json = {}
        if "body" in include:
            extras["body"] = {"type": "incident_body", "details": incident.body}
        if "custom_fields" in include:
            extras["custom_fields"] = custom_fields(incident)
        return extras

    def _person(self, user_id: str, whole: bool) -> Json:
        return self.user(self.account.users[user_id]) if whole else self.user_reference(user_id)

    def _service(self, incident: Incident, include: frozenset[str]) -> Json:
        if "services" in include:
            return self.service(self.account.services[incident.service_id])
        return self.service_reference(incident.service_id)

    def _priority(self, incident: Incident, include: frozenset[str]) -> Json | None:
        if incident.priority_id is None:
            return None
        if "priorities" in include:
            return self.priority(self.account.priorities[incident.priority_id])
        return self.priority_reference(incident.priority_id)

    def resolve_reason(self, incident: Incident) -> Json | None:
        target = self.account.incidents.get(incident.merged_into or "")
        if target is None:
            return None
        return {"type": "merge_resolve_reason", "incident": self.incident_reference(target)}

    def team_ids(self, incident: Incident) -> tuple[str, ...]:
        return self.account.services[incident.service_id].team_ids

    def note(self, note: Note) -> Json:
        # "List notes" API page: the channel is the same text for the website and for the API.
        return {
            "id": note.id,
            "user": self.user_reference(note.user_id),
            "channel": {"summary": "The PagerDuty website or APIs"},
            "content": note.content,
            "created_at": rest_time(note.created_at),
            "updated_at": rest_time(note.updated_at),
        }

    def log_entry_reference(self, entry: LogEntry) -> Json:
        kind, page = f"{entry.type}_reference", f"{self.incident_page(entry.incident_id)}#{entry.id}"
        reference = self._reference(kind, "log_entries", entry.id, entry.summary, page)
        return reference | {"self": f"{reference['self']}?incident_id={entry.incident_id}"}

    def log_entry(self, entry: LogEntry) -> Json:
        incident = self.account.incidents[entry.incident_id]
        plain: Json = {
            "type": entry.type,
            "created_at": rest_time(entry.created_at),
            "agent": self.agent_reference(entry.agent),
            "channel": entry.channel,
            "service": self.service_reference(incident.service_id),
            "incident": self.incident_reference(incident),
            "teams": [self.team_reference(id_) for id_ in self.team_ids(incident)],
            "contexts": [],
            "event_details": {"description": incident.title} if entry.type == "trigger_log_entry" else {},
        }
        if entry.note is not None:
            plain["note"] = entry.note
        return self.log_entry_reference(entry) | plain

    def alert(self, incident: Incident, alert: Alert) -> Json:
        service = self.account.services[alert.service_id]
        page = f"{ACCOUNT_WEB}/alerts/{alert.id}"
        reference = self._reference("alert", f"incidents/{incident.id}/alerts", alert.id, alert.summary, page)
        return reference | {
            "created_at": rest_time(alert.created_at),
            "status": alert.status,
            "alert_key": alert.key,
            "service": self.service_reference(service.id),
            "body": {"type": "alert_body", "contexts": [], "details": alert.details},
            "incident": {"id": incident.id, "type": "incident_reference"},
            "suppressed": False,
            "severity": alert.severity,
            "integration": self.integration_reference(service),
        }

    def subscription(self, subscription: Subscription, now: float, secret: bool = False) -> Json:
        """Only the create reply shows the secret and header values ("Create a webhook subscription" API page)."""
        headers = [
            {"name": h["name"], "value": h["value"] if secret else "-- redacted --"}
            for h in subscription.custom_headers
        ]
        client = subscription.oauth_client_id
        shape: Json = {
            "delivery_method": {
                "id": subscription.delivery_method_id,
                "secret": subscription.secret if secret else None,
                "temporarily_disabled": (subscription.disabled_until or 0) > now,
                "type": "http_delivery_method",
                "url": subscription.url,
                "custom_headers": headers,
            },
            "description": subscription.description,
            "events": subscription.events,
            "filter": filter_of(subscription),
            "id": subscription.id,
            "type": "webhook_subscription",
            "active": subscription.active,
        }
        if client is not None:
            shape["oauth_client"] = {"id": client, "type": "oauth_client_reference", "summary": client}
        return shape


def alert_counts(incident: Incident) -> Json:
    resolved = sum(alert.status == "resolved" for alert in incident.alerts)
    return {"all": len(incident.alerts), "triggered": len(incident.alerts) - resolved, "resolved": resolved}


def pending_actions(incident: Incident) -> list[Json]:
    """The automatic changes ahead, soonest first ("Get an incident" API page)."""
    ahead = [(incident.unacknowledge_at, "unacknowledge"), (incident.resolve_at, "resolve")]
    return [{"type": kind, "at": rest_time(at)} for at, kind in sorted((at, kind) for at, kind in ahead if at)]


def custom_fields(incident: Incident) -> list[Json]:
    return [
        {
            "id": "P" + re.sub(r"[^A-Z0-9]", "", name.upper())[:6].ljust(6, "X"),
            "type": "field_value",
            "name": name,
            "display_name": name.replace("_", " ").capitalize(),
            "description": "",
            "data_type": "string",
            "field_type": "single_value",
            "value": value,
        }
        for name, value in incident.custom_fields.items()
    ]


def filter_of(subscription: Subscription) -> Json:
    shape: Json = {"type": f"{subscription.filter_type}_reference"}
    if subscription.filter_id is not None:
        shape["id"] = subscription.filter_id
    return shape
