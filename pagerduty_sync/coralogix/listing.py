"""The request that lists Cases: its filters, order and pages."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from pagerduty_sync.coralogix.requests import Chosen, Instant, Whole, Words
from pagerduty_sync.coralogix.wire import CATEGORY_PREFIX, PRIORITY_PREFIX, STATUS_PREFIX
from pagerduty_sync.domain.cases import CaseCategory, CasePriority, CaseStatus

MOST_VALUES = 1_000
_UNSPECIFIED = "UNSPECIFIED"


class Direction(StrEnum):
    UNSPECIFIED = _UNSPECIFIED
    ASCENDING = "ASCENDING"
    DESCENDING = "DESCENDING"


class OrderField(StrEnum):
    UNSPECIFIED = _UNSPECIFIED
    PRIORITY = "PRIORITY"
    STATUS = "STATUS"
    UPDATED_AT = "UPDATED_AT"
    CATEGORY = "CATEGORY"
    DURATION = "DURATION"
    CREATED_AT = "CREATED_AT"


class RangeMode(StrEnum):
    UNSPECIFIED = _UNSPECIFIED
    ACTIVE_WINDOW = "ACTIVE_WINDOW"
    CREATED_AT = "CREATED_AT"


def _any_of(field: fields.Field[Any], data_key: str | None = None) -> fields.List[Any]:
    return fields.List(field, load_default=[], data_key=data_key, validate=validate.Length(max=MOST_VALUES))


class Assignee(Schema):
    """One user, or nobody: exactly one of the two."""

    assignee = Words(256)
    unassigned = fields.Dict(validate=validate.Length(max=0))

    @validates_schema
    def _one(self, given: Mapping[str, Any], **_: Any) -> None:
        if len(given) != 1:
            raise ValidationError("Give either assignee or unassigned.")


class KeyValues(Schema):
    key = Words(4_096, required=True)
    values = fields.List(Words(4_096), required=True, validate=validate.Length(max=MOST_VALUES))


class KeyValue(Schema):
    key = Words(4_096, required=True)
    value = Words(4_096, required=True)


class LabelsFilter(Schema):
    flat_labels = _any_of(fields.Nested(KeyValue), "flatLabels")


class DateRange(Schema):
    since = Instant(data_key="from", required=True)
    until = Instant(data_key="to", required=True)
    mode = Chosen(RangeMode, "DATE_RANGE_MODE_", load_default=RangeMode.UNSPECIFIED)


_NOT_HERE = "Cases that are kept here know nothing of this; leave the filter out."


def _unsupported(data_key: str) -> fields.Field[Any]:
    """A filter of the published API over what only Coralogix itself knows: an empty one asks for nothing."""
    return fields.Raw(data_key=data_key, allow_none=True, validate=_refuse)


def _refuse(given: Any) -> None:
    if given:
        raise ValidationError(_NOT_HERE)


class Filters(Schema):
    statuses = _any_of(Chosen(CaseStatus, STATUS_PREFIX))
    priorities = _any_of(Chosen(CasePriority, PRIORITY_PREFIX))
    categories = _any_of(Chosen(CaseCategory, CATEGORY_PREFIX))
    assignees = _any_of(fields.Nested(Assignee))
    labels = _any_of(fields.Nested(KeyValues))
    groupings = _any_of(fields.Nested(KeyValues))
    case_labels = fields.Nested(LabelsFilter, data_key="caseLabelsFilter", load_default={"flat_labels": []})
    title_contains = Words(4_096, data_key="textSearch", load_default="")
    span = fields.Nested(DateRange, data_key="dateRange", load_default={})
    alert_filters = _unsupported("alertFilters")
    impacted_entities = _unsupported("impactedEntities")
    indicator_types = _unsupported("indicatorTypes")
    breached = _unsupported("breached")
    connector_types = _unsupported("connectorTypeFilters")

    @post_load
    def _named_as_the_store_does(self, given: dict[str, Any], **_: Any) -> dict[str, Any]:
        span = given["span"]
        return {
            "statuses": given["statuses"],
            "priorities": given["priorities"],
            "categories": given["categories"],
            "assignees": [option.get("assignee") for option in given["assignees"]],
            "labels": [(pair["key"], pair["values"]) for pair in given["labels"] if pair["values"]],
            "groupings": [(pair["key"], pair["values"]) for pair in given["groupings"] if pair["values"]],
            "flat_labels": [(pair["key"], pair["value"]) for pair in given["case_labels"]["flat_labels"]],
            "title_contains": given["title_contains"],
            "since": span.get("since"),
            "until": span.get("until"),
            "by_creation": span.get("mode") is RangeMode.CREATED_AT,
        }


class OrderBy(Schema):
    field = Chosen(OrderField, "CASE_ORDER_BY_FIELD_", load_default=OrderField.UNSPECIFIED)
    direction = Chosen(Direction, "CASE_ORDER_BY_DIRECTION_", load_default=Direction.UNSPECIFIED)


class Pagination(Schema):
    page_size = Whole(data_key="pageSize", load_default=100, validate=validate.Range(1, 1_000))
    page_token = Words(4_096, data_key="pageToken", load_default=None)
    skip = Whole(load_default=0, validate=validate.Range(0, 1_000_000))


class ListCases(Schema):
    """Loads into `filters`, `order`, `descending` and the page, in the Case store's words."""

    filters = fields.Nested(Filters)
    order = fields.Nested(OrderBy, data_key="orderBy")
    pagination = fields.Nested(Pagination)

    @post_load
    def _named_as_the_store_does(self, given: dict[str, Any], **_: Any) -> dict[str, Any]:
        order, page = given.get("order", {}), given.get("pagination", {})
        field = order.get("field", OrderField.UNSPECIFIED)
        return {
            "filters": given.get("filters", {}),
            "order": "CREATED_AT" if field is OrderField.UNSPECIFIED else str(field),
            "descending": order.get("direction") is not Direction.ASCENDING,
            **page,
        }
