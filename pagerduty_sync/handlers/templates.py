"""Presets at work: what a template sees of a Case, what a condition decides, and how a Case reads as an incident.

A template that fails never keeps an incident from opening: the plain text stands in for it, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pagerduty_sync.domain import mapping
from pagerduty_sync.domain.cases import Case, CaseStatus
from pagerduty_sync.domain.connectors import Preset
from pagerduty_sync.domain.presets import plain_details, plain_title, plain_urgency
from pagerduty_sync.errors import TemplateError
from pagerduty_sync.handlers import template_language

LONGEST_DETAILS = 50_000
URGENCIES = ("high", "low")

# The Notification Center's older two words for a Case: its state, and its status within it.
_STATE: Mapping[CaseStatus, tuple[str, str]] = {
    CaseStatus.PENDING_ACTIVATION: ("CREATED", "OPEN"),
    CaseStatus.ACTIVE: ("ACTIVE", "OPEN"),
    CaseStatus.ACKNOWLEDGED: ("ACTIVE", "ACKNOWLEDGED"),
    CaseStatus.RESOLVED: ("RESOLVED", "CLOSED"),
    CaseStatus.CLOSED: ("RESOLVED", "CLOSED"),
}


@dataclass(frozen=True, slots=True)
class IncidentText:
    """What an incident is opened with; `problem` says which template failed and why, None when none did."""

    title: str
    details: str
    urgency: str
    problem: str | None = None


def render(template: str, context: Mapping[str, Any], longest: int = LONGEST_DETAILS) -> str:
    """The template's text; raises TemplateError with line and reason."""
    return template_language.run(template_language.compiled(template), context, longest)


def evaluate(condition: str, context: Mapping[str, Any]) -> bool:
    """Whether a bare expression holds; an empty one always does. Raises TemplateError, also for neither of the two."""
    if not condition.strip():
        return True
    compiled = template_language.compiled_condition(condition.strip())
    return template_language.run(compiled, context, longest=5) == "true"


def check_template(template: str) -> None:
    """Read a template without carrying it out; raises TemplateError."""
    template_language.compiled(template)


def check_condition(condition: str) -> None:
    """Read a condition without carrying it out; raises TemplateError."""
    if condition.strip():
        template_language.compiled_condition(condition.strip())


def case_context(case: Case, case_url: str, notification_reason: str = "caseActivated") -> dict[str, Any]:
    """What templates and conditions see, under the names Coralogix's templates use. Labels are lists of values.

    `case.status` is the Case's one status; `case.state` is the Notification Center's CREATED, ACTIVE or RESOLVED.
    """
    state, status_within = _STATE[case.status]
    labels = {name: list(values) for name, values in case.labels.items()}
    resolved_by = case.resolved_by
    return {
        "case": {
            "id": case.id,
            "readableId": case.readable_id,
            "title": case.title,
            "description": case.description,
            "caseDetailUrl": case_url,
            "state": state,
            "status": case.status.value,
            "priority": case.priority.value,
            "casePriority": case.priority.value,
            "priorityDetails": {
                "system": case.system_priority.value,
                "override": case.override_priority.value if case.override_priority else None,
            },
            "category": case.category.value,
            "labels": labels,
            "groupings": {name: list(values) for name, values in case.groupings.items()},
            "assignee": {"userId": case.assignee_user_id},
            "createdAt": _instant(case.created_at),
            "updatedAt": _instant(case.updated_at),
            "acknowledgedAt": _instant(case.acknowledged_at),
            "resolutionDetails": {
                "reason": case.resolution_reason,
                "resolvedAt": _instant(case.resolved_at),
                "resolvedBy": ("SYSTEM" if resolved_by.kind == "system" else "USER") if resolved_by else None,
            },
        },
        "caseMetadata": {"notificationReason": notification_reason},
        "_context": {
            "entityType": "cases",
            "entitySubType": f"{state}/{status_within}",
            "entityLabels": labels,
            "system": {"id": "pagerduty-sync", "name": "pagerduty-sync"},
            "trigger": {"type": "automatic"},
        },
    }


def incident_text(preset: Preset | None, case: Case, case_url: str) -> IncidentText:
    """Title, details and urgency of the incident a Case opens; never raises. The details always hold the Case's URL."""
    context = case_context(case, case_url)
    problems: list[str] = []

    def field(name: str, plain: str, check: str = "") -> str:
        template = preset.templates.get(name) if preset else None
        if template is None:
            return plain
        try:
            text = render(template, context).strip()
            if not text:
                raise TemplateError("gives an empty text")
            if check and text.lower() not in URGENCIES:
                raise TemplateError(f"gives {text[:60]!r}; {check}")
        except TemplateError as exc:
            problems.append(f"{name}: {exc}")
            return plain
        return text

    title = " ".join(field("title", plain_title(case)).split())
    cut_title = mapping.cut_bytes(title, mapping.TITLE_BYTES)
    details = field("details", plain_details(case, case_url))
    if cut_title != title:
        details = f"{title}\n\n{details}"
    urgency = field("urgency", plain_urgency(case), check="it must be high or low").lower()
    problem = None
    if preset and problems:
        problem = f"Preset {preset.name} failed, so the plain text was used ({'; '.join(problems)})"
    return IncidentText(
        title=cut_title,
        details=_with_url(details, case_url),
        urgency=urgency,
        problem=problem,
    )


def _with_url(details: str, case_url: str) -> str:
    link = f"\n\nCase: {case_url}"
    room = LONGEST_DETAILS - len(link)
    cut = mapping.cut_characters(details, room)
    return cut if case_url in cut else cut + link


def _instant(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None
