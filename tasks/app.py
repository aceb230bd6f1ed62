"""The Celery app: its queues, which task goes to which, and what the clock starts.

Importing it has no effect but making the app; the environment is read when Celery first asks for its configuration.
Messages are nudges that carry row ids. The truth, and whatever may be due later than half a minute, is in PostgreSQL.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from celery import Celery, bootsteps
from celery.loaders.app import AppLoader
from celery.signals import setup_logging
from kombu import Exchange, Queue

from pagerduty_sync.settings import Settings
from tasks import broker_guard, logs

PREFIX = "pagerduty_sync"
QUEUES = ("inbound", "sync", "outbound", "notifications", "deliveries", "scheduled")
ROUTES = {
    f"{PREFIX}.verify_webhooks": "inbound",
    f"{PREFIX}.route_cases": "sync",
    f"{PREFIX}.sync_links": "sync",
    f"{PREFIX}.call_pagerduty": "outbound",
    f"{PREFIX}.notify_cases": "notifications",
    f"{PREFIX}.read_pushes": "notifications",
    f"{PREFIX}.send_event": "notifications",
    f"{PREFIX}.ship_deliveries": "deliveries",
    f"{PREFIX}.sweep": "scheduled",
    f"{PREFIX}.reconcile": "scheduled",
    f"{PREFIX}.watchdog": "scheduled",
    f"{PREFIX}.check_key": "scheduled",
    f"{PREFIX}.poll_log": "scheduled",
    f"{PREFIX}.read_on": "scheduled",
    f"{PREFIX}.catch_up": "scheduled",
    f"{PREFIX}.look_at_legs": "scheduled",
}
# A message that a worker held when the broker went away comes back after this time: longer than any countdown (30 s).
VISIBILITY_TIMEOUT_SECONDS = 90
# A broken subscription, key or user is seen, mended and made up for within a minute, also when PagerDuty leaves a look
# unanswered. A look of the watchdog costs one call and one at the key two: ten calls a minute together.
WATCHDOG_SECONDS = 15
KEY_CHECK_SECONDS = 20
LEGS_SECONDS = 15
SKEW_SECONDS = 60.0


class Loader(AppLoader):
    """Reads the configuration from the environment when it is first needed."""

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> dict[str, Any]:
        """Raises SettingsError, each time anew, when the environment is wrong."""
        return configuration(Settings.from_environment())


class Requirements(bootsteps.Step):
    """Stops a worker that could do nothing before it takes a message; beat only sends, and has no such step."""

    def __init__(self, parent: Any, **options: Any) -> None:
        """Raises SettingsError."""
        super().__init__(parent, **options)
        settings = Settings.from_environment()
        settings.require_database_url()
        settings.require_encryption_keys()


def configuration(settings: Settings) -> dict[str, Any]:
    """Everything Celery is told; raises SettingsError without a broker's address."""
    return {
        "broker_url": broker_url(settings.require_redis_url()),
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_TIMEOUT_SECONDS,
            # kombu looks every 10 s but acts on every 10th look; together with the default that is 100 s too late.
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            # A frozen broker must not hold a web request or a stopping worker for ever.
            "socket_timeout": 5,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": f"{PREFIX}:",
            "client_name": PREFIX,
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_pool_limit": 10,
        "broker_pool_acquire_timeout": 3,
        # One more try, because the first publish after a restart of the broker finds a dead socket in the pool.
        "task_publish_retry_policy": {
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.1,
            "interval_max": 0.1,
        },
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        # The lease in PostgreSQL and the sweep repeat what a dead worker left; late acknowledgement would only add
        # repeats after every restart of the broker.
        "task_acks_late": False,
        "worker_disable_prefetch": True,
        "worker_prefetch_multiplier": 1,
        "worker_eta_task_limit": 200,
        "worker_soft_shutdown_timeout": 20,
        "worker_enable_soft_shutdown_on_idle": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "task_send_sent_event": False,
        "task_queues": tuple(Queue(name, Exchange(PREFIX, type="direct"), routing_key=name) for name in QUEUES),
        "task_create_missing_queues": False,
        "task_default_queue": "scheduled",
        "task_routes": {task: {"queue": queue} for task, queue in ROUTES.items()},
        "task_repr_maxlevels": 2,
        "enable_utc": True,
        "timezone": "UTC",
        "beat_schedule": {
            "sweep": _every(settings.sweep_seconds, "sweep"),
            "reconcile": _every(settings.reconcile_seconds, "reconcile"),
            "watchdog": _every(WATCHDOG_SECONDS, "watchdog"),
            "check_key": _every(KEY_CHECK_SECONDS, "check_key"),
            "look_at_legs": _every(LEGS_SECONDS, "look_at_legs"),
            "ship_deliveries": _every(3_600, "ship_deliveries"),
            **({} if settings.inbound == "webhooks" else {"poll_log": _every(settings.poll_seconds, "poll_log")}),
        },
    }


def broker_url(redis_url: str) -> str:
    """The same server in kombu's words: a socket has another scheme, and TLS is not checked unless one asks for it."""
    scheme, _, rest = redis_url.partition("://")
    if scheme == "unix":
        path, _, query = rest.partition("?")
        options = {"virtual_host" if name == "db" else name: value for name, value in parse_qsl(query)}
        return f"redis+socket://{path}" + (f"?{urlencode(options)}" if options else "")
    if scheme == "rediss" and "ssl_cert_reqs" not in dict(parse_qsl(urlsplit(redis_url).query)):
        return redis_url + ("&" if "?" in redis_url else "?") + "ssl_cert_reqs=required"
    return redis_url


def _every(seconds: int, job: str) -> dict[str, Any]:
    # Expires, so that nothing piles up while no worker runs; the worker's clock says when, and may be ahead of beat's.
    return {"task": f"{PREFIX}.{job}", "schedule": float(seconds), "options": {"expires": seconds + SKEW_SECONDS}}


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    logs.configure(Settings.from_environment().log_level)


broker_guard.install()

app = Celery(
    PREFIX,
    loader=Loader,
    include=[
        "tasks.inbound",
        "tasks.sync",
        "tasks.outbound",
        "tasks.notifications",
        "tasks.pushes",
        "tasks.scheduled",
    ],
)
app.steps["worker"].add(Requirements)
