"""The built-in Case system: Cases kept in PostgreSQL. What a change does is told in `case_changes`.

Refuses to know that PagerDuty exists: the sync learns of a change from the row written with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pagerduty_sync.domain.cases import Actor, Case, CaseCategory, CasePriority, Comment, TimelineEvent
from pagerduty_sync.errors import InvalidRequestError, NotFoundError
from pagerduty_sync.stores.case_changes import CaseChanges, Pairs
from pagerduty_sync.stores.case_listing import CaseFilters, CaseOrder, list_cases
from pagerduty_sync.stores.case_rows import UUID, comment_of, event_of, find_case
from pagerduty_sync.stores.database import Database

LARGEST_PAGE = 1_000
DEFAULT_PAGE = 100


class CaseStore:
    """A CaseSystem. Each call is one transaction; `changes` puts several into one.

    A Case is named by its id or its readable id. Writes raise NotFoundError for an unknown Case, TransitionError for a
    change its state forbids and InvalidRequestError for a text it cannot take; asking for what already is does nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def changes(self, actor: Actor) -> Iterator[CaseChanges]:
        """Changes by one actor that are made all together or not at all."""
        with self._database.transaction() as connection:
            yield CaseChanges(connection, actor)

    def change_all(
        self, case_ids: Sequence[str], actor: Actor, change: Callable[[CaseChanges, str], Case]
    ) -> list[Case]:
        """Apply one change to many Cases, or to none of them when one refuses; each Case once, in the order given."""
        with self.changes(actor) as changes:
            return [change(changes, case_id) for case_id in changes.lock(case_ids)]

    def get_case(self, case_id: str) -> Case:
        with self._database.transaction() as connection:
            return find_case(connection, case_id)

    def list_cases(
        self,
        filters: CaseFilters | None = None,
        order: CaseOrder = CaseOrder.CREATED_AT,
        *,
        descending: bool = True,
        page_size: int = DEFAULT_PAGE,
        page_token: str | None = None,
        skip: int = 0,
    ) -> tuple[list[Case], str | None]:
        """One page of Cases and the token of the next one, None after the last."""
        if not 1 <= page_size <= LARGEST_PAGE:
            raise InvalidRequestError(f"pageSize must be from 1 to {LARGEST_PAGE}.", "pageSize")
        with self._database.transaction() as connection:
            return list_cases(
                connection,
                filters or CaseFilters(),
                order,
                descending=descending,
                page_size=page_size,
                page_token=page_token,
                skip=skip,
            )

    def list_events(self, case_id: str) -> list[TimelineEvent]:
        """The whole timeline in order, without deleted comments."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """
                SELECT * FROM case_timeline WHERE case_id = %(case_id)s AND kind <> 'commentDeleted' ORDER BY sequence
                """,
                {"case_id": find_case(connection, case_id).id},
            )
            return [event_of(row) for row in rows]

    def list_comments(self, case_id: str) -> list[Comment]:
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT * FROM case_timeline WHERE case_id = %(case_id)s AND kind = 'comment' ORDER BY sequence",
                {"case_id": find_case(connection, case_id).id},
            )
            return [comment_of(row) for row in rows]

    def get_event(self, event_id: str) -> TimelineEvent:
        """One line of a timeline; raises NotFoundError, also for a comment that was deleted."""
        if UUID.fullmatch(event_id):
            with self._database.transaction() as connection:
                row = connection.execute(
                    "SELECT * FROM case_timeline WHERE event_id = %(event_id)s AND kind <> 'commentDeleted'",
                    {"event_id": event_id},
                ).fetchone()
                if row is not None:
                    return event_of(row)
        raise NotFoundError(f"There is no event {ascii(event_id[:64])[1:-1]}.")

    def create_case(
        self,
        title: str,
        priority: CasePriority,
        category: CaseCategory = CaseCategory.AVAILABILITY,
        *,
        actor: Actor,
        description: str = "",
        labels: Pairs | None = None,
        groupings: Pairs | None = None,
        activate: bool = True,
    ) -> Case:
        """A new Case: ACTIVE with its readable id, or PENDING_ACTIVATION without one."""
        with self.changes(actor) as changes:
            return changes.create(
                title,
                priority,
                category,
                description=description,
                labels=labels,
                groupings=groupings,
                activate=activate,
            )

    def activate(self, case_id: str, actor: Actor) -> Case:
        with self.changes(actor) as changes:
            return changes.activate(case_id)

    def acknowledge(self, case_id: str, actor: Actor) -> Case:
        with self.changes(actor) as changes:
            return changes.acknowledge(case_id)

    def unacknowledge(self, case_id: str, actor: Actor) -> Case:
        with self.changes(actor) as changes:
            return changes.unacknowledge(case_id)

    def resolve(self, case_id: str, actor: Actor, reason: str | None = None) -> Case:
        """Resolve; of a Case that is RESOLVED already, the reason is left as it is."""
        with self.changes(actor) as changes:
            return changes.resolve(case_id, reason)

    def close(self, case_id: str, actor: Actor) -> Case:
        with self.changes(actor) as changes:
            return changes.close(case_id)

    def update(
        self, case_id: str, actor: Actor, *, title: str | None = None, resolution_reason: str | None = None
    ) -> Case:
        """Change the title, the resolution reason, or both; None leaves as it is."""
        with self.changes(actor) as changes:
            if title is not None:
                changes.rename(case_id, title)
            if resolution_reason is not None:
                changes.set_resolution_reason(case_id, resolution_reason)
            return changes.current(case_id)

    def set_resolution_reason(self, case_id: str, actor: Actor, reason: str) -> Case:
        with self.changes(actor) as changes:
            return changes.set_resolution_reason(case_id, reason)

    def override_priority(self, case_id: str, actor: Actor, priority: CasePriority | None) -> Case:
        with self.changes(actor) as changes:
            return changes.override_priority(case_id, priority)

    def set_system_priority(self, case_id: str, actor: Actor, priority: CasePriority) -> Case:
        with self.changes(actor) as changes:
            return changes.set_system_priority(case_id, priority)

    def assign(self, case_id: str, actor: Actor, user_id: str) -> Case:
        with self.changes(actor) as changes:
            return changes.assign(case_id, user_id)

    def unassign(self, case_id: str, actor: Actor) -> Case:
        with self.changes(actor) as changes:
            return changes.unassign(case_id)

    def add_comment(self, case_id: str, actor: Actor, text: str) -> TimelineEvent:
        with self.changes(actor) as changes:
            return changes.add_comment(case_id, text)

    def place_comment(self, case_id: str, actor: Actor, text: str, reference: str) -> str:
        with self.changes(actor) as changes:
            return changes.add_comment(case_id, text, reference).event_id

    def update_comment(self, event_id: str, actor: Actor, text: str) -> TimelineEvent:
        with self.changes(actor) as changes:
            return changes.update_comment(event_id, text)

    def delete_comment(self, event_id: str, actor: Actor) -> str:
        """Delete a comment and return the id of its Case."""
        with self.changes(actor) as changes:
            return changes.delete_comment(event_id)
