"""What an operator may set, read once from the environment by whatever starts a process. Everything else takes values.

Each setting is one field: its name, in capitals behind `PAGERDUTY_SYNC_`, is the variable, its default is the field's
default, and its reader says what is wrong with a value and what would be right. A secret may also stand in a file that
`…_FILE` names. This module refuses to know what the settings are for.
"""

import base64
import binascii
import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pagerduty_sync.errors import SettingsError

PREFIX = "PAGERDUTY_SYNC_"

T = TypeVar("T")


def _setting(default: T, read: Callable[[str], T], *, secret: bool = False) -> T:
    """A field with its reader; a secret stays out of `repr` and may come from a file."""
    metadata = {"read": read, "secret": secret}
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return read


def _port(text: str) -> int:
    if text.startswith("tcp://"):
        # Kubernetes gives every container `<SERVICE>_PORT=tcp://…` for each service of its namespace.
        raise ValueError("was set by a Kubernetes service of that name; give the pod `enableServiceLinks: false`")
    return _whole(1, 65535)(text)


def _seconds_below_five(text: str) -> float:
    if not re.fullmatch(r"\d(\.\d{1,3})?", text) or not 0.1 <= float(text) <= 4.5:
        raise ValueError(f"must be from 0.1 to 4.5, because PagerDuty hangs up after 5 seconds, not {text!r}")
    return float(text)


def _switch(text: str) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in words:
        raise ValueError(f"must be true or false, not {text!r}")
    return words[text.lower()]


def _one_of(*choices: str) -> Callable[[str], Any]:
    def read(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, not {text!r}")
        return text.lower()

    return read


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:_-]+", text):
        raise ValueError(f"must be a host name or address to listen on, such as 127.0.0.1 or 0.0.0.0, not {text!r}")
    return text


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _public_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f"must be a plain http or https address such as https://cases.example.com, not {text!r}")
    return text.rstrip("/")


def _secret_url(example: str, *schemes: str) -> Callable[[str], str | None]:
    def read(text: str) -> str:
        if text.partition("://")[0] not in schemes or not text.partition("://")[2]:
            raise ValueError(f"must be an address such as {example}")
        return text

    return read


def _fernet_keys(text: str) -> tuple[str, ...]:
    keys = tuple(key for key in re.split(r"[\s,]+", text) if key)
    for number, key in enumerate(keys, start=1):
        try:
            length = len(base64.b64decode(key, altchars=b"-_", validate=True))
        except (binascii.Error, ValueError):
            length = 0
        if length != 32:
            raise ValueError(
                f"must list Fernet keys, newest first, and number {number} is not one; make one with "
                "`openssl rand -base64 32 | tr '+/' '-_'`"
            )
    return keys


def _user_and_password(text: str) -> str | None:
    user, _, password = text.partition(":")
    if not user or len(password) < 8:
        raise ValueError("must be user:password, with a password of 8 characters or more")
    return text


def _shared_secret(text: str) -> str | None:
    if len(text) < 16:
        raise ValueError("must be 16 characters or longer")
    return text


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its default; `deploy/env.example` explains each to an operator."""

    database_url: str | None = _setting(
        None, _secret_url("postgresql://user:password@host:5432/name", "postgresql", "postgres"), secret=True
    )
    redis_url: str | None = _setting(
        None, _secret_url("redis://:password@host:6379/0", "redis", "rediss", "unix"), secret=True
    )
    encryption_keys: tuple[str, ...] = _setting((), _fernet_keys, secret=True)
    events_secret: str | None = _setting(None, _shared_secret, secret=True)

    web_host: str = _setting("127.0.0.1", _host)
    web_port: int = _setting(8000, _port)
    public_url: str = _setting("http://127.0.0.1:8000", _public_url)
    max_webhook_bytes: int = _setting(262_144, _whole(1_024, 16_777_216))
    webhook_commit_seconds: float = _setting(4.0, _seconds_below_five)

    simulator_port: int = _setting(8001, _port)
    flower_port: int = _setting(5555, _port)
    flower_basic_auth: str | None = _setting(None, _user_and_password, secret=True)
    data_dir: Path = _setting(Path(".local"), _path)  # noqa: RUF009 a Path does not change either
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", _one_of("debug", "info", "warning", "error")
    )

    inbound: Literal["webhooks", "poll", "both"] = _setting("webhooks", _one_of("webhooks", "poll", "both"))
    poll_seconds: int = _setting(15, _whole(2, 3_600))
    requests_per_minute: int = _setting(900, _whole(1, 100_000))
    retry_hours: int = _setting(48, _whole(1, 720))
    unacknowledge_cases: bool = _setting(True, _switch)
    resolution_notes: Literal["visible", "log_entry"] = _setting("visible", _one_of("visible", "log_entry"))

    lease_seconds: int = _setting(60, _whole(5, 3_600))
    sweep_seconds: int = _setting(5, _whole(1, 3_600))
    reconcile_seconds: int = _setting(300, _whole(1, 86_400))
    # PagerDuty repeats a webhook for 48 hours; a row that is gone sooner would let a late repeat in twice.
    inbox_retention_days: int = _setting(7, _whole(3, 3_650))
    deliveries_retention_days: int = _setting(90, _whole(1, 3_650))

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Read every variable, an empty one as not set; raises SettingsError naming the variable and the cure."""
        given: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            text = _text(env, variable(field.name), secret=field.metadata["secret"])
            if text is None:
                continue
            try:
                given[field.name] = field.metadata["read"](text)
            except ValueError as exc:
                raise SettingsError(f"{variable(field.name)} {exc}.") from None
        if "public_url" not in given:
            given["public_url"] = f"http://127.0.0.1:{given.get('web_port', 8000)}"
        return cls(**given)

    def require_database_url(self) -> str:
        """The address of PostgreSQL; raises SettingsError when none was given."""
        return _required(self.database_url, "database_url", "the address of the PostgreSQL database")

    def require_redis_url(self) -> str:
        """The address of Redis or Valkey; raises SettingsError when none was given."""
        return _required(self.redis_url, "redis_url", "the address of the Redis or Valkey server")

    def require_encryption_keys(self) -> tuple[str, ...]:
        """The keys that secrets are stored under, newest first; raises SettingsError when none was given."""
        return _required(self.encryption_keys or None, "encryption_keys", "at least one Fernet key")


def variable(name: str) -> str:
    """The environment variable of a field."""
    return PREFIX + name.upper()


def _text(env: Mapping[str, str], name: str, *, secret: bool) -> str | None:
    """What the variable says, or the file it names; None when neither is set."""
    text, file = env.get(name, "").strip(), env.get(f"{name}_FILE", "").strip() if secret else ""
    if text and file:
        raise SettingsError(f"{name} and {name}_FILE are both set; keep one of them.")
    if not file:
        return text or None
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not text"
        raise SettingsError(f"{name}_FILE names {file}, which cannot be read ({reason}).") from None
    if not text:
        raise SettingsError(f"{name}_FILE names {file}, which is empty; put the value in it.")
    return text


def _required(value: T | None, name: str, meaning: str) -> T:
    if value is None:
        raise SettingsError(f"{variable(name)} is not set; it must give {meaning}. `make run` brings its own.")
    return value
