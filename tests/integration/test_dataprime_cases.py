"""The dataset of Case states: what the Case store did, read back as Coralogix's layout, and the query for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import web.app
from pagerduty_sync.commands.query import query as command
from pagerduty_sync.dataprime.errors import DataPrimeError
from pagerduty_sync.domain.cases import SYSTEM, Actor, Case, CasePriority, CaseStatus
from pagerduty_sync.errors import TransitionError
from pagerduty_sync.settings import Settings
from pagerduty_sync.stores.case_changes import CaseChanges
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.inbox import Inbox
from pagerduty_sync.stores.queries import Queries
from pagerduty_sync.stores.secrets import generate_key
from pagerduty_sync.stores.tokens import Tokens

ADA = Actor("pagerDuty", id="PADA", name="Ada Lovelace", email="ada@example.com")
JANE, JOHN = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"

WHY_RESOLVED = """
source system/labs.cases.state_updates
| filter metadata.trigger == 'caseResolved'
| dedupeby caseId orderby $m.timestamp desc
| choose caseId, caseNumber, resolutionDetails.resolutionReason as reason
| limit 50
"""

Change = Callable[[CaseChanges, str], Case]


@pytest.fixture(scope="module")
def database(shared_database_url):
    database = Database(shared_database_url)
    yield database
    database.close()


@pytest.fixture(autouse=True)
def _no_cases(database):
    clear(database)


def clear(database):
    with database.transaction() as connection:
        connection.execute("TRUNCATE cases, case_timeline")


@pytest.fixture
def ask(database):
    """The rows a query gives, as mappings."""

    def ask(text: str, **options: Any) -> list[dict[str, Any]]:
        result = Queries(database).run(text, **options)
        return [dict(zip([column.name for column in result.columns], row, strict=True)) for row in result.rows]

    return ask


def lived(database: Database, *changes: Change, actor: Actor = ADA, **made: Any) -> list[Case]:
    """A Case as it was after its creation and after each change, every one in its own transaction."""
    with database.transaction() as connection:
        case = CaseChanges(connection, SYSTEM).create("Checkout is slow", CasePriority.P2, **made)
    states = [case]
    for change in changes:
        with database.transaction() as connection:
            states.append(change(CaseChanges(connection, actor), case.id))
    return states


def acknowledge(changes: CaseChanges, case_id: str) -> Case:
    return changes.acknowledge(case_id)


def unacknowledge(changes: CaseChanges, case_id: str) -> Case:
    return changes.unacknowledge(case_id)


def close(changes: CaseChanges, case_id: str) -> Case:
    return changes.close(case_id)


def resolve(reason: str | None = None) -> Change:
    return lambda changes, case_id: changes.resolve(case_id, reason)


def explain(reason: str) -> Change:
    return lambda changes, case_id: changes.set_resolution_reason(case_id, reason)


def assign(user_id: str) -> Change:
    return lambda changes, case_id: changes.assign(case_id, user_id)


# ------------------------------------------------------------------ the query written for Coralogix


def test_why_cases_were_resolved(database, ask):
    first = lived(database, acknowledge, resolve("Rolled back"), close)[-1]
    lived(database, acknowledge)
    second = lived(database, resolve())[-1]
    assert ask(WHY_RESOLVED) == [
        {"caseId": second.id, "caseNumber": second.readable_id, "reason": None},
        {"caseId": first.id, "caseNumber": first.readable_id, "reason": "Rolled back"},
    ]


def test_a_reason_given_later_is_shown_and_one_known_then_stays(database, ask):
    late = lived(database, resolve(), explain("First"), explain("Second"))[-1]
    early = lived(database, resolve("First"), explain("Second"), close)[-1]
    found = {(row["caseId"], row["why"]) for row in ask(WHY_RESOLVED.replace("reason\n", "why\n"))}
    assert found == {(late.id, "Second"), (early.id, "First")}
    assert ask(
        "source case_state_updates | filter status == 'CLOSED' | choose resolutionDetails.resolutionReason as r"
    ) == [{"r": "Second"}]


# ------------------------------------------------------------------ what a row says


def test_each_change_of_state_is_a_row_with_what_the_case_was(database, ask):
    states = lived(
        database,
        acknowledge,
        unacknowledge,
        assign(JANE),
        acknowledge,
        resolve("Rolled back"),
        close,
        labels={"team": ["payments", "web"]},
        description="p99 is 4 s",
    )
    found = ask("source case_state_updates | orderby timestamp")
    assert [
        (
            row["metadata.trigger"],
            row["metadata.change.$type"],
            row["metadata.change.previousStatus"],
            row["metadata.change.currentStatus"],
        )
        for row in found
    ] == [
        ("caseCreated", None, None, None),
        ("caseAcknowledged", "statusChanged", "ACTIVE", "ACKNOWLEDGED"),
        ("caseUnacknowledged", "statusChanged", "ACKNOWLEDGED", "ACTIVE"),
        ("caseAssigned", None, None, None),
        ("caseAcknowledged", "statusChanged", "ACTIVE", "ACKNOWLEDGED"),
        ("caseResolved", "statusChanged", "ACKNOWLEDGED", "RESOLVED"),
        ("caseClosed", "statusChanged", "RESOLVED", "CLOSED"),
    ]
    assert [as_read(row) for row in found] == [as_stored(state, states[-1]) for state in states]
    closed = found[-1]
    assert closed["resolutionDetails.resolvedBy"] == "Ada Lovelace"
    assert closed["resolutionDetails.resolutionReason"] == "Rolled back"
    assert closed["resolutionDetails.resolutionType"] is None
    assert moment(closed["closedAt"]) == closed["$m.timestamp"]
    assert found[-2]["closedAt"] is None
    assert found[0]["resolutionDetails.resolvedBy"] is None
    assert closed["description"] == "p99 is 4 s"
    assert closed["labels"] == closed["$l"] == {"team": ["payments", "web"]}
    assert closed["groupings"] == {}


def test_a_case_that_waited_to_be_active_was_activated(database, ask):
    lived(database, lambda changes, case_id: changes.activate(case_id), activate=False)
    assert ask("source case_state_updates | orderby timestamp | choose metadata.trigger as t, status") == [
        {"t": "caseCreated", "status": "PENDING_ACTIVATION"},
        {"t": "caseActivated", "status": "ACTIVE"},
    ]


def moment(nanoseconds: float | None) -> datetime | None:
    if nanoseconds is None:
        return None
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=round(nanoseconds / 1000))


def as_read(row: dict[str, Any]) -> dict[str, Any]:
    at = ("createdAt", "updatedAt", "acknowledgedAt", "resolvedAt", "resolutionDetails.resolvedAt")
    names = ("caseId", "caseNumber", "title", "assignee", "status", "priority", "priorityDetails.system", "category")
    more = ("priorityDetails.override", "resolutionDetails.resolutionReason", "$m.timestamp")
    return {name: row[name] for name in (*names, *more)} | {name: moment(row[name]) for name in at}


def as_stored(state: Case, last: Case) -> dict[str, Any]:
    """The row of a change after which the Case was this; its number and a missing reason are those it has at last."""
    is_resolved = state.status in (CaseStatus.RESOLVED, CaseStatus.CLOSED)
    return {
        "caseId": state.id,
        "caseNumber": last.readable_id,
        "title": state.title,
        "assignee": state.assignee_user_id,
        "status": state.status,
        "priority": state.priority,
        "priorityDetails.system": state.system_priority,
        "category": state.category,
        "priorityDetails.override": state.override_priority,
        "resolutionDetails.resolutionReason": (state.resolution_reason or last.resolution_reason)
        if is_resolved
        else None,
        "$m.timestamp": state.updated_at,
        "createdAt": state.created_at,
        "updatedAt": state.updated_at,
        "acknowledgedAt": state.acknowledged_at,
        "resolvedAt": state.resolved_at,
        "resolutionDetails.resolvedAt": state.resolved_at,
    }


CHANGES: dict[str, Change] = {
    "activate": lambda changes, case_id: changes.activate(case_id),
    "acknowledge": acknowledge,
    "unacknowledge": unacknowledge,
    "resolve": resolve(),
    "resolve with a reason": resolve("Why"),
    "close": close,
    "explain": explain("Because"),
    "explain again": explain("Rather because"),
    "assign to Jane": assign(JANE),
    "assign to John": assign(JOHN),
    "unassign": lambda changes, case_id: changes.unassign(case_id),
    "rename": lambda changes, case_id: changes.rename(case_id, "Everything is slow"),
    "rename back": lambda changes, case_id: changes.rename(case_id, "Checkout is slow"),
    "override": lambda changes, case_id: changes.override_priority(case_id, CasePriority.P1),
    "no override": lambda changes, case_id: changes.override_priority(case_id, None),
    "source says": lambda changes, case_id: changes.set_system_priority(case_id, CasePriority.P4),
}
STATES = {"activate", "acknowledge", "unacknowledge", "resolve", "resolve with a reason", "close"}


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(sorted(CHANGES)), max_size=14), st.booleans())
@example(["acknowledge", "unacknowledge", "close"], False)
def test_whatever_happened_to_a_case_its_rows_are_what_it_was(database, names, activate):
    clear(database)
    states = lived(database, activate=activate)
    rows = list(states)
    for name in names:
        try:
            with database.transaction() as connection:
                state = CHANGES[name](CaseChanges(connection, ADA), states[0].id)
        except TransitionError:
            continue
        if state != states[-1] and (name in STATES or name.startswith("assign")):
            rows.append(state)
        states.append(state)

    result = Queries(database).run("source case_state_updates")

    found = [dict(zip([column.name for column in result.columns], row, strict=True)) for row in result.rows]
    assert [as_read(row) for row in reversed(found)] == [as_stored(row, states[-1]) for row in rows], names


# ------------------------------------------------------------------ asking


def test_the_time_range_applies(database, ask):
    state = lived(database, acknowledge)
    text = "source case_state_updates | count into n"
    assert ask(text) == [{"n": 2}]
    assert ask(text, since=state[1].updated_at) == [{"n": 1}]
    assert ask(text, until=state[1].updated_at) == [{"n": 1}]
    assert ask(text, until=state[0].created_at) == [{"n": 0}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("filter caseNumber == '{number}' | count into n", [{"n": 2}]),
        ("filter caseId == '{id}' && priority == 'P2' | count into n", [{"n": 2}]),
        ("filter caseId == 'nonsense' || caseNumber == 'CASE-0' | count into n", [{"n": 0}]),
        (
            "filter $l.team == 'payments' | countby metadata.trigger as t",
            [{"t": "caseAcknowledged", "_count": 1}, {"t": "caseCreated", "_count": 1}],
        ),
        ("filter createdAt:timestamp > now() - 1h && acknowledgedAt != null | count into n", [{"n": 1}]),
        ("filter acknowledgedAt >= createdAt | choose metadata.change['$type'] as t", [{"t": "statusChanged"}]),
        (
            "limit 1 | choose metadata.change as c",
            [{"c": {"$type": "statusChanged", "previousStatus": "ACTIVE", "currentStatus": "ACKNOWLEDGED"}}],
        ),
    ],
)
def test_answers(database, ask, text, expected):
    case = lived(database, acknowledge, labels={"team": ["payments"]})[-1]
    text = text.replace("{number}", case.name).replace("{id}", case.id)
    assert ask(f"source case_state_updates | {text}") == expected


def test_a_field_of_the_other_dataset_is_unknown_here(ask):
    with pytest.raises(
        DataPrimeError, match=r"there is no field 'metadata.triger' here. Did you mean metadata.trigger\?"
    ):
        ask("source case_state_updates | filter metadata.triger == 'x'")
    with pytest.raises(DataPrimeError, match="there is no field 'reason'"):
        ask("source case_state_updates | filter reason == 'echo'")


def test_a_span_of_time_is_found_by_its_index(database):
    lived(database, acknowledge)
    seen: list[Any] = []
    queries = Queries(database)
    queries._fetch = lambda made: (seen.append(made), ([], True))[1]
    queries.run("source case_state_updates | choose caseId, metadata.trigger")
    with database.transaction() as connection:
        # A table this small is read in any way; what is asked is whether the index alone would do.
        connection.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off"
        )
        plan = connection.execute("EXPLAIN " + seen[0].sql.as_string(connection), seen[0].parameters).fetchall()
    assert "case_timeline_of_states" in str(plan)
    assert "Sort" not in str(plan)
    # What the Case was before its later changes is looked up only for those who ask.
    assert "case_timeline_of_case" not in str(plan)


# ------------------------------------------------------------------ the API and the command line


@pytest.fixture
def post(database):
    app = web.app.create_app(
        SimpleNamespace(
            settings=Settings(encryption_keys=(generate_key(),), public_url="https://cases.example.com"),
            database=database,
            tokens=Tokens(database),
            deliveries=Deliveries(database),
            inbox=Inbox(database),
        )
    )

    def post(body: dict[str, Any], *permissions: str) -> Any:
        _, clear = Tokens(database).create("test", permissions or ("deliveries:Read", "case:Read"))
        headers = {"Authorization": f"Bearer {clear}"}
        return app.test_client().post("/api/v1/dataprime/query", json=body, headers=headers)

    return post


def test_the_api_answers_in_the_shape_of_coralogix(database, post):
    case = lived(database, resolve("Rolled back"))[-1]
    reply = post({"query": WHY_RESOLVED})
    assert reply.status_code == 200, reply.text
    _, result, last = map(json.loads, reply.text.splitlines())
    assert result["result"]["results"] == [
        {
            "metadata": [],
            "labels": [],
            "userData": json.dumps({"caseId": case.id, "caseNumber": case.name, "reason": "Rolled back"}),
        }
    ]
    assert last["statistics"]["outputRowCount"] == "1"
    record, *_ = json.loads(post({"query": "source case_state_updates"}).text.splitlines()[1])["result"]["results"]
    data = json.loads(record["userData"])
    assert data["metadata"] == {
        "trigger": "caseResolved",
        "change": {"$type": "statusChanged", "previousStatus": "ACTIVE", "currentStatus": "RESOLVED"},
    }
    assert data["resolutionDetails"]["resolvedBy"] == "Ada Lovelace"
    assert [pair["key"] for pair in record["metadata"]] == ["cxEventId", "timestamp"]


@pytest.mark.parametrize(
    "body",
    [
        {"query": "source case_state_updates"},
        {"query": WHY_RESOLVED},
        {"query": "count", "metadata": {"defaultSource": "case_state_updates"}},
    ],
)
def test_what_cases_say_takes_the_right_to_read_cases(post, body):
    assert post(body).status_code == 200
    refused = post(body, "deliveries:Read")
    assert refused.status_code == 403
    assert "case:Read" in refused.text
    assert post(body, "case:Read").status_code == 403
    assert post({"query": "count"}, "deliveries:Read").status_code == 200


def test_the_api_tells_what_is_wrong(post):
    reply = post({"query": "source case_state_updates\n| filter metadata.triger == 'x'"})
    assert reply.status_code == 400
    assert "line 2, column 10: there is no field 'metadata.triger'" in reply.text
    assert "Did you mean metadata.trigger?" in reply.text


def test_a_table_shows_the_gist_of_a_row(shared_database_url, database):
    case = lived(database, resolve("Rolled back"))[-1]

    def typed(*arguments: str) -> Any:
        runner = CliRunner(env={"PAGERDUTY_SYNC_DATABASE_URL": shared_database_url})
        return runner.invoke(command, list(arguments), catch_exceptions=False)

    heading, _, row, _ = typed("source case_state_updates").stdout.splitlines()
    assert heading.split() == [
        *("$m.timestamp", "caseNumber", "metadata.trigger", "status", "priority", "assignee", "title"),
        "resolutionDetails.resolutionReason",
    ]
    assert row.split()[1:5] == [case.name, "caseResolved", "RESOLVED", "P2"]
    assert row.endswith("Rolled back")
    shown = typed(WHY_RESOLVED).stdout.splitlines()
    assert [line.split() for line in shown[::2]] == [
        ["caseId", "caseNumber", "reason"],
        [case.id, case.name, "Rolled", "back"],
    ]
    assert json.loads(typed("--json", "source case_state_updates | limit 1 | choose status").stdout) == {
        "status": "RESOLVED"
    }
