"""Being done with what nobody understood: the reason a person gives stays in the audit."""

from __future__ import annotations

from collections.abc import Sequence

from pagerduty_sync.domain import texts
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.quarantine import Quarantine

LONGEST_REASON = 1_000


class Discarding:
    def __init__(self, database: Database, quarantine: Quarantine, audit: Audit) -> None:
        self._database = database
        self._quarantine = quarantine
        self._audit = audit

    def discard(self, ids: Sequence[int], reason: str, *, who: str) -> list[int]:
        """Discard these webhooks; which of them were in quarantine. The bytes stay until their retention ends.

        Raises InvalidRequestError for a reason that says nothing.
        """
        reason = texts.clean(reason, "reason", LONGEST_REASON)
        with self._database.transaction() as conn:
            discarded = self._quarantine.discard(conn, ids)
            for id_ in discarded:
                self._audit.add(conn, who, "discard", f"webhook {id_}", None, {"reason": reason})
        return discarded
