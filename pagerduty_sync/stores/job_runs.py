"""Which scheduled job ran last and when: the place where several beats become one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pagerduty_sync.stores.database import Database


class JobRuns:
    """The table `job_runs`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def claim(self, job: str, not_within_seconds: float) -> Iterator[bool]:
        """True inside the block when this run is ours; False when another began within that time."""
        with self._database.transaction() as conn:
            claimed = conn.execute(
                """
                INSERT INTO job_runs (job, started_at) VALUES (%(job)s, now())
                ON CONFLICT (job) DO UPDATE SET started_at = now(), finished_at = NULL, outcome = ''
                WHERE job_runs.started_at < now() - make_interval(secs => %(seconds)s)
                RETURNING job
                """,
                {"job": job, "seconds": not_within_seconds},
            ).fetchone()
        if claimed is None:
            yield False
            return
        outcome = "failed"
        try:
            yield True
            outcome = "done"
        finally:
            with self._database.transaction() as conn:
                conn.execute(
                    "UPDATE job_runs SET finished_at = now(), outcome = %(outcome)s WHERE job = %(job)s",
                    {"job": job, "outcome": outcome},
                )

    def seconds_since(self, job: str) -> float:
        """How long ago the job last began; infinite when it never did."""
        with self._database.transaction() as conn:
            row = conn.execute(
                "SELECT extract(epoch FROM now() - started_at)::float8 AS seconds FROM job_runs WHERE job = %(job)s",
                {"job": job},
            ).fetchone()
        return row["seconds"] if row else float("inf")
