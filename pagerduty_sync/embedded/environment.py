"""The environment that supervisord and the programs get: the operator's own, completed so that nothing is left open."""

import base64
import hashlib
import os
import secrets
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pagerduty_sync.embedded.home import Home
from pagerduty_sync.embedded.server import Server
from pagerduty_sync.errors import SettingsError
from pagerduty_sync.settings import Settings, variable

ROOT = Path(__file__).resolve().parents[2]
# A socket's path may be 104 bytes on some systems and 108 on others; supervisord binds it with its process id behind.
LONGEST_SOCKET_PATH = 92


def complete(
    env: Mapping[str, str],
    settings: Settings,
    home: Home,
    servers: Mapping[str, Server],
    programs: Sequence[str],
    root: Path = ROOT,
) -> dict[str, str]:
    """Everything `deploy/supervisor/*.conf` and the programs read; secrets that were not given are made and kept."""
    log_level, host = settings.log_level, settings.web_host
    completed = dict(env) | {
        variable("data_dir"): str(home.directory),
        variable("web_port"): str(settings.web_port),
        variable("flower_port"): str(settings.flower_port),
        variable("simulator_port"): str(settings.simulator_port),
        variable("log_level"): log_level,
        variable("include"): " ".join(f"{name}.conf" for name in (*servers, *programs)),
        variable("web_bind"): f"[{host}]:{settings.web_port}" if ":" in host else f"{host}:{settings.web_port}",
        variable("python"): sys.executable,
        variable("root"): str(root),
        variable("control_socket"): str(control_socket(home.directory)),
        variable("server_account"): home.account.name,
        variable("server_directory"): str(home.servers),
        "FLOWER_BASIC_AUTH": settings.flower_basic_auth or f"admin:{home.secret('flower-password')}",
        "FLOWER_COOKIE_SECRET": home.secret("flower-cookie-secret"),
        "PYTHONUNBUFFERED": "1",
    }
    for name, server in servers.items():
        completed[variable(f"{name}_command")] = shlex.join(server.command)
    if "postgres" in servers:
        completed[variable("database_url")] = servers["postgres"].url
    if "valkey" in servers:
        completed[variable("redis_url")] = servers["valkey"].url
    if not settings.encryption_keys:
        home.secret("encryption-key", lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        completed[f"{variable('encryption_keys')}_FILE"] = str(home.directory / "encryption-key")
    return completed


def control_socket(directory: Path) -> Path:
    """Where supervisord listens for orders: in the data directory, or if that path is too long, in a place of our own.

    Raises SettingsError when somebody else has made that place.
    """
    path = directory / "control.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    place = Path(tempfile.gettempdir()) / f"pagerduty-sync-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    state = place.lstat()
    if state.st_uid != os.getuid() or state.st_mode & 0o170077 != 0o040000:
        raise SettingsError(
            f"{place} is not a directory that only we may enter; remove it, or let PAGERDUTY_SYNC_DATA_DIR name a "
            "directory with a shorter path."
        )
    return place / f"{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}.sock"
