"""API tokens: who may use this API, for what and until when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import g
from marshmallow import Schema, fields, validate
from werkzeug.exceptions import Forbidden

from pagerduty_sync.domain.permissions import ALL
from pagerduty_sync.domain.tokens import Token
from pagerduty_sync.errors import InvalidRequestError
from web.api.blueprint import api_blueprint
from web.api.shapes import name_field, who
from web.parts import application
from web.permissions import requires

blueprint = api_blueprint("tokens", "/api/v1/tokens", "Tokens for this API, sent as `Authorization: Bearer …`.")


class NewToken(Schema):
    name = name_field(required=True)
    permissions = fields.List(
        fields.String(validate=validate.OneOf(sorted(ALL))), required=True, validate=validate.Length(1, len(ALL))
    )
    expires_at = fields.AwareDateTime(
        load_default=None, allow_none=True, metadata={"description": "Without one it is good until it is revoked."}
    )


class TokenView(Schema):
    id = fields.String()
    name = fields.String()
    prefix = fields.String(metadata={"description": "The part of the token that tells tokens apart."})
    permissions = fields.List(fields.String())
    created_at = fields.AwareDateTime(format="iso")
    expires_at = fields.AwareDateTime(format="iso", allow_none=True)
    revoked_at = fields.AwareDateTime(format="iso", allow_none=True)
    last_used_at = fields.AwareDateTime(format="iso", allow_none=True)


class MadeToken(TokenView):
    token = fields.String(metadata={"description": "Shown this once; it cannot be read again."})


class TokenList(Schema):
    tokens = fields.List(fields.Nested(TokenView))


@blueprint.route("", methods=["GET"])
@requires("tokens:Manage")
@blueprint.response(200, TokenList)
def list_tokens() -> dict[str, Any]:
    """Every token, also those that are over, newest first."""
    return {"tokens": [_view(token) for token in application().tokens.list_all()]}


@blueprint.route("", methods=["POST"])
@requires("tokens:Manage")
@blueprint.arguments(NewToken)
@blueprint.response(201, MadeToken)
def create_token(new: dict[str, Any]) -> dict[str, Any]:
    """Make a token that may do no more, and lives no longer, than the one it is made with."""
    _require_within_own(new)
    made, clear = application().tokens.create(**new)
    facts = {
        "name": made.name,
        "permissions": sorted(made.permissions),
        "expires_at": made.expires_at.isoformat() if made.expires_at else None,
    }
    application().audit.add(None, who(), "create", f"token {made.prefix}", None, facts)
    return {**_view(made), "token": clear}


@blueprint.route("/<uuid:token_id>", methods=["DELETE"])
@requires("tokens:Manage")
@blueprint.response(200, TokenView)
def revoke_token(token_id: UUID) -> dict[str, Any]:
    """End a token for good."""
    revoked = application().tokens.revoke(str(token_id))
    application().audit.add(None, who(), "revoke", f"token {revoked.prefix}", {"name": revoked.name}, None)
    return _view(revoked)


def _require_within_own(new: dict[str, Any]) -> None:
    own: Token = g.token
    more = sorted(set(new["permissions"]) - own.permissions)
    if more:
        raise Forbidden(f"The token {own.name!r} cannot give what it does not hold: {', '.join(more)}.")
    expires_at = new["expires_at"]
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidRequestError("expires_at is in the past.", "expires_at")
    if own.expires_at is not None and (expires_at is None or expires_at > own.expires_at):
        raise InvalidRequestError(
            f"A token made with this one may live until {own.expires_at.isoformat()} at most.", "expires_at"
        )


def _view(token: Token) -> dict[str, Any]:
    shown = ("id", "name", "prefix", "created_at", "expires_at", "revoked_at", "last_used_at")
    return {**{name: getattr(token, name) for name in shown}, "permissions": sorted(token.permissions)}
