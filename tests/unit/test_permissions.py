"""Tokens and permissions as the web uses them, without a database."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from flask import Flask, g

from pagerduty_sync.domain.permissions import ALL
from pagerduty_sync.domain.tokens import Token
from web import errors
from web.parts import EXTENSION
from web.permissions import requires


class FakeTokens:
    """Knows one token."""

    def __init__(self, *permissions):
        self.token = Token("id-1", "bot", "abcd", frozenset(permissions), datetime(2026, 1, 1, tzinfo=UTC))

    def find(self, clear):
        return self.token if clear == "right" else None


def ask(permission, headers, *held):
    app = Flask("guarded")
    app.extensions[EXTENSION] = SimpleNamespace(tokens=FakeTokens(*held))
    app.add_url_rule("/", view_func=requires(permission)(lambda: {"actor": g.actor.name, "kind": g.actor.kind}))
    errors.register(app)
    return app.test_client().get("/", headers=headers)


@pytest.mark.parametrize("permission", sorted(ALL))
def test_a_permission_opens_its_own_door_and_no_other(permission):
    right = {"Authorization": "Bearer right"}
    assert ask(permission, right, permission).json == {"actor": "bot", "kind": "apiKey"}
    reply = ask(permission, right, *(ALL - {permission}))
    assert reply.status_code == 403
    assert permission in reply.json["detail"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic right"}])
def test_without_a_live_token_the_answer_says_how_to_send_one(headers):
    reply = ask("case:Read", headers, *ALL)
    assert (reply.status_code, reply.json["title"]) == (401, "Unauthorized")
    assert "Bearer" in reply.json["cure"]
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_permission_that_does_not_exist_is_found_out_at_start_up():
    with pytest.raises(ValueError, match="case:read"):
        requires("case:read")


def test_a_failure_nobody_foresaw_tells_nothing_of_the_inside():
    def fail():
        raise RuntimeError("the key is hunter2")

    app = Flask("failing")
    app.add_url_rule("/x", view_func=fail)
    errors.register(app)
    reply = app.test_client().get("/x")
    assert reply.status_code == 500
    assert "hunter2" not in reply.text
