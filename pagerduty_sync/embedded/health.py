"""Whether the service can be started here, and whether it has come up."""

import http.client
import time
from collections.abc import Callable, Iterable

from pagerduty_sync.embedded.server import StartError, why_not_free
from pagerduty_sync.errors import SettingsError
from pagerduty_sync.settings import Settings, variable

EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 we do not listen there, we look whether the web does


def check_ports(settings: Settings, extras: Iterable[str]) -> None:
    """Raises SettingsError naming the first port that cannot be used, and its setting."""
    wanted = {"web_port": settings.web_host, "flower_port": "127.0.0.1"}
    if "simulator" in extras:
        wanted["simulator_port"] = "127.0.0.1"
    seen: dict[int, str] = {}
    for name, host in wanted.items():
        port = getattr(settings, name)
        if port in seen:
            raise SettingsError(f"{variable(seen[port])} and {variable(name)} are both {port}; change one of them.")
        seen[port] = name
        reason = why_not_free(port, host)
        if reason:
            raise SettingsError(f"Port {port} {reason}; stop that or let {variable(name)} name another.")


def wait_until_ready(settings: Settings, alive: Callable[[], bool], timeout_seconds: float = 60) -> None:
    """Wait until the web says it can do its work; raises StartError with what it said instead."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        status, said = _ask(settings)
        if status == http.client.OK:
            return
        if not alive():
            raise StartError("web did not stay up.")
        if time.monotonic() > deadline:
            raise StartError(f"The service is not ready after {timeout_seconds:.0f} seconds: {said}")
        time.sleep(0.2)


def web_address(settings: Settings) -> str:
    """Where a browser on this machine finds the web."""
    host = _near(settings.web_host)
    return f"http://[{host}]:{settings.web_port}" if ":" in host else f"http://{host}:{settings.web_port}"


def _near(host: str) -> str:
    return EVERY_ADDRESS.get(host, host)


def _ask(settings: Settings) -> tuple[int, str]:
    connection = http.client.HTTPConnection(_near(settings.web_host), settings.web_port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status, f"{response.status} {response.read(2_000).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as exc:
        return 0, str(exc)
    finally:
        connection.close()
