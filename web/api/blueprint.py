"""flask-smorest's Blueprint with types: flask-smorest itself has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

from flask_smorest import Blueprint
from marshmallow import Schema

View = TypeVar("View", bound=Callable[..., Any])
Decorator = Callable[[View], View]


class ApiBlueprint(Protocol):
    """What the API's modules use of it."""

    def route(self, rule: str, *, methods: Sequence[str]) -> Decorator[Any]: ...

    def arguments(self, schema: type[Schema], *, location: str = "json", **options: Any) -> Decorator[Any]: ...

    def response(self, status: int, schema: type[Schema] | None = None) -> Decorator[Any]: ...


def api_blueprint(name: str, url_prefix: str, description: str) -> ApiBlueprint:
    return cast(ApiBlueprint, Blueprint(name, name, url_prefix=url_prefix, description=description))
