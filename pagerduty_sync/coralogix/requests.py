"""What the Cases API may be sent: one schema for each body, as strict as the published one.

Loading gives the arguments of the Case store's methods. Unknown fields are refused: a filter that was misspelt should
not quietly find everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from pagerduty_sync.coralogix.wire import PRIORITY_PREFIX, read_time
from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.errors import InvalidRequestError

CASE_ID = r"^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[A-Z]+-[0-9]+)\Z"
UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z"
MOST_IDS = 1_000


class Words(fields.String):
    """Text of a limited length that a column can hold; `trim` takes white space off before the length counts."""

    def __init__(self, longest: int, *, trim: bool = False, **kwargs: Any) -> None:
        super().__init__(validate=validate.Length(1, longest), **kwargs)
        self.trim = trim

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if "\0" in text:
            raise ValidationError("Must not contain the NUL character.")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise ValidationError("Must be valid Unicode, not half of a surrogate pair.")
        return text.strip() if self.trim else text


class Chosen(fields.Field[Any]):
    """One value of an enum, behind its prefix; UNSPECIFIED is none."""

    def __init__(self, enum: Any, prefix: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.values = {prefix + member.value: member for member in enum}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str) or value not in self.values:
            raise ValidationError(f"Must be one of {', '.join(self.values)}.")
        return self.values[value]


class Instant(fields.Field[Any]):
    """RFC 3339 with a time zone."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        try:
            return read_time(value)
        except (TypeError, ValueError, OverflowError):
            raise ValidationError("Must be an RFC 3339 time such as 2026-01-31T12:00:00Z.") from None


class Whole(fields.Integer):
    """A JSON number without a fraction; true is none."""

    def _validated(self, value: Any) -> int:
        if isinstance(value, bool | str):
            raise self.make_error("invalid", input=value)
        return int(super()._validated(value))


def load(schema: type[Schema], body: Any) -> dict[str, Any]:
    """The arguments in a body; raises InvalidRequestError naming the first field that is wrong."""
    try:
        loaded: dict[str, Any] = schema().load(body)
    except ValidationError as exc:
        field, said = first_complaint(exc.messages)
        raise InvalidRequestError(f"{field}: {said}" if field else said, field or None) from exc
    return loaded


def first_complaint(messages: Any, path: str = "") -> tuple[str, str]:
    """The path to the first field marshmallow complains about, and what it says."""
    while isinstance(messages, Mapping) and messages:
        name, messages = next(iter(messages.items()))
        path = path if name == "_schema" else f"{path}.{name}" if path else str(name)
    said = messages[0] if isinstance(messages, list) and messages else messages
    return ascii(path)[1:-1][:200], str(said)


class UserDetails(Schema):
    user_id = fields.String(data_key="userId", required=True, validate=validate.Regexp(UUID, error="Must be a UUID."))


class UpdateCase(Schema):
    title = Words(512, trim=True)
    resolution_reason = Words(500, trim=True, data_key="resolutionReason")


class Nothing(Schema):
    """The body of an operation that takes none: absent or empty."""


class ResolveCase(Schema):
    reason = Words(500, load_default=None)


class AssignCase(Schema):
    assignee = fields.Nested(UserDetails, required=True)


class SetPriorityOverride(Schema):
    priority = Chosen(CasePriority, PRIORITY_PREFIX, required=True)


class WriteComment(Schema):
    text = Words(10_000, trim=True, required=True)
    attachments = fields.List(
        fields.Raw(), validate=validate.Length(max=0, error="Attachments cannot be kept here; put a link in the text.")
    )


class BulkClose(Schema):
    ids = fields.List(
        fields.String(validate=validate.Regexp(CASE_ID, error="Must be the id or readable id of a Case.")),
        required=True,
        validate=validate.Length(1, MOST_IDS),
    )


class BulkAcknowledge(BulkClose):
    actor = fields.Nested(UserDetails, required=True)


class BulkResolve(BulkClose):
    reason = Words(4_096, load_default=None)


class BulkAssign(BulkClose):
    assignee = fields.Nested(UserDetails, required=True)


class BulkSetPriorityOverride(BulkClose):
    priority = Chosen(CasePriority, PRIORITY_PREFIX, required=True)
