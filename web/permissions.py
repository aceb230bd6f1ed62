"""Who may do what: a bearer token, or a browser signed in with one, and the permissions it holds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import g, request, session
from flask_smorest import Blueprint
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from pagerduty_sync.domain.cases import Actor
from pagerduty_sync.domain.permissions import ALL
from pagerduty_sync.domain.tokens import Token
from web.parts import application

View = TypeVar("View", bound=Callable[..., Any])

SESSION_KEY = "token_id"
LONGEST_TOKEN = 200


def requires(permission: str) -> Callable[[View], View]:
    """Let a view run only for a bearer token that holds the permission, and name its actor in `g.actor`.

    Answers 401 without a live token and 403, naming the permission, without the right.
    """
    return _guard(permission, _token_of_header)


def requires_of_reader(permission: str) -> Callable[[View], View]:
    """Like `requires`, for pages that people read: a browser that signed in will do as well."""
    return _guard(permission, lambda: _token_of_header() or _token_of_session())


def _guard(permission: str, find: Callable[[], Token | None]) -> Callable[[View], View]:
    if permission not in ALL:
        # A slip of the pen shows at start-up, not as a view that nobody can open.
        raise ValueError(f"there is no permission {permission!r}")

    def guard(view: View) -> View:
        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            token = find()
            if token is None:
                raise Unauthorized(
                    "A live token is needed.", www_authenticate=WWWAuthenticate("bearer", {"realm": "pagerduty-sync"})
                )
            if not token.allows(permission):
                raise Forbidden(f"The token {token.name!r} lacks the permission {permission}.")
            g.token, g.actor = token, Actor("apiKey", id=token.id, name=token.name)
            return view(*args, **kwargs)

        # Shown by the API's own description; views that are not described there carry it along unseen.
        return cast(View, Blueprint.doc(**{"x-permission": permission})(guarded))

    return guard


def _token_of_header() -> Token | None:
    scheme, _, clear = request.headers.get("Authorization", "").partition(" ")
    clear = clear.strip()
    if scheme.lower() != "bearer" or not clear or len(clear) > LONGEST_TOKEN:
        return None
    return application().tokens.find(clear)


def _token_of_session() -> Token | None:
    token_id = session.get(SESSION_KEY)
    return application().tokens.get_live(token_id) if isinstance(token_id, str) else None
