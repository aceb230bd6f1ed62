"""The knobs, the clock and the memories under /_sim, and what each REST fault does to a caller."""

from typing import Any

import pytest
from flask import Flask

from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.app import create_app
from pagerduty_sync.simulator.faults import Faults, Knobs

Json = dict[str, Any]
HEADERS = {"Authorization": f"Token token={seeds.FULL_KEY}", "From": seeds.BOT_EMAIL}
INCIDENT = {"type": "incident", "title": "x", "service": {"id": seeds.CHECKOUT_SERVICE_ID, "type": "service_reference"}}


@pytest.fixture(scope="module")
def shared_app() -> Flask:
    """Making the application takes longer than most tests; each of them resets it instead."""
    return create_app(start=False)


@pytest.fixture
def app(shared_app: Flask) -> Flask:
    shared_app.extensions["simulator"].reset()
    return shared_app


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        pytest.param({"typo": 1}, "typo", id="an unknown knob"),
        pytest.param([], "the body", id="a body that is no object"),
        pytest.param({"resolve_resolved": "maybe"}, "resolve_resolved", id="a choice that is not offered"),
        pytest.param({"shared_event_id": 1}, "shared_event_id", id="a number for a switch"),
        pytest.param({"rest_limit_per_minute": True}, "rest_limit_per_minute", id="a switch for a number"),
        pytest.param({"rest_limit_per_minute": 0}, "rest_limit_per_minute", id="a number too small"),
        pytest.param({"missing_from_code": 2017}, "missing_from_code", id="a code not seen"),
        pytest.param({"retry_schedule": []}, "retry_schedule", id="an empty schedule"),
        pytest.param({"retry_schedule": ["1"]}, "retry_schedule", id="a schedule of texts"),
        pytest.param({"second_secret": 5}, "second_secret", id="a secret that is no text"),
        pytest.param({"webhook_drop": 2}, "webhook_drop.probability", id="a probability above one"),
        pytest.param({"webhook_drop": {"next": -1}}, "webhook_drop.next", id="a negative count"),
        pytest.param({"webhook_drop": {"nxt": 1}}, "webhook_drop.nxt", id="a misspelt field"),
        pytest.param({"webhook_drop": {"match": {"path": "/x"}}}, "webhook_drop.match.path", id="a foreign match"),
        pytest.param({"lose_reply": {"how": "softly"}}, "lose_reply.how", id="an unknown way"),
        pytest.param({"fail_before": {"status": 200}}, "fail_before.status", id="an error that is none"),
        pytest.param({"slow_reply": {"seconds": -1}}, "slow_reply.seconds", id="a negative wait"),
        pytest.param({"rate_limit": {"headers": 1}}, "rate_limit.headers", id="a number for a yes or no"),
    ],
)
def test_a_wrong_knob_is_named_and_nothing_changes(app: Flask, wanted: object, field: str) -> None:
    client = app.test_client()
    before = client.get("/_sim/faults").get_json()
    body = {"webhook_delay": 0.5} | wanted if isinstance(wanted, dict) else wanted
    reply = client.put("/_sim/faults", json=body)
    assert reply.status_code == 400
    assert reply.get_json()["error"].startswith(field)
    assert client.get("/_sim/faults").get_json() == before


def test_knobs_are_set_by_name_and_null_restores_the_default(app: Flask) -> None:
    client = app.test_client()
    rule = {"next": 2, "match": {"method": "POST", "path": "/notes"}, "how": "error"}
    answer = client.put("/_sim/faults", json={"lose_reply": rule, "webhook_drop": 0.25, "retry_schedule": [0.1]})
    assert answer.get_json()["lose_reply"]["next"] == 2
    assert answer.get_json()["webhook_drop"]["probability"] == 0.25
    restored = client.put("/_sim/faults", json={"lose_reply": None, "webhook_drop": 0, "retry_schedule": None})
    assert restored.get_json() == Faults().to_json()


def test_every_knob_explains_itself(app: Flask) -> None:
    explained = app.test_client().get("/_sim/faults?explain=1").get_json()
    assert set(explained) == set(vars(Knobs()))
    assert all(knob["meaning"] for knob in explained.values())


def test_one_seed_rolls_the_same_dice() -> None:
    rolls = []
    for _ in range(2):
        faults = Faults()
        faults.change({"seed": 7, "webhook_drop": 0.5})
        rolls.append([faults.strikes("webhook_drop") is not None for _ in range(50)])
    assert rolls[0] == rolls[1]
    assert 10 < sum(rolls[0]) < 40


def test_a_rule_skips_then_strikes_then_is_used_up() -> None:
    faults = Faults()
    faults.change({"fail_before": {"skip": 1, "next": 2, "match": {"method": "POST"}}})
    hits = [
        faults.strikes("fail_before", method=m, path="/x") is not None for m in ("GET", "POST", "POST", "POST", "POST")
    ]
    assert hits == [False, False, True, True, False]


