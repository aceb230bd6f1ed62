"""The key, the acting user and the address of an account, checked before they are used."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

import requests
from requests.auth import AuthBase

from pagerduty_sync.errors import InvalidRequestError


class TokenAuth(AuthBase):
    """`Token token=`, the only spelling accepted (REST API: Authentication). As an auth it also keeps ~/.netrc out."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Token token={self._key}"
        return request


def checked_key(key: str) -> str:
    key = key.strip()
    # Anything else would make the HTTP library quote the whole header, key included, in its own error.
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise InvalidRequestError("the PagerDuty API key is empty or holds characters no key has", field="api_key")
    return key


def checked_email(email: str | None) -> str | None:
    email = (email or "").strip()
    if email and not re.fullmatch(r"[^\s\x00-\x1f\x7f@]+@[^\s\x00-\x1f\x7f@]+", email):
        raise InvalidRequestError("the PagerDuty user's e-mail is not an e-mail address", field="from_email")
    return email or None


def checked_url(url: str) -> str:
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
        is_good = is_good and parts.username is None and (parts.port is None or parts.port > 0)
    except ValueError:
        is_good = False
    if not is_good:
        raise InvalidRequestError("the base URL must be http:// or https:// and a host", field="base_url")
    return url


def path_of(*parts: str) -> str:
    """A path from a collection, an id and what follows.

    Raises InvalidRequestError for an id that would lead elsewhere: an empty one would read the whole collection.
    """
    if not all(part.strip(". ") for part in parts):
        raise InvalidRequestError("an id must not be empty", field="id")
    return "".join("/" + quote(part, safe="", errors="replace") for part in parts)
