"""The presets that come with this version: how a Case reads as an incident when nobody has said otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pagerduty_sync.domain.cases import Case, CasePriority
from pagerduty_sync.domain.connectors import ConnectorPath

ACCOUNT_INCIDENTS = "Cases - Basic PagerDuty Account Incidents Preset"
CASE_EVENTS = "Cases - Basic PagerDuty Preset"
ALERT_EVENTS = "Alerts - Basic PagerDuty Preset"

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

_EVENT_SEVERITY = (
    '{% if case.priority == "P1" %}critical{% elif case.priority == "P2" %}error'
    '{% elif case.priority == "P3" %}warning{% else %}info{% endif %}'
)

_EVENT_DETAILS = """\
{"case": {{ case.readableId | default(value=case.id) | json_encode }},
 "description": {{ case.description | json_encode }},
 "priority": {{ case.priority | json_encode }},
 "category": {{ case.category | json_encode }},
 "created_at": {{ case.createdAt | json_encode }},
 "labels": {{ case.labels | json_encode }},
 "url": {{ case.caseDetailUrl | json_encode }}}"""

_ALERT_DETAILS = """\
{"alert": {{ alert.id | json_encode }},
 "description": {{ alert.description | json_encode }},
 "priority": {{ alert.priority | json_encode }},
 "labels": {{ alert.labels | json_encode }},
 "url": {{ alert.url | json_encode }}}"""


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
    BuiltinPreset(
        CASE_EVENTS,
        ConnectorPath.SERVICE_KEY,
        "cases",
        {
            "summary": _TITLE,
            "severity": _EVENT_SEVERITY,
            "source": "{% if case.labels.service %}{{ case.labels.service | first }}{% else %}Cases{% endif %}",
            "timestamp": "{{ case.createdAt }}",
            "group": "{{ case.category }}",
            "custom_details": _EVENT_DETAILS,
        },
    ),
    BuiltinPreset(
        ALERT_EVENTS,
        ConnectorPath.SERVICE_KEY,
        "alerts",
        {
            "summary": "{{ alert.name }}",
            "severity": "{{ alert.severity }}",
            "source": "{% if alert.labels.service %}{{ alert.labels.service | first }}{% else %}Alerts{% endif %}",
            "custom_details": _ALERT_DETAILS,
        },
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
