"""An API token as everyone but its holder may see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Token:
    """`prefix` is the part that may be shown to tell tokens apart."""

    id: str
    name: str
    prefix: str
    permissions: frozenset[str]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def allows(self, permission: str) -> bool:
        return permission in self.permissions
