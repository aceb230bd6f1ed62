"""What an account has besides incidents: services, users, policies, teams, priorities, abilities. Read only."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flask import Blueprint, Response, g, jsonify, request

from .errors import ApiError, not_found
from .model import Json, Policy, Service, Team, User
from .paging import containing, page
from .seeds import ABILITIES
from .simulator import Simulator

T = TypeVar("T")


def blueprint(simulator: Simulator) -> Blueprint:
    api = Blueprint("directory", __name__)
    account, shapes, faults = simulator.account, simulator.shapes, simulator.faults

    def one(name: str, records: Mapping[str, T], render: Callable[[T], Json], id_: str) -> Response:
        record = records.get(id_)
        if record is None:
            raise not_found()
        with account.lock:
            return jsonify({name: render(record)})

    @api.get("/services")
    def list_services() -> Json:
        teams = frozenset(request.args.getlist("team_ids[]"))
        by_name = sorted(account.services.values(), key=lambda service: service.name.lower())
        found: list[Service] = [s for s in by_name if not teams or not teams.isdisjoint(s.team_ids)]
        with account.lock:
            return page("services", containing(found, lambda service: (service.name,)), shapes.service)

    @api.get("/services/<id_>")
    def get_service(id_: str) -> Response:
        return one("service", account.services, shapes.service, id_)

    @api.get("/services/<id_>/integrations/<integration_id>")
    def get_integration(id_: str, integration_id: str) -> Json:
        service = account.services.get(id_)
        if service is None or service.integration_id != integration_id:
            raise not_found()
        kind = {"type": "events_api_v2_inbound_integration", "name": "Events API V2"}
        owner = {"service": shapes.service_reference(id_), "integration_key": service.routing_key}
        return {"integration": shapes.integration_reference(service) | kind | owner}

    @api.get("/users")
    def list_users() -> Json:
        teams = frozenset(request.args.getlist("team_ids[]"))
        gone = faults.knobs.deactivated_users
        by_name = sorted(account.users.values(), key=lambda user: user.name.lower())
        found: list[User] = [
            u for u in by_name if u.email not in gone and (not teams or not teams.isdisjoint(u.team_ids))
        ]
        return page("users", containing(found, lambda user: (user.name, user.email)), shapes.user)

    @api.get("/users/me")
    def get_me() -> Any:
        """With a general key there is no "me": 400, and `error` is a plain string."""
        if g.key.user_id is None:
            text = (
                "Because this request was made using an account-level access token, we were unable to determine the "
                "user's identity. Please use a user-level token."
            )
            return {"error": text}, 400
        return {"user": shapes.user(account.users[g.key.user_id])}

    @api.get("/users/<id_>")
    def get_user(id_: str) -> Response:
        user = account.users.get(id_)
        if user is not None and user.email in faults.knobs.deactivated_users:
            raise not_found()
        return one("user", account.users, shapes.user, id_)

    @api.get("/escalation_policies")
    def list_policies() -> Json:
        found: list[Policy] = list(account.policies.values())
        return page("escalation_policies", containing(found, lambda policy: (policy.name,)), shapes.policy)

    @api.get("/escalation_policies/<id_>")
    def get_policy(id_: str) -> Response:
        return one("escalation_policy", account.policies, shapes.policy, id_)

    def team(team: Team) -> Json:
        return shapes.team_reference(team.id) | {"type": "team", "name": team.name, "description": "", "parent": None}

    @api.get("/teams")
    def list_teams() -> Json:
        found = list(account.teams.values())
        return page("teams", containing(found, lambda item: (item.name,)), team)

    @api.get("/teams/<id_>")
    def get_team(id_: str) -> Response:
        return one("team", account.teams, team, id_)

    @api.get("/priorities")
    def list_priorities() -> Json:
        """The most severe first; 402 when the plan has none ("List priorities" API page)."""
        if not faults.knobs.priorities_available:
            raise ApiError(402, "Account does not have the abilities to perform the action.", 2014)
        return page("priorities", account.priorities.values(), shapes.priority)

    @api.get("/abilities")
    def list_abilities() -> Json:
        return {"abilities": list(ABILITIES)}

    @api.get("/abilities/<id_>")
    def test_ability(id_: str) -> Response:
        if id_ not in ABILITIES:
            raise ApiError(402, "Payment Required", 2014)
        return Response(status=204)

    return api
