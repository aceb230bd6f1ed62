"""The presets that come with this version: how a Case reads as an incident when nobody has said otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pagerduty_sync.domain.cases import Case, CasePriority
from pagerduty_sync.domain.connectors import ConnectorPath

ACCOUNT_INCIDENTS = "Cases - Basic PagerDuty Account Incidents Preset"

HIGH_URGENCY = frozenset({CasePriority.P1, CasePriority.P2, CasePriority.P3})
"""These page on-call people; P4 and P5 open a low-urgency incident, which by PagerDuty's default does not escalate."""

_TITLE = "{{ case.readableId | default(value=case.id) }}: {{ case.title }}"

_DETAILS = """\
{{ case.description | default(value="") }}
Case: {{ case.readableId | default(value=case.id) }} {{ case.caseDetailUrl }}
Priority: {{ case.priority }}
Category: {{ case.category }}
Created: {{ case.createdAt | date(format="%Y-%m-%d %H:%M:%S UTC") }}
{% for name, values in case.labels %}{{ name }}: {{ values | join(sep=", ") }}
{% endfor %}"""

_URGENCY = '{% if case.priority in ["P1", "P2", "P3"] %}high{% else %}low{% endif %}'


@dataclass(frozen=True, slots=True)
class BuiltinPreset:
    name: str
    path: ConnectorPath
    entity: str
    templates: Mapping[str, str]


BUILTIN_PRESETS = (
    BuiltinPreset(
        ACCOUNT_INCIDENTS,
        ConnectorPath.BIDIRECTIONAL,
        "cases",
        {"title": _TITLE, "details": _DETAILS, "urgency": _URGENCY},
    ),
)


def plain_title(case: Case) -> str:
    """The title no template is needed for."""
    return f"{case.name}: {case.title}"


def plain_details(case: Case, case_url: str) -> str:
    """The details no template is needed for."""
    head = f"{case.description}\n\n" if case.description else ""
    return f"{head}Case: {case.name} {case_url}\nPriority: {case.priority}\nCategory: {case.category}"


def plain_urgency(case: Case) -> str:
    return "high" if case.priority in HIGH_URGENCY else "low"
