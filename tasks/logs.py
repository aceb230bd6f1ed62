"""One JSON object a line on standard output, for our own events and for what libraries log; secrets blotted out.

The blotting looks at names and at shapes, as a last defence: nobody should log a secret in the first place.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

BLOT = "[redacted]"

_SECRET_NAMES = re.compile(
    r"authorization|api_?key|routing_?key|encryption_?keys?|secret|password|passwd|signature|^token$|(?:broker|database|redis)_url|^from$",
    re.IGNORECASE,
)
# A key in an Authorization header, a webhook signature, and the password in an address.
_SECRET_SHAPES = (
    (re.compile(r"((?:token=|Token |Bearer )\s*)[\w+/=.~-]{8,}", re.IGNORECASE), rf"\1{BLOT}"),
    (re.compile(r"(v1=)[0-9a-f]{16,}", re.IGNORECASE), rf"\1{BLOT}"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@]+(?=@)", re.IGNORECASE), rf"\1{BLOT}"),
)


def redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """The event without anything that is named or shaped like a secret."""
    return {name: _redacted(name, value) for name, value in event.items()}


def configure(level: str) -> None:
    """Send everything this process logs, from `level` up, to standard output; may be called again."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _redacted(name: str, value: Any) -> Any:
    if _SECRET_NAMES.search(name):
        return BLOT
    if isinstance(value, str):
        for shape, blotted in _SECRET_SHAPES:
            value = shape.sub(blotted, value)
        return value
    if isinstance(value, Mapping):
        return {key: _redacted(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted("", inner) for inner in value]
    return value
