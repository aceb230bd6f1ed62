"""What must be true of an API key and a user before an account is connected, each refusal with its cure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from pagerduty_sync.domain.incidents import Priority, User
from pagerduty_sync.errors import (
    ForbiddenError,
    IncidentNotFoundError,
    InvalidRequestError,
    PermanentError,
    RefusedError,
    UnauthorizedError,
)
from pagerduty_sync.pagerduty.client import BASE_URLS, PagerDutyClient

ClientFactory = Callable[[str, str | None, str], PagerDutyClient]
"""(API key, e-mail of the acting user or None with a user's own token, base URL) → client."""

EVENTS_KEY = re.compile(r"[0-9A-Za-z]{32}")
"""An integration key of the Events API; a REST key has 20 (API Access Keys)."""

READ_ONLY_ROLES = frozenset({"read_only_user", "read_only_limited_user"})
"""Stakeholders. They can never act on an incident (User Roles)."""
UNCERTAIN_ROLES = frozenset({"observer", "restricted_access"})
"""These act only where a team role allows it (User Roles)."""

NO_SUCH_SUBSCRIPTION = "PDSYNCPROBE000"
"""Deleting what is not there changes nothing, and a read-only key is refused before anybody looks."""


@dataclass(frozen=True, slots=True)
class CheckedAccount:
    """What the checks found out. `warnings` are sentences about what will not work as one might expect."""

    key_kind: str
    user: User
    base_url: str
    priorities: Sequence[Priority]
    warnings: Sequence[str]


def base_url_of(region: str) -> str:
    """The address of a region, `us` or `eu`, or a base URL as it is; raises InvalidRequestError."""
    text = region.strip().rstrip("/")
    if text.lower() in BASE_URLS:
        return BASE_URLS[text.lower()]
    if re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        return text
    raise InvalidRequestError(
        f"{region[:80]!a} is neither a region ({', '.join(sorted(BASE_URLS))}) nor a base URL such as "
        "https://api.pagerduty.com.",
        "region",
    )


def check_account(make_client: ClientFactory, api_key: str, email: str, region: str) -> CheckedAccount:
    """Ask PagerDuty about the key and the user; raises InvalidRequestError, which names the field to change.

    A RetryableError means that PagerDuty could not be asked, and says nothing about the key.
    """
    base_url = base_url_of(region)
    client = make_client(api_key, None, base_url)
    try:
        return _checked(client, api_key, email.strip(), base_url)
    finally:
        client.close()


def _checked(client: PagerDutyClient, api_key: str, email: str, base_url: str) -> CheckedAccount:
    _require_key(client, api_key, base_url)
    me = _owner_of_token(client)
    if me is None:
        _require_write_access(client)
        user = _require_user(client, email)
    else:
        user = _require_owner(me, email)
    _require_region(user, base_url)
    warnings = _role_warnings(user)
    try:
        priorities: Sequence[Priority] = tuple(client.list_priorities())
    except ForbiddenError:
        priorities = ()
    if not priorities:
        warnings += ("The account has no incident priorities, so priorities are not kept in step.",)
    return CheckedAccount("user" if me else "account", user, base_url, priorities, warnings)


def _require_key(client: PagerDutyClient, api_key: str, base_url: str) -> None:
    try:
        client.list_abilities()
    except UnauthorizedError:
        if EVENTS_KEY.fullmatch(api_key.strip()):
            raise InvalidRequestError(
                "This is the integration key of one service (32 characters, for the Events API), not an API key. Make "
                "an API key in PagerDuty under Integrations, API Access Keys (20 characters); or use this key for a "
                "connector with a service key.",
                "api_key",
            ) from None
        region = next((name for name, url in BASE_URLS.items() if url == base_url), None)
        other = f" or belongs to the region {'eu' if region == 'us' else 'us'}" if region else " or of another account"
        raise InvalidRequestError(
            f"PagerDuty at {urlsplit(base_url).hostname} does not accept the API key: it is mistyped, disabled{other}.",
            "api_key",
        ) from None
    except PermanentError as exc:
        raise InvalidRequestError(f"{_sentence(str(exc))} Is {base_url} PagerDuty's REST API?", "region") from exc


def _owner_of_token(client: PagerDutyClient) -> User | None:
    """The user whose token it is, None for an account's key (REST API: users/me answers 400)."""
    try:
        return client.get_me()
    except (RefusedError, ForbiddenError, IncidentNotFoundError):
        return None


def _require_write_access(client: PagerDutyClient) -> None:
    try:
        client.delete_webhook_subscription(NO_SUCH_SUBSCRIPTION)
    except (ForbiddenError, UnauthorizedError):
        raise InvalidRequestError(
            'The API key is read-only. Make one in PagerDuty with the box "Read-only API Key" cleared.', "api_key"
        ) from None
    except PermanentError:
        pass  # "No such subscription": the key may write.


def _require_user(client: PagerDutyClient, email: str) -> User:
    if not email:
        raise InvalidRequestError("An account's API key needs the e-mail of the user to act as.", "email")
    user = client.find_user(email)
    if user is None:
        raise InvalidRequestError(
            f"No user of the account has exactly the login e-mail {ascii(email[:120])[1:-1]}. Use that of an existing "
            "user, best one made for this integration.",
            "email",
        )
    return _require_role(user)


def _require_owner(me: User, email: str) -> User:
    if email and email.casefold() != me.email.casefold():
        raise InvalidRequestError(
            f"The API key is the token of {me.email}, and everything it does is done by that user. Give that e-mail, "
            "or an account's API key.",
            "email",
        )
    return _require_role(me)


def _require_role(user: User) -> User:
    if user.role in READ_ONLY_ROLES:
        raise InvalidRequestError(
            f"{user.email} is a stakeholder and cannot act on incidents; it needs the base role Responder or higher.",
            "email",
        )
    return user


def _role_warnings(user: User) -> tuple[str, ...]:
    if user.role not in UNCERTAIN_ROLES:
        return ()
    return (
        f"{user.email} has the base role {user.role} and may act only on incidents of teams that allow it; Responder "
        "or higher is needed for all.",
    )


def _require_region(user: User, base_url: str) -> None:
    """Compare the account's own web address with the region; a base URL of one's own is taken as it is."""
    host = urlsplit(user.html_url).hostname or ""
    if base_url not in BASE_URLS.values() or not host.endswith(".pagerduty.com"):
        return
    actual = "eu" if host.endswith(".eu.pagerduty.com") else "us"
    if BASE_URLS[actual] != base_url:
        raise InvalidRequestError(f"The account {host} is in the region {actual}; choose that one.", "region")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
