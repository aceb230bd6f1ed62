"""What a reader of a Case wants to know of its incident."""

from __future__ import annotations

from dataclasses import dataclass

from pagerduty_sync.stores.database import Database


@dataclass(frozen=True, slots=True)
class LinkedIncident:
    """The incident a Case is linked to; the first three are empty until it is known."""

    incident_id: str
    number: int | None
    url: str
    state: str
    ended_reason: str = ""


def incident_of_case(database: Database, case_id: str) -> LinkedIncident | None:
    """The incident of the Case with this id, None when it has no link."""
    with database.transaction() as connection:
        row = connection.execute(
            """
            SELECT incident_id, incident_number, incident_url, state, ended_reason
            FROM links WHERE case_id = %(case_id)s
            """,
            {"case_id": case_id},
        ).fetchone()
    if row is None:
        return None
    return LinkedIncident(
        incident_id=row["incident_id"] or "",
        number=row["incident_number"],
        # Whatever stands there becomes a link people click on.
        url=row["incident_url"] if row["incident_url"].startswith(("https://", "http://")) else "",
        state=row["state"],
        ended_reason=row["ended_reason"],
    )
