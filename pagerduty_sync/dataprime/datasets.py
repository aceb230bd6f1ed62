"""What can be asked about: the log of deliveries, and how the Cases of our own store changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pagerduty_sync.dataprime import case_fields, fields, tree
from pagerduty_sync.dataprime.errors import nearest
from pagerduty_sync.dataprime.fields import SYNC, Field
from pagerduty_sync.dataprime.values import error


@dataclass(frozen=True, slots=True)
class Dataset:
    """`names` are what `source` calls it, the first of them ours, the other Coralogix's.

    `view` is what its fields read: its column `at` is when a row happened, `id` tells two of the same moment apart.
    `shorts` are names that stand for fields, `table` the fields that a table shows of a whole record. Whoever asks over
    the API needs `permission`.
    """

    names: tuple[str, ...]
    subject: str
    view: str
    fields: tuple[Field, ...]
    table: tuple[str, ...]
    permission: str
    shorts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def relation(self) -> str:
        """The view under the name by which the fields read it."""
        return f"{self.view} AS d"


DELIVERIES = Dataset(
    names=("notification_deliveries", "system/notification.deliveries"),
    subject="the log of deliveries",
    view="delivery_record",
    fields=(*fields.METADATA, fields.LABELS, *fields.LAYOUT, *fields.OURS),
    table=tuple(
        f"{SYNC}.{name}"
        for name in (
            *("at", "direction", "operation", "outcome", "reason"),
            *("case", "incident", "attempt", "http_status", "detail"),
        )
    ),
    permission="deliveries:Read",
    shorts={known.segments[-1]: known.segments for known in fields.OURS}
    | {name: (*SYNC.split("."), target) for name, target in fields.ALIASES.items()},
)

CASE_STATES = Dataset(
    names=("case_state_updates", "system/labs.cases.state_updates"),
    subject="the changes of Cases",
    view="case_state_update",
    fields=case_fields.FIELDS,
    table=(
        "$m.timestamp",
        "$d.caseNumber",
        "$d.metadata.trigger",
        "$d.status",
        "$d.priority",
        "$d.assignee",
        "$d.title",
        "$d.resolutionDetails.resolutionReason",
    ),
    permission="case:Read",
)

DATASETS = (DELIVERIES, CASE_STATES)
"""The first is asked when a query names none."""


def dataset_of(query: tree.Query, default_source: str = "") -> Dataset:
    """The dataset a query is about; raises DataPrimeError when there is none of that name."""
    name = query.source.name if query.source else default_source or DATASETS[0].names[0]
    for dataset in DATASETS:
        if name.lower() in dataset.names:
            return dataset
    at = query.source.at if query.source else tree.Position(1, 1)
    known = ", ".join(
        f"{' and '.join(f'`{one}`' for one in dataset.names)} are {dataset.subject}" for dataset in DATASETS
    )
    names = [one for dataset in DATASETS for one in dataset.names]
    raise error(at, f"there is no dataset {name!r} here; {known}", nearest(name, names))
