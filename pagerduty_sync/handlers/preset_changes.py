"""Presets of one's own: tried on a sample before they are kept, and shown at work on any Case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pagerduty_sync.domain import texts
from pagerduty_sync.domain.cases import Case
from pagerduty_sync.domain.connectors import ConnectorPath, Preset
from pagerduty_sync.domain.samples import SAMPLE_ALERT, SAMPLE_CASE
from pagerduty_sync.errors import ConflictError, InvalidRequestError, NotFoundError, TemplateError
from pagerduty_sync.handlers.accounts import checked_name
from pagerduty_sync.handlers.event_text import EVENT_FIELDS, alert_context, event_of_alert, event_of_case
from pagerduty_sync.handlers.rule_changes import ALERTS, CASES
from pagerduty_sync.handlers.templates import LONGEST_DETAILS, URGENCIES, case_context, incident_text, render
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.routing import Routing
from pagerduty_sync.stores.routing_edits import RoutingEdits

INCIDENT_FIELDS = ("title", "details", "urgency")
FIELDS: Mapping[ConnectorPath, tuple[str, ...]] = {
    ConnectorPath.BIDIRECTIONAL: INCIDENT_FIELDS,
    ConnectorPath.SERVICE_KEY: tuple(sorted(EVENT_FIELDS)),
}


@dataclass(frozen=True, slots=True)
class Preview:
    """How something reads in PagerDuty, field by field; `problem` when a template failed and plain text stands in."""

    name: str
    is_sample: bool
    fields: Mapping[str, Any]
    problem: str | None


class PresetChanges:
    def __init__(
        self,
        *,
        database: Database,
        routing: Routing,
        edits: RoutingEdits,
        audit: Audit,
        case_url: Callable[[str], str],
    ) -> None:
        self._database = database
        self._routing = routing
        self._edits = edits
        self._audit = audit
        self._case_url = case_url

    def all(self) -> list[Preset]:
        """Every preset, built-in ones first."""
        self._routing.ensure_builtin_presets()
        return self._routing.presets()

    def get(self, preset_id: str) -> Preset:
        """Raises NotFoundError."""
        preset = self._routing.preset(preset_id)
        if preset is None:
            raise NotFoundError(f"There is no preset {preset_id}.")
        return preset

    def create(self, name: str, path: ConnectorPath, entity: str, templates: Mapping[str, str], *, who: str) -> Preset:
        """Raises InvalidRequestError, naming the field and the line, for what would not work."""
        name = checked_name(name)
        self.check(path, entity, templates)
        with self._database.transaction() as conn:
            made = self._routing.create_preset(name, path, entity, templates, conn)
            self._audit.add(conn, who, "create", f"preset {name}", None, _facts(made))
        return made

    def update(self, preset_id: str, *, who: str, name: str, templates: Mapping[str, str]) -> Preset:
        """Another name and other templates; path and entity stay. Raises ConflictError for a built-in preset."""
        before = self._required_own(preset_id)
        name = checked_name(name)
        self.check(before.path, before.entity, templates)
        other = self._routing.preset_by_name(name)
        if other is not None and other.id != before.id:
            raise InvalidRequestError(f"There is a preset named {name} already.", "name")
        with self._database.transaction() as conn:
            self._edits.update_preset(preset_id, name, templates, conn)
            after = self._routing.preset(preset_id, conn)
            assert after is not None
            if after != before:
                self._audit.add(conn, who, "update", f"preset {name}", _facts(before), _facts(after))
        return after

    def delete(self, preset_id: str, *, who: str) -> None:
        """Raises ConflictError for a built-in preset and for one that rules use, naming them."""
        preset = self._required_own(preset_id)
        names = self._edits.rule_names_using_preset(preset_id)
        if names:
            raise ConflictError(f"The preset {preset.name} is used by the rules {', '.join(names)}.")
        with self._database.transaction() as conn:
            self._edits.delete_preset(preset_id, conn)
            self._audit.add(conn, who, "delete", f"preset {preset.name}", _facts(preset), None)

    def preview(self, preset: Preset, case: Case | None) -> Preview:
        """How this Case, or a sample, reads through a preset. A template that fails is told, as it would be."""
        if preset.entity == ALERTS:
            event = event_of_alert(preset, SAMPLE_ALERT)
            return Preview(SAMPLE_ALERT.name, True, event.content["payload"], event.problem or None)
        shown = case or SAMPLE_CASE
        url = self._case_url(shown.name)
        if preset.path is ConnectorPath.SERVICE_KEY:
            event = event_of_case(preset, shown, url)
            return Preview(shown.name, case is None, event.content["payload"], event.problem or None)
        text = incident_text(preset, shown, url)
        fields = {"title": text.title, "details": text.details, "urgency": text.urgency}
        return Preview(shown.name, case is None, fields, text.problem)

    def draft(self, path: ConnectorPath, entity: str, templates: Mapping[str, str]) -> Preset:
        """A preset that is not kept, for a preview; raises InvalidRequestError for fields it cannot have."""
        _require_fields(path, entity, templates)
        return Preset("", "of this preview", path, entity, templates)

    def _required_own(self, preset_id: str) -> Preset:
        preset = self.get(preset_id)
        if preset.is_builtin:
            raise ConflictError(f"The preset {preset.name} is built in and stays as it is; make one of your own.")
        return preset

    def check(self, path: ConnectorPath, entity: str, templates: Mapping[str, str]) -> None:
        _require_fields(path, entity, templates)
        if entity == ALERTS:
            context = alert_context(SAMPLE_ALERT)
        else:
            context = case_context(SAMPLE_CASE, self._case_url(SAMPLE_CASE.name))
        for field, template in templates.items():
            try:
                text = render(texts.storable(template, f"templates.{field}"), context, LONGEST_DETAILS).strip()
                if field in ("title", "summary") and not text:
                    raise TemplateError("gives an empty text for the sample")
                if field == "urgency" and text.lower() not in URGENCIES:
                    raise TemplateError(f"gives {text[:60]!r} for the sample; it must be high or low")
            except TemplateError as exc:
                raise InvalidRequestError(
                    f"The template of {field} has an error: {exc}.", f"templates.{field}"
                ) from exc


def _require_fields(path: ConnectorPath, entity: str, templates: Mapping[str, str]) -> None:
    if path is ConnectorPath.BIDIRECTIONAL and entity != CASES:
        raise InvalidRequestError("Only Cases open incidents through bi-directional connectors.", "entity")
    if not templates or set(templates) - set(FIELDS[path]):
        raise InvalidRequestError(
            f"A preset for the path {path} has templates for {', '.join(FIELDS[path])}.", "templates"
        )


def _facts(preset: Preset) -> dict[str, object]:
    return {
        "name": preset.name,
        "path": preset.path.value,
        "entity": preset.entity,
        "templates": dict(preset.templates),
    }
