"""Whether PagerDuty has signed these bytes.

Looks at raw bytes and one header; knows nothing of JSON or of HTTP frameworks.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from pagerduty_sync.errors import SignatureError

HEADER = "X-PagerDuty-Signature"
VERSION = "v1="

MAX_VALUES = 32
"""A forged header cannot make us compare for ever. PagerDuty sends one value, or two while a secret is exchanged."""


def sign(body: bytes, secret: str) -> str:
    """The header value of these bytes: HMAC-SHA256 keyed with the secret's characters (Verifying Signatures)."""
    key = secret.encode("utf-8", "surrogatepass")
    return VERSION + hmac.new(key, body, hashlib.sha256).hexdigest()


def verify(body: bytes, header: str | None, secrets: Iterable[str]) -> None:
    """Return when any value of the header was made from `body` with any of `secrets`; raise SignatureError otherwise.

    The header may hold several values divided by commas (Verifying Signatures). An empty secret signs nothing:
    everybody knows it.
    """
    if not header:
        raise SignatureError(f"the request has no {HEADER} header")
    values = [value.strip() for value in header.split(",")]
    # Bytes, because compare_digest refuses text outside ASCII.
    candidates = [value.encode("utf-8", "replace") for value in values if value.startswith(VERSION)][:MAX_VALUES]
    if not candidates:
        raise SignatureError(f"the {HEADER} header holds no {VERSION} value")
    for secret in secrets:
        expected = sign(body, secret).encode() if secret else b""
        if expected and any(hmac.compare_digest(expected, candidate) for candidate in candidates):
            return
    raise SignatureError("none of the signatures was made with a secret of this integration")
