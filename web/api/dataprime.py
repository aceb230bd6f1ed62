"""DataPrime over deliveries and the changes of Cases, with the request and the reply of Coralogix's own query API.

The reply is one JSON object a line: the query's id, results in portions, warnings, and at last the statistics.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC
from typing import Any, cast

from flask import Response, current_app, g
from marshmallow import EXCLUDE, Schema, fields, validate
from werkzeug.exceptions import Forbidden

from pagerduty_sync.dataprime.datasets import dataset_of
from pagerduty_sync.dataprime.parser import LONGEST_QUERY, parse
from pagerduty_sync.dataprime.records import record_of
from pagerduty_sync.stores.queries import DEFAULT_LIMIT, LARGEST_LIMIT, Queries, QueryResult
from web.api.blueprint import api_blueprint
from web.parts import application
from web.permissions import requires

blueprint = api_blueprint(
    "dataprime", "/api/v1/dataprime", "Questions about what was attempted, and how Cases changed, in DataPrime."
)

NDJSON = "application/x-ndjson"
PORTION = 500
SYNTAXES = ("QUERY_SYNTAX_DATAPRIME", "QUERY_SYNTAX_UNSPECIFIED")
_EXTENSION = "pagerduty_sync.queries"


class About(Schema):
    """What Coralogix's clients send besides; what means nothing here is taken and ignored."""

    class Meta:
        unknown = EXCLUDE

    tier = fields.String(metadata={"description": "Ignored: there is one."})
    syntax = fields.String(validate=validate.OneOf(SYNTAXES))
    startDate = fields.AwareDateTime(default_timezone=UTC, metadata={"description": "24 hours ago unless given."})  # noqa: N815
    endDate = fields.AwareDateTime(default_timezone=UTC, metadata={"description": "Now unless given."})  # noqa: N815
    defaultSource = fields.String(validate=validate.Length(max=200))  # noqa: N815
    limit = fields.Integer(
        load_default=DEFAULT_LIMIT,
        validate=validate.Range(1),
        metadata={"description": f"At most {LARGEST_LIMIT} rows are given, whatever is asked for."},
    )


class Question(Schema):
    query = fields.String(required=True, validate=validate.Length(1, LONGEST_QUERY))
    metadata = fields.Nested(About)


@blueprint.route("/query", methods=["POST"])
@requires("deliveries:Read")
@blueprint.arguments(Question)
@blueprint.response(200)
def query(asked: dict[str, Any]) -> Response:
    """Run a query; the reply is NDJSON. What is wrong with it is told by line and column, with status 400.

    `notification_deliveries` (also `system/notification.deliveries`) is the log of deliveries and asked by default;
    `case_state_updates` (also `system/labs.cases.state_updates`) is how Cases changed, and takes `case:Read` as well.
    """
    about = asked.get("metadata") or About().load({})
    question = parse(asked["query"])
    permission = dataset_of(question, about.get("defaultSource", "")).permission
    if not g.token.allows(permission):
        raise Forbidden(f"The token {g.token.name!r} lacks the permission {permission}.")
    result = _queries().run(
        question,
        since=about.get("startDate"),
        until=about.get("endDate"),
        limit=min(about["limit"], LARGEST_LIMIT),
        default_source=about.get("defaultSource", ""),
    )
    return Response((json.dumps(line, ensure_ascii=False) + "\n" for line in _lines(result)), content_type=NDJSON)


def _lines(result: QueryResult) -> Iterator[dict[str, Any]]:
    yield {"queryId": {"queryId": str(uuid.uuid4())}}
    for start in range(0, len(result.rows), PORTION):
        portion = result.rows[start : start + PORTION]
        yield {"result": {"results": [record_of(result.columns, row) for row in portion]}}
    for warning in result.warnings:
        kind = {"numberOfResultsLimit": len(result.rows), "warningMessage": warning}
        yield {"warning": {"numberOfResultsLimitWarning": kind}}
    yield {
        "statistics": {
            "status": "COMPLETED",
            "outputRowCount": str(len(result.rows)),
            "durationMs": str(round(result.seconds * 1000)),
        }
    }


def _queries() -> Queries:
    """One for the whole process, so that it can count the queries that run."""
    kept = current_app.extensions.setdefault(_EXTENSION, Queries(application().database))
    return cast(Queries, kept)
