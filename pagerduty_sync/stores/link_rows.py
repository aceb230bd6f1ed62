"""Rows of the table `links`: how one is read, and the JSON in which its pictures and parked actions are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pagerduty_sync.domain.links import SYNCED_FIELDS, Agreement, Link, LinkState, Parked, Picture, Seen
from pagerduty_sync.stores.case_rows import actor_fields, actor_of


def link_of(row: Mapping[str, Any]) -> Link:
    """A row as a link; what was asked for and not taken up yet counts as known."""
    link = Link(
        id=str(row["id"]),
        case_id=str(row["case_id"]),
        case_name=row["case_name"],
        connector_id=str(row["connector_id"]),
        integration_id=str(row["integration_id"]),
        preset_id=str(row["preset_id"]) if row["preset_id"] else None,
        service_id=row["service_id"],
        incident_key=row["incident_key"],
        state=LinkState(row["state"]),
        pictures={},
        incident_id=row["incident_id"],
        incident_number=row["incident_number"],
        incident_url=row["incident_url"],
        ended_reason=row["ended_reason"],
        parked=parked_from_json(row["parked"]),
        attempts=row["attempts"],
        failing_since=row["failing_since"],
    )
    return with_pictures(link, {**row["pictures"], **row["asks"]})


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
