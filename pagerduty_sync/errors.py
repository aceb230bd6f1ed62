"""The exceptions of this project, one tree.

    SyncError
    ├── SettingsError            said at start-up, naming the variable
    ├── SignatureError           a webhook nobody we trust has signed
    ├── PayloadError             bytes or fields that cannot be understood
    ├── NotFoundError            a thing asked for by name that is not there
    ├── InvalidRequestError      a request of ours or of an operator that breaks a rule of the thing it is about
    ├── ConflictError            a change that what is there already, or what uses it, does not allow
    ├── TemplateError            a template or condition that cannot be read or carried out, with line and reason
    ├── TransitionError          a change the Case's state machine forbids
    ├── LinkConflictError        one Case and one incident would no longer be a pair
    ├── SecretError              a secret that cannot be read with the keys at hand
    ├── StorageError             the database did not do it; trying again later may help
    └── PagerDutyError           carries status, code and request id; never the key, never a whole body
        ├── RetryableError
        │   ├── RateLimitError   with the seconds to wait, when PagerDuty said so
        │   ├── ServerError      5xx and 408
        │   └── TransportError   no answer: what the call did is not known
        └── PermanentError
            ├── UnauthorizedError        401: stop the connection
            ├── ForbiddenError           402, 403
            ├── IncidentNotFoundError    404
            ├── DuplicateIncidentError   an open incident already has this key
            └── RefusedError             any other 4xx

The class says whether a retry can help, its fields say when. Every message is a sentence an operator can act on.
"""

from __future__ import annotations


class SyncError(Exception):
    """Root of everything this project raises on purpose."""


class SettingsError(SyncError):
    """A setting is missing or wrong; the message names the variable and the cure."""


class SignatureError(SyncError):
    """A webhook carries no signature made with a secret we hold."""


class PayloadError(SyncError):
    """Bytes or fields that cannot be understood; `field` names where, when that is known."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class NotFoundError(SyncError):
    """Something asked for by name is not there."""


class InvalidRequestError(SyncError):
    """A request breaks a rule of the thing it is about; `field` names the part to change."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ConflictError(SyncError):
    """What is there already, or what uses it, does not allow this change; the message names it."""


class TemplateError(SyncError):
    """A template or condition cannot be read or carried out; `line` counts from 1 and is 0 when it is not known."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.reason = reason
        self.line = line


class TransitionError(SyncError):
    """The Case's state machine forbids this change."""


class LinkConflictError(SyncError):
    """One Case and one incident would no longer be a pair."""


class SecretError(SyncError):
    """A stored secret cannot be read with the encryption keys at hand."""


class StorageError(SyncError):
    """The database did not do it; trying again later may help."""


class PagerDutyError(SyncError):
    """PagerDuty did not do what was asked.

    `status` is the HTTP status (0 when there was no answer), `code` PagerDuty's own error code,
    `request_id` what its support asks for.
    """

    def __init__(
        self, message: str, *, status: int = 0, code: int | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id


class RetryableError(PagerDutyError):
    """The same call may work later."""


class RateLimitError(RetryableError):
    """429; `retry_after_seconds` is what the reply's headers said, None when they said nothing."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        code: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, status=429, code=code, request_id=request_id)
        self.retry_after_seconds = retry_after_seconds


class ServerError(RetryableError):
    """5xx or 408: a write may or may not have happened."""


class TransportError(RetryableError):
    """No answer came; a write may or may not have happened."""


class PermanentError(PagerDutyError):
    """Repeating the same call will not help."""


class UnauthorizedError(PermanentError):
    """401: the key is wrong, revoked, or belongs to another region."""


class ForbiddenError(PermanentError):
    """402 or 403: the plan or the user lacks the right."""


class IncidentNotFoundError(PermanentError):
    """404: deleted, or another account's."""


class DuplicateIncidentError(PermanentError):
    """400 code 2002 on create: an open incident on the service already has this incident_key."""


class RefusedError(PermanentError):
    """Any other 4xx; the message carries PagerDuty's own words."""