@pytest.mark.parametrize(
    ("fault", "status", "applied"),
    [
        pytest.param({"fail_before": {"next": 1}}, 503, False, id="an error before the work"),
        pytest.param({"fail_before": {"next": 1, "status": 502, "how": "html"}}, 502, False, id="a proxy's error page"),
        pytest.param({"fail_before": {"next": 1, "status": 500, "how": "empty"}}, 500, False, id="an empty error"),
        pytest.param({"lose_reply": {"next": 1, "how": "error"}}, 500, True, id="an error after the work"),
        pytest.param({"rate_limit": {"next": 1}}, 429, False, id="a 429 out of turn"),
        pytest.param({"rate_limit": {"next": 1, "headers": False, "body": False}}, 429, False, id="a bare 429"),
    ],
)
def test_a_fault_strikes_once_and_the_second_try_succeeds(app: Flask, fault: Json, status: int, applied: bool) -> None:
    client = app.test_client()
    client.put("/_sim/faults", json=fault)
    reply = client.post("/incidents", json={"incident": INCIDENT}, headers=HEADERS)
    assert reply.status_code == status
    assert len(app.extensions["simulator"].account.incidents) == int(applied)
    assert client.post("/incidents", json={"incident": INCIDENT}, headers=HEADERS).status_code == 201


def test_a_bare_429_says_nothing_at_all(app: Flask) -> None:
    client = app.test_client()
    client.put("/_sim/faults", json={"rate_limit": {"next": 1, "headers": False, "body": False}})
    reply = client.get("/abilities", headers=HEADERS)
    assert (reply.status_code, reply.data) == (429, b"")
    assert not [name for name in reply.headers.keys() if name.lower().startswith("ratelimit")]  # noqa: SIM118


def test_requests_are_remembered_without_the_key(app: Flask) -> None:
    client = app.test_client()
    client.post("/incidents", json={"incident": INCIDENT}, headers=HEADERS)
    client.get("/abilities", headers=HEADERS)
    answer = client.get("/_sim/requests?method=POST")
    (row,) = answer.get_json()["requests"]
    assert (row["path"], row["status"], row["from"]) == ("/incidents", 201, seeds.BOT_EMAIL)
    assert row["key"] == seeds.FULL_KEY[-4:]
    assert '"title"' in row["body"]
    assert seeds.FULL_KEY.encode() not in answer.data


def test_the_clock_moves_forward_only(app: Flask) -> None:
    client = app.test_client()
    before = client.get("/_sim/clock").get_json()["now"]
    assert client.post("/_sim/clock/advance", json={"seconds": 3600}).get_json()["now"] > before
    for seconds in (-1, "5", None, True):
        assert client.post("/_sim/clock/advance", json={"seconds": seconds}).status_code == 400


def test_reset_keeps_the_seeds_and_subscriptions_when_asked(app: Flask) -> None:
    client = app.test_client()
    client.post("/incidents", json={"incident": INCIDENT}, headers=HEADERS)
    wanted = {
        "type": "webhook_subscription",
        "delivery_method": {"type": "http_delivery_method", "url": "http://127.0.0.1:9/"},
        "events": ["incident.triggered"],
        "filter": {"type": "account_reference"},
    }
    client.post("/webhook_subscriptions", json={"webhook_subscription": wanted}, headers=HEADERS)
    client.put("/_sim/faults", json={"webhook_drop": 1})
    client.post("/_sim/reset", json={"keep_subscriptions": True})
    state = client.get("/_sim/state").get_json()
    assert (state["incidents"], len(state["webhook_subscriptions"])) == ([], 1)
    assert client.get("/_sim/faults").get_json() == Faults().to_json()
    client.post("/_sim/reset")
    assert client.get("/_sim/state").get_json()["webhook_subscriptions"] == []
    assert len(client.get("/services?limit=100", headers=HEADERS).get_json()["services"]) == 30


def test_state_shows_incidents_with_notes_and_no_secret(app: Flask) -> None:
    client = app.test_client()
    id_ = client.post("/incidents", json={"incident": INCIDENT}, headers=HEADERS).get_json()["incident"]["id"]
    client.post(f"/incidents/{id_}/notes", json={"note": {"content": "hello"}}, headers=HEADERS)
    (incident,) = client.get(f"/_sim/state?incident={id_}").get_json()["incidents"]
    assert [note["content"] for note in incident["notes"]] == ["hello"]


@pytest.mark.parametrize("path", ["/_sim/reset", "/_sim/clock/advance", "/ui/incidents", "/ui/act-as"])
def test_a_form_of_somebody_elses_page_is_refused(app: Flask, path: str) -> None:
    reply = app.test_client().post(path, data="{}", headers={"Origin": "https://evil.example"})
    assert reply.status_code == 403
    assert app.test_client().post(path, data="{}", headers={"Origin": "http://localhost"}).status_code != 403


def test_health(app: Flask) -> None:
    assert app.test_client().get("/healthz").get_json() == {"status": "ok"}
