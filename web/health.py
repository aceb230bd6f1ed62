"""Is this process alive, and can the service do its work: for what restarts processes and what routes requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis
import structlog
from flask import Blueprint, Response, jsonify

from pagerduty_sync.errors import SettingsError, StorageError
from pagerduty_sync.stores.database import pending_migrations
from web.parts import application

if TYPE_CHECKING:
    from pagerduty_sync.bootstrap import Application

log = structlog.get_logger(__name__)

blueprint = Blueprint("health", __name__)

OLDEST_HEARTBEAT_SECONDS = 30
WORKERS = ("worker-inbound", "worker-outbound")
CLOCK = "beat"
_NO_TELLING = "Cannot be told without the database."


@blueprint.get("/healthz")
def alive() -> Response:
    """This process answers; nothing else is looked at."""
    return jsonify(status="alive")


@blueprint.get("/readyz")
def ready() -> Response:
    """Every part the service needs, and in words what a missing one lacks.

    The legs are told beside them and decide nothing: webhooks are to be taken in whatever PagerDuty says to our key.
    Why a leg is as it is may name people, and is left to `/api/v1/health`, which asks for a token.
    """
    missing = _missing(application())
    response = jsonify(
        ready=not any(missing.values()),
        parts={part: {"ready": not reason, "reason": reason or "fine"} for part, reason in missing.items()},
        legs=_legs(application()),
    )
    response.status_code = 503 if any(missing.values()) else 200
    response.headers["Cache-Control"] = "no-store"
    return response


def _missing(parts: Application) -> dict[str, str]:
    """What is missing by part; empty words mean nothing is."""
    no_redis = _redis(parts)
    try:
        with parts.database.transaction() as connection:
            connection.execute("SELECT 1")
    except StorageError as exc:
        log.warning("not_ready", part="database", error=str(exc))
        without = dict.fromkeys(("migrations", "workers", "beat"), _NO_TELLING)
        return {"database": "The database does not answer.", "redis": no_redis, **without}
    migrations = _migrations(parts)
    try:
        ages = parts.heartbeats.ages()
    except StorageError:
        ages = {}
    return {
        "database": "",
        "redis": no_redis,
        "migrations": migrations,
        "workers": " ".join(filter(None, (_heartbeat(worker, ages.get(worker)) for worker in WORKERS))),
        "beat": _heartbeat(CLOCK, ages.get(CLOCK)),
    }


def _legs(parts: Application) -> dict[str, dict[str, str | None]]:
    """State and since when, by leg; nothing while the database cannot tell."""
    try:
        legs = parts.leg_watch.legs()
    except StorageError:
        return {}
    return {
        one.leg.value: {"state": one.state.value, "since": one.since.isoformat() if one.since else None} for one in legs
    }


def _redis(parts: Application) -> str:
    try:
        parts.redis.ping()
    except (redis.RedisError, OSError, SettingsError) as exc:
        log.warning("not_ready", part="redis", error=type(exc).__name__)
        return "Redis does not answer; changes are still stored and found later by the sweep."
    return ""


def _migrations(parts: Application) -> str:
    try:
        pending = pending_migrations(parts.database)
    except StorageError as exc:
        return str(exc)
    return f"Not applied yet: {', '.join(pending)}; run `pagerduty-sync migrate`." if pending else ""


def _heartbeat(part: str, age: float | None) -> str:
    if age is None:
        return f"{part} has never been heard of."
    if age > OLDEST_HEARTBEAT_SECONDS:
        return f"{part} was last heard of {age:.0f} seconds ago."
    return ""
