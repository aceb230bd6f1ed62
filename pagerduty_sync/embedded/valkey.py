"""A Valkey (or Redis) of our own, for Celery's messages and the rate budget: durable enough, and it never evicts."""

import signal
from pathlib import Path

import redis

from pagerduty_sync.embedded.binaries import find_valkey
from pagerduty_sync.embedded.home import Home
from pagerduty_sync.embedded.server import Server, choose_port, end_leftover

CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{data}"
pidfile "{data}/valkey.pid"
daemonize no
appendonly {append_only}
appendfsync everysec
save ""
maxmemory 256mb
# Evicting would drop queued messages and the bindings that route them.
maxmemory-policy noeviction
"""


def prepare(home: Home, *, forgetful: bool = False) -> Server:
    """Everything up to the start: binary, configuration, port; raises SettingsError when there is nothing to run."""
    binaries = find_valkey().within_reach_of(home.account, home.servers)
    password = home.secret("valkey-password")
    data = home.data("valkey")
    record = home.directory / "valkey-port"
    end_leftover(record, lambda port: answering(_url(password, port), data), signal.SIGTERM)
    port = choose_port(record)
    configuration = home.hand_over(
        "valkey.conf",
        CONFIGURATION.format(
            port=port,
            password=password,
            data=str(data).replace("\\", "\\\\").replace('"', '\\"'),
            append_only="no" if forgetful else "yes",
        ),
    )
    url = _url(password, port)
    return Server(
        name="Valkey",
        origin=binaries.origin,
        command=(str(binaries.program), str(configuration)),
        url=url,
        directory=data,
        account=home.account,
        stop_signal=signal.SIGTERM,
        answering=lambda: answering(url, data),
    )


def answering(url: str, data: Path) -> int | None:
    """The process id of the server at this address if it works in our directory and has finished loading."""
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, decode_responses=True) as client:
            if Path(client.config_get("dir")["dir"]).resolve() != data.resolve():
                return None
            return int(client.info("server")["process_id"])
    except (redis.RedisError, OSError, ValueError, KeyError):
        return None


def _url(password: str, port: int) -> str:
    return f"redis://:{password}@127.0.0.1:{port}/0"
