"""What reaches the log: one JSON object a line, and no secret by name or by shape."""

import json
import logging

import pytest
import structlog

from tasks import logs

POISON = "u+_szhLZ9-poison-8fK"


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_our_own_events_and_those_of_libraries_are_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    structlog.get_logger("ours").warning("nudge_not_sent", rows=3)
    logging.getLogger("kombu").error("lost %s", "broker", extra={"queue": "inbound"})
    structlog.get_logger("ours").debug("too_quiet")
    first, second = lines(capsys)
    assert (first["event"], first["rows"], first["level"], first["logger"]) == ("nudge_not_sent", 3, "warning", "ours")
    assert (second["event"], second["queue"], second["level"]) == ("lost broker", "inbound", "error")
    assert str(first["at"]).endswith("Z")


@pytest.mark.parametrize(
    "fields",
    [
        {"Authorization": f"Token token={POISON}"},
        {"api_key": POISON},
        {"routing_key": POISON},
        {"headers": {"X-PagerDuty-Signature": POISON}},
        {"request": [{"secret": POISON}]},
        {"broker_url": POISON},
        {"error": f"401 for Token token={POISON}"},
        {"error": f"Bearer {POISON}"},
        {"error": "v1=" + "8fa" * 20 + " v1=" + "8fa" * 20},
        {"error": f"cannot connect to postgresql://user:{POISON}@host/db"},
        {"error": f"redis://:{POISON}@host:6379/0 is away"},
    ],
    ids=str,
)
def test_no_secret_reaches_the_log(capsys: pytest.CaptureFixture[str], fields: dict[str, object]) -> None:
    logs.configure("info")
    structlog.get_logger("ours").info("call_failed", case="CASE-12", **fields)
    logging.getLogger("library").info("failed", extra=fields)
    for line in lines(capsys):
        assert POISON not in json.dumps(line)
        assert "8fa8fa" not in json.dumps(line)
        assert logs.BLOT in json.dumps(line)


def test_no_secret_reaches_the_log_in_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    try:
        raise ConnectionError(f"postgresql://user:{POISON}@host/db")
    except ConnectionError:
        structlog.get_logger("ours").exception("failed")
        logging.getLogger("library").exception("failed")
    for line in lines(capsys):
        assert POISON not in json.dumps(line)
        assert "ConnectionError" in str(line["exception"])


def test_what_is_no_secret_stays(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    structlog.get_logger("ours").info("applied", html_url="https://acme.pagerduty.com/incidents/P1", link="l-1")
    [line] = lines(capsys)
    assert (line["html_url"], line["link"]) == ("https://acme.pagerduty.com/incidents/P1", "l-1")
