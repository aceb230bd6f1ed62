"""The JSON in which a link's pictures and parked actions are kept: one reading and one writing, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pagerduty_sync.domain.links import SYNCED_FIELDS, Agreement, Link, Parked, Picture, Seen
from pagerduty_sync.stores.case_rows import actor_fields, actor_of


def pictures_to_json(link: Link) -> dict[str, Any]:
    """Everything of a link that only the planner reads."""
    return {
        "fields": {name.value: _picture_to_json(link.pictures[name]) for name in SYNCED_FIELDS},
        "merged_into": link.merged_into,
        "is_doubtful": link.is_doubtful,
        "wants_notes": link.wants_notes,
        "is_open_attempted": link.is_open_attempted,
        "written": list(link.written),
        "causes": dict(link.causes),
        "writes_at": [at.isoformat() for at in link.writes_at],
    }


def with_pictures(link: Link, value: Mapping[str, Any]) -> Link:
    """`link` with what `pictures_to_json` wrote."""
    return replace(
        link,
        pictures={name: _picture_from_json(value["fields"][name.value]) for name in SYNCED_FIELDS},
        merged_into=value["merged_into"],
        is_doubtful=value["is_doubtful"],
        wants_notes=value["wants_notes"],
        is_open_attempted=value["is_open_attempted"],
        written=tuple(value["written"]),
        causes=dict(value["causes"]),
        writes_at=tuple(datetime.fromisoformat(at) for at in value["writes_at"]),
    )


def parked_to_json(parked: Mapping[str, Parked]) -> dict[str, Any]:
    return {
        key: {"detail": item.detail, "at": item.at.isoformat(), "previous": _agreement_to_json(item.previous)}
        for key, item in parked.items()
    }


def parked_from_json(value: Mapping[str, Any]) -> dict[str, Parked]:
    return {
        key: Parked(item["detail"], datetime.fromisoformat(item["at"]), _agreement_from_json(item["previous"]))
        for key, item in value.items()
    }


def _picture_to_json(picture: Picture) -> dict[str, Any]:
    seen = picture.incident
    return {
        "agreed": _agreement_to_json(picture.agreed),
        "incident": None
        if seen is None
        else {
            "value": seen.value,
            "at": seen.at.isoformat(),
            "changed_at": seen.changed_at.isoformat(),
            "is_read": seen.is_read,
            "by": actor_fields(seen.by) if seen.by else None,
        },
    }


def _picture_from_json(value: Mapping[str, Any]) -> Picture:
    agreed = _agreement_from_json(value["agreed"])
    assert agreed is not None
    seen = value["incident"]
    if seen is None:
        return Picture(agreed)
    return Picture(
        agreed,
        Seen(
            seen["value"],
            datetime.fromisoformat(seen["at"]),
            datetime.fromisoformat(seen["changed_at"]),
            seen["is_read"],
            actor_of(seen["by"]) if seen["by"] else None,
        ),
    )


def _agreement_to_json(agreed: Agreement | None) -> list[str | None] | None:
    return None if agreed is None else [agreed.case, agreed.incident]


def _agreement_from_json(value: list[str | None] | None) -> Agreement | None:
    return None if value is None else Agreement(value[0], value[1])
