"""flask-smorest's Blueprint with types, which flask-smorest itself has none of, and with every refusal in its document:
what an operation may answer besides its success stands there by status, all in the one shape of a problem.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol, TypeVar, cast

from flask_smorest import Blueprint
from marshmallow import Schema
from webargs.flaskparser import FlaskParser

from web.errors import CURES, ProblemView

View = TypeVar("View", bound=Callable[..., Any])
Decorator = Callable[[View], View]

REFUSALS = "x-refusals"
PROBLEM_TYPE = "application/problem+json"


class ApiBlueprint(Protocol):
    """What the API's modules use of it."""

    def route(self, rule: str, *, methods: Sequence[str]) -> Decorator[Any]: ...

    def arguments(self, schema: type[Schema], *, location: str = "json", **options: Any) -> Decorator[Any]: ...

    def response(self, status: int, schema: type[Schema] | None = None) -> Decorator[Any]: ...


def api_blueprint(name: str, url_prefix: str, description: str) -> ApiBlueprint:
    return cast(ApiBlueprint, _Blueprint(name, name, url_prefix=url_prefix, description=description))


def refuses(*statuses: int) -> Callable[[View], View]:
    """Describe what a view may answer besides what follows from its address, its arguments and its permission."""

    def describe(view: View) -> View:
        return cast(View, Blueprint.doc(**{REFUSALS: {str(status): "" for status in statuses}})(view))

    return describe


class _Parser(FlaskParser):
    DEFAULT_VALIDATION_STATUS = 400


class _Blueprint(Blueprint):  # type: ignore[misc]
    ARGUMENTS_PARSER = _Parser()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks.append(_describe_refusals)

    def route(self, rule: str, **options: Any) -> Decorator[Any]:
        """Of an address with an id in it, nothing may be there."""
        register = super().route(rule, **options)
        describe = refuses(400, 404) if "<" in rule else refuses()
        return lambda view: register(describe(view))


def _describe_refusals(doc: dict[str, Any], doc_info: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add every refusal to one operation; called by flask-smorest while it writes the document."""
    manual = doc_info.get("manual_doc", {})
    statuses = {int(status) for status in manual.pop(REFUSALS, {})} | {503}
    if "x-permission" in manual:
        statuses |= {401, 403}
    if "arguments" in doc_info:
        statuses |= {400}
    if "requestBody" in doc:
        statuses |= {413, 415}
    responses = doc.setdefault("responses", {})
    responses.pop("default", None)
    for status in sorted(statuses):
        responses[str(status)] = _refusal(status)
        responses.pop(status, None)
    return doc


def _refusal(status: int) -> Mapping[str, Any]:
    words = f"{HTTPStatus(status).phrase}. {CURES.get(status, '')}".strip()
    return {"description": words, "content": {PROBLEM_TYPE: {"schema": ProblemView}}}
