"""A page that shows the API's own description, from the same OpenAPI document that machines read. It loads nothing from
anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, current_app, render_template

blueprint = Blueprint("api_docs_page", __name__)

DEEPEST = 6


@blueprint.get("/api/v1/docs")
def show_docs() -> str:
    spec = current_app.extensions["flask-smorest"]["apis"][""]["ext_obj"].spec.to_dict()
    schemas = spec.get("components", {}).get("schemas", {})
    return render_template("api_docs.html", spec=spec, described=lambda schema: described(schema, schemas))


def described(schema: Any, schemas: Mapping[str, Any], depth: int = 0) -> Any:
    """A schema as people read it: the shape of the JSON, with a word for what stands in each place."""
    if depth > DEEPEST or not isinstance(schema, Mapping):
        return "…"
    if "$ref" in schema:
        return described(schemas.get(str(schema["$ref"]).rpartition("/")[2], {}), schemas, depth + 1)
    if "properties" in schema:
        return {name: described(inner, schemas, depth + 1) for name, inner in schema["properties"].items()}
    if schema.get("type") == "array":
        return [described(schema.get("items", {}), schemas, depth + 1)]
    if "enum" in schema:
        return " | ".join(str(choice) for choice in schema["enum"])
    kinds = schema.get("type", "anything")
    words = [kinds] if isinstance(kinds, str) else list(kinds)
    return " or ".join(words) + (f" ({schema['format']})" if "format" in schema else "")
