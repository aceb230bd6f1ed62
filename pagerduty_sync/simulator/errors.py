"""PagerDuty's error replies: `{"error": {"message", "code", "errors"}}` and the codes of its "Errors" API page."""

from .model import Json


class ApiError(Exception):
    """A refusal with its HTTP status and the documented body."""

    def __init__(self, status: int, message: str, code: int | None = None, *errors: str) -> None:
        super().__init__(message)
        self.status = status
        error: Json = {"message": message}
        if code is not None:
            error["code"] = code
        if errors:
            error["errors"] = list(errors)
        self.body: Json = {"error": error}


def invalid(*errors: str, code: int = 2001) -> ApiError:
    """400: the input is invalid and will stay so ("Errors" API page: 2001, or a code of its own)."""
    return ApiError(400, "Invalid Input Provided", code, *errors)


def conflicting(*errors: str) -> ApiError:
    """400 "Arguments Caused Error": well formed, but not now (code 2002)."""
    return ApiError(400, "Arguments Caused Error", 2002, *errors)


def not_found(code: int = 2100, status: int = 404) -> ApiError:
    return ApiError(status, "Not Found" if code == 2100 else "Incident Not Found", code)


def not_a_hash() -> ApiError:
    """What PagerDuty says of a write whose body it did not read as JSON, mostly for want of a Content-Type."""
    return invalid("params must be a Hash")


def unauthorized() -> ApiError:
    return ApiError(401, "Authentication Failed", 2006)


def forbidden(code: int = 2010) -> ApiError:
    return ApiError(403, "Access Denied", code)


def rate_limited() -> ApiError:
    """The body shown on the "REST API Rate Limits" page; it has no `errors`."""
    return ApiError(429, "Rate Limit Exceeded", 2020)
