"""Who is asking: the Authorization header, the From header and the right to act on incidents. Knows no route."""

import re

from flask import request

from .errors import ApiError, forbidden, invalid, unauthorized
from .faults import Knobs
from .model import Actor, Agent, Json, Key, User
from .seeds import RESPONDING_ROLES
from .state import Account

# "Authentication" API page; the words of From are on "Create an incident" and its siblings.
_AUTHORIZATION = re.compile(r"Token token=(\S+)")


def authenticate(account: Account, knobs: Knobs) -> Key:
    """The key of the request. Any other spelling of the header, an Events key or a revoked key is 401 code 2006."""
    match = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", "").strip())
    key = account.keys.get(match[1]) if match else None
    if key is None or key.secret in knobs.revoked_keys:
        raise unauthorized()
    return key


def client_of(knobs: Knobs) -> Json | None:
    """`client` of a person's webhooks: null in every real delivery seen, a name in the documentation's samples."""
    return {"name": "PagerDuty"} if knobs.webhook_client == "pagerduty" else None


def acting_user(account: Account, knobs: Knobs, key: Key, required: bool = True) -> Actor:
    """The person a REST write is recorded for: the user token's own, else the one of the From header."""
    user = _token_user(account, knobs, key) or _from_user(account, knobs, required)
    if user is None:
        return Actor(None, "api")
    if user.role not in RESPONDING_ROLES:
        raise forbidden(knobs.forbidden_from_code)
    return Actor(Agent("user", user.id), "api", named=knobs.rest_agent == "user", client=client_of(knobs))


def _token_user(account: Account, knobs: Knobs, key: Key) -> User | None:
    """Whether a From header counts beside a user token is not documented."""
    honoured = knobs.from_with_user_key == "honoured" and "From" in request.headers
    return account.users[key.user_id] if key.user_id and not honoured else None


def _from_user(account: Account, knobs: Knobs, required: bool) -> User | None:
    address = request.headers.get("From", "").strip()
    if not address:
        if not required:
            return None
        if knobs.missing_from_code == 1028:
            raise invalid('Malformed "From" header', code=1028)
        text = 'You must specify a user\'s email address in the "From" header to perform this action'
        raise invalid(text, code=2016)
    if "@" not in address:
        raise invalid('Malformed "From" header', code=1028)
    user = account.users_by_email.get(address.lower())
    if user is None or user.email in knobs.deactivated_users:
        raise ApiError(400, "Requester User Not Found", 1008)  # "Errors" API page
    return user
