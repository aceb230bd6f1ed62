"""`doctor`: every part the sync stands on, one line each, and what to do about the one that fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import click
import redis

from pagerduty_sync.bootstrap import Application, build
from pagerduty_sync.commands.shell import HOW_TO_START, Failure, Shell, pass_shell
from pagerduty_sync.domain.connectors import Integration, IntegrationStatus
from pagerduty_sync.domain.legs import LegState
from pagerduty_sync.errors import IncidentNotFoundError, PagerDutyError, SettingsError, SyncError
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.pagerduty.schemas import SUBSCRIBED_EVENT_TYPES
from pagerduty_sync.settings import Settings
from pagerduty_sync.stores import reader
from pagerduty_sync.stores.database import Database, pending_migrations

PARTS = ("worker-inbound", "worker-outbound", "beat")
OLDEST_HEARTBEAT_SECONDS = 30
RECONNECT = "run `pagerduty-sync connect` again"


@dataclass(frozen=True, slots=True)
class Check:
    """One line. `mend` is empty where all is well; `is_ok` None says that it could not be looked at."""

    name: str
    is_ok: bool | None
    said: str
    mend: str = ""


@click.command()
@click.option("--ping/--no-ping", "pings", default=True, help="Ask PagerDuty for a test event and wait for it.")
@pass_shell
def doctor(shell: Shell, pings: bool) -> None:
    """Check every part, and say how to mend it.

    Exit code 1 when one of them fails. Nothing is changed. The test event takes up to ten seconds when it does not
    arrive.
    """
    failed = 0
    for check in examine(shell.settings, pings=pings):
        mark = {True: "✓", False: "✗", None: "–"}[check.is_ok]
        click.echo(f"{mark} {check.name + ':':<15} {check.said}")
        if check.mend:
            click.echo(f"{'':<18}→ {check.mend}")
        failed += check.is_ok is False
    if failed:
        raise Failure(f"{failed} of the parts above need{'s' if failed == 1 else ''} attention.")


def examine(settings: Settings, *, pings: bool) -> Iterator[Check]:
    """The lines, each as soon as it is known. Later ones are not looked at when they depend on one that failed."""
    database = _database(settings)
    yield from database
    yield _redis(settings)
    if any(check.is_ok is False for check in database):
        return
    try:
        app = build(settings)
    except SettingsError as exc:
        yield Check("encryption key", False, str(exc))
        return
    try:
        yield from _parts(app)
        yield from _account(app, pings=pings)
    finally:
        app.close()


def _database(settings: Settings) -> list[Check]:
    try:
        database = Database(settings.require_database_url(), wait_seconds=2)
    except SyncError as exc:
        return [Check("database", False, str(exc))]
    try:
        missing = pending_migrations(database)
        with database.transaction() as connection:
            has_reader = reader.is_ready(connection)
    except SyncError as exc:
        return [Check("database", False, str(exc), HOW_TO_START)]
    finally:
        database.close()
    if missing:
        return [
            Check("database", True, "answers"),
            Check("migrations", False, f"{', '.join(missing)} not applied", "run `pagerduty-sync migrate`"),
        ]
    return [Check("database", True, "answers"), Check("migrations", True, "all applied"), _reader(is_there=has_reader)]


def _reader(*, is_there: bool) -> Check:
    if is_there:
        return Check("reader", True, "questions may read deliveries and changes of Cases, and nothing else")
    mend = f"have {reader.READER} made (NOLOGIN) and granted to this login, then run `pagerduty-sync migrate`"
    return Check("reader", None, "the login may make no roles, so questions run as itself, read-only", mend)


def _redis(settings: Settings) -> Check:
    mend = "until it is back, changes wait for the sweep and nothing is lost"
    try:
        with redis.Redis.from_url(settings.require_redis_url(), socket_timeout=3, socket_connect_timeout=3) as client:
            client.ping()
            policy = _policy(client)
    except SettingsError as exc:
        return Check("Redis", False, str(exc))
    except (redis.RedisError, OSError, ValueError) as exc:
        return Check("Redis", False, f"does not answer ({type(exc).__name__})", mend)
    if policy not in ("noeviction", ""):
        return Check("Redis", False, f"evicts messages ({policy})", "set its maxmemory-policy to noeviction")
    return Check("Redis", True, "answers")


def _policy(client: redis.Redis) -> str:
    try:
        return str(client.config_get("maxmemory-policy").get("maxmemory-policy", ""))
    except redis.RedisError:
        return ""  # A hosted Redis may not tell.


def _parts(app: Application) -> Iterator[Check]:
    ages = app.heartbeats.ages()
    silent = [part for part in PARTS if ages.get(part, float("inf")) > OLDEST_HEARTBEAT_SECONDS]
    if silent:
        mend = "start them with `make run`, or look at their logs"
        yield Check("programs", False, f"no sign of life from {', '.join(silent)}", mend)
    else:
        yield Check("programs", True, f"{', '.join(PARTS)} are alive")
    for one in app.leg_watch.legs():
        # Of a leg nobody has looked at, the line above says why.
        is_ok = None if one.state in (LegState.OFF, LegState.UNKNOWN) else one.state is LegState.WORKING
        yield Check(one.leg.value.replace("_", " "), is_ok, f"{one.state.value}: {one.why}")


def _account(app: Application, *, pings: bool) -> Iterator[Check]:
    integration = app.integrations.only()
    if integration is None:
        yield Check("integration", False, "no PagerDuty account is connected", "run `pagerduty-sync connect`")
        return
    try:
        client = app.client(integration.id)
        app.subscriptions.secrets(integration.id)
    except SyncError as exc:
        yield Check("encryption key", False, str(exc))
        return
    yield Check("encryption key", True, "opens the stored secrets")
    yield _status(integration)
    key = _key(client)
    yield key
    if not key.is_ok:
        return
    yield _user(client, integration)
    if not integration.is_two_way:
        yield Check("subscription", None, "two-way is off, so there is none", "")
        return
    subscription_id = None
    for check, found in _subscription(app, client, integration):
        subscription_id = found
        yield check
    if subscription_id:
        yield _ping(app, client, integration, subscription_id) if pings else _last_ping(app, integration)


def _status(integration: Integration) -> Check:
    direction = "two-way" if integration.is_two_way else "one-way"
    said = f"{integration.name} at {integration.base_url} is {integration.status} ({direction})"
    if integration.status is IntegrationStatus.CONNECTED:
        return Check("integration", True, said)
    return Check("integration", False, f"{said}: {integration.status_reason}", "see the lines below")


def _key(client: PagerDutyClient) -> Check:
    try:
        client.list_abilities()
    except PagerDutyError as exc:
        return Check("key", False, str(exc), RECONNECT if exc.status == 401 else "try again later")
    return Check("key", True, "PagerDuty accepts it")


def _user(client: PagerDutyClient, integration: Integration) -> Check:
    try:
        if integration.key_kind == "user":
            return Check("user", True, f"the token is {client.get_me().email}'s")
        if client.find_user(integration.user_email) is not None:
            return Check("user", True, f"{integration.user_email} is in the account")
    except PagerDutyError as exc:
        return Check("user", False, str(exc), "try again later")
    return Check("user", False, f"{integration.user_email} is not in the account", f"{RECONNECT} with another e-mail")


def _subscription(
    app: Application, client: PagerDutyClient, integration: Integration
) -> Iterator[tuple[Check, str | None]]:
    repaired = "the watchdog mends it within half a minute while the workers run"
    url = app.keeper.url(integration.id)
    held = app.subscriptions.secrets(integration.id)
    if not held:
        yield Check("subscription", False, "we hold none", repaired), None
        return
    subscription_id = next(iter(held))
    try:
        found = client.get_webhook_subscription(subscription_id)
    except IncidentNotFoundError:
        yield Check("subscription", False, f"{subscription_id} is gone at PagerDuty", repaired), None
        return
    except PagerDutyError as exc:
        yield Check("subscription", False, str(exc), "try again later"), None
        return
    problems = []
    if not found.is_active or found.is_temporarily_disabled:
        problems.append("PagerDuty has switched it off")
    if set(found.events) != set(SUBSCRIBED_EVENT_TYPES):
        problems.append("it asks for other events than we need")
    if not found.filter_type.startswith("account"):
        problems.append("it does not cover the whole account")
    if found.url != url:
        problems.append(f"it leads to {found.url}, not to {url}")
    if problems:
        yield Check("subscription", False, f"{subscription_id}: {', '.join(problems)}", repaired), subscription_id
    else:
        yield Check("subscription", True, f"{subscription_id} is on, for all events, to {url}"), subscription_id


def _ping(app: Application, client: PagerDutyClient, integration: Integration, subscription_id: str) -> Check:
    url = app.keeper.url(integration.id)
    try:
        if app.keeper.ping_and_wait(integration.id, client, subscription_id):
            return Check("test event", True, f"arrived at {url}")
    except PagerDutyError as exc:
        return Check("test event", False, str(exc), "try again later")
    return Check(
        "test event",
        False,
        f"did not arrive at {url}",
        "PAGERDUTY_SYNC_PUBLIC_URL must lead here from the internet, and web and worker-inbound must run",
    )


def _last_ping(app: Application, integration: Integration) -> Check:
    heard = [at for at in app.integrations.heard_from(integration.id).values() if at]
    said = f"last one at {max(heard):%Y-%m-%d %H:%M:%S} UTC" if heard else "none has arrived yet"
    return Check("test event", bool(heard) or None, said)
