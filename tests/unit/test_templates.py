"""Templates and conditions: what they see, what they may not do, and that a broken one never keeps an incident shut."""

from __future__ import annotations

import contextlib
import string
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagerduty_sync.domain.cases import Actor, Case, CaseCategory, CasePriority, CaseStatus
from pagerduty_sync.domain.connectors import ConnectorPath, Preset
from pagerduty_sync.domain.presets import ACCOUNT_INCIDENTS, BUILTIN_PRESETS
from pagerduty_sync.errors import TemplateError
from pagerduty_sync.handlers import template_limits
from pagerduty_sync.handlers.templates import (
    case_context,
    check_condition,
    check_template,
    evaluate,
    incident_text,
    render,
)

AT = datetime(2026, 4, 1, 2, 15, 36, tzinfo=UTC)
URL = "https://cases.example.com/cases/CASE-12"
CASE = Case(
    id="3f1f0f9c-0000-4000-8000-000000000012",
    readable_id="CASE-12",
    title="Checkout is slow",
    description="p95 over 4 s",
    status=CaseStatus.ACTIVE,
    system_priority=CasePriority.P2,
    category=CaseCategory.AVAILABILITY,
    created_at=AT,
    updated_at=AT,
    status_changed_at=AT,
    priority_changed_at=AT,
    labels={"team": ["payments", "core"], "routing.team": ["payments"], "items": ["odd name"]},
)
CONTEXT = case_context(CASE, URL)


def a_preset(**templates: str) -> Preset:
    return Preset("1", "Mine", ConnectorPath.BIDIRECTIONAL, "cases", templates)


# ---------------------------------------------------------------- what templates can do


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ case.readableId }}: {{ case.title }}", "CASE-12: Checkout is slow"),
        ("{{ case.caseDetailUrl }}", URL),
        ("{{ case.status }} {{ case.state }} {{ _context.entitySubType }}", "ACTIVE ACTIVE ACTIVE/OPEN"),
        ("{{ case.priority }} {{ case.casePriority }} {{ case.category }}", "P2 P2 AVAILABILITY"),
        ('{{ case.labels.team[0] }} {{ case.labels["routing.team"][0] }}', "payments payments"),
        ("{{ case.labels.items | first }}", "odd name"),
        ("{{ case.labels.team }}", '["payments", "core"]'),
        ("{{ case.acknowledgedAt }}", ""),
        ("{{ case.nothing | default(value='none') }}", "none"),
        ("{{ case.nothing.deeper[3].still | default('none') }}", "none"),
        ("{{ case.assignee.userId | default(value='nobody') }}", "nobody"),
        ("{{ case.createdAt | date }}", "2026-04-01"),
        ('{{ case.createdAt | date(format="%H:%M") }}', "02:15"),
        ("{{ 0 | date(format='%Y') }}", "1970"),
        ("{{ case.title | upper }} {{ case.title | lower }}", "CHECKOUT IS SLOW checkout is slow"),
        ("{{ case.labels.team | json_encode }}", '["payments", "core"]'),
        ("{{ case.title | json_encode }}", '"Checkout is slow"'),
        ('{{ case.labels.team | join(sep=", ") }}', "payments, core"),
        ("{{ case.title | truncate(length=8) }}", "Checkout…"),
        ("{{ case.labels.team | length }}", "2"),
        ('{% if case.priority == "P2" %}yes{% elif true %}no{% else %}never{% endif %}', "yes"),
        ("{% for name in case.labels.team %}{{ loop.index }}{{ name }}{% if not loop.last %},{% endif %}{% endfor %}",
         "1payments,2core"),
        ("{% for key, values in case.labels %}{{ key }}={{ values[0] }};{% endfor %}",
         "team=payments;routing.team=payments;items=odd name;"),
        ('{{ "a" ~ 1 ~ true }}', "a1true"),
        ("{% raw %}{{ kept }}{% endraw %}{# gone #}", "{{ kept }}"),
        ("{{ caseMetadata.notificationReason }}", "caseActivated"),
    ],
)  # fmt: skip
def test_a_template_shows(template: str, text: str) -> None:
    assert render(template, CONTEXT) == text


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("", True),
        ("true", True),
        ("false", False),
        ('case.priority in ["P1", "P2"]', True),
        ('"payments" in case.labels.team', True),
        ('case.labels.team is containing("core")', True),
        ('case.labels.absent[0] == "payments"', False),
        ('"payments" in case.labels.absent', False),
        ("case.labels.absent", False),
        ("not case.labels.absent", True),
        ("case.labels.team is defined and case.labels.absent is not defined", True),
        ('case.title is starting_with("Check") and case.title is ending_with("slow")', True),
        ('case.category == "SECURITY" or case.state == "ACTIVE"', True),
        ("caseMetadata.notificationReason == 'caseActivated'", True),
        ('case.labels["routing.team"][0] != "core"', True),
    ],
)
def test_a_condition_holds_or_not(condition: str, holds: bool) -> None:
    check_condition(condition)
    assert evaluate(condition, CONTEXT) is holds


def test_a_resolved_case_tells_who_resolved_it() -> None:
    resolved = replace(CASE, status=CaseStatus.RESOLVED, resolved_by=Actor("user"), resolved_at=AT)
    context = case_context(resolved, URL, "caseResolved")
    assert render("{{ case.resolutionDetails.resolvedBy }} {{ case.state }}", context) == "USER RESOLVED"
    assert evaluate("caseMetadata.notificationReason == 'caseResolved'", context)


# ---------------------------------------------------------------- what they may not do


HOSTILE = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ case['__class__'] }}",
    "{{ ''['__class__'] }}",
    "{{ self }}",
    "{{ self.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ case.title.format('x') }}",
    "{{ case.title.upper() }}",
    "{{ case | attr('__class__') }}",
    "{{ 'a' * 1000000000 }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{% for i in range(1000000000) %}x{% endfor %}",
    "{% for a in case.labels.team %}" * 15 + "x" + "{% endfor %}" * 15,
    "{% for a in case.labels.team recursive %}{{ loop(a) }}{% endfor %}",
    "{% set x = 'a' %}{{ x }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends 'x' %}",
    "{% block x %}{% endblock %}",
    "{% filter upper %}x{% endfilter %}",
    "{% call f() %}{% endcall %}",
    "{{ '\"'" + " | json_encode" * 60 + " }}",
    "{{ case.createdAt | date(format='%999999999d') }}",
    "{{ case.createdAt | date(format='" + "%A" * 4000 + "') }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "not " * 4000 + "1 }}",
    "{{ " + "9" * 5000 + " }}",
    "{{ case.title[0:3] }}",
    "{{ case.title | center(1000000000) }}",
    "{% for a in loop %}{% endfor %}",
    "{{ case.title | truncate(length=-1) }}",
    "{{ case.nothing }}",
    "{% for x in case.title %}{% endfor %}",
    "{% for x in case.nothing %}{% endfor %}",
    "{{ case.title < 3 }}",
    "{{ -case.title }}",
    "{{ unclosed",
    "{% if %}",
    "{% endif %}",
    "x" * 20_001,
    "\x00{{ case.nothing }}",
    "{{ '\ud800' | nope }}",
]


@pytest.mark.parametrize("template", HOSTILE, ids=lambda template: ascii(template[:40]))
def test_a_hostile_or_broken_template_is_refused_quickly(template: str) -> None:
    started = time.monotonic()
    with pytest.raises(TemplateError):
        render(template, CONTEXT)
    assert time.monotonic() - started < 3
    text = incident_text(a_preset(title=template, details=template, urgency=template), CASE, URL)
    assert text.title == "CASE-12: Checkout is slow"
    assert URL in text.details
    assert text.urgency == "high"
    assert text.problem is not None
    assert "plain text was used" in text.problem


@pytest.mark.parametrize(
    "condition",
    ["case.title", "1", "x }}{{ y", "true %}", "case.priority <", "case.labels.team", "(" * 500, "a" * 20_001],
    ids=lambda condition: condition[:20],
)
def test_a_condition_that_is_neither_true_nor_false_is_refused(condition: str) -> None:
    with pytest.raises(TemplateError):
        evaluate(condition, CONTEXT)


def test_an_error_names_its_line_and_reason() -> None:
    with pytest.raises(TemplateError) as read:
        check_template("a\nb\n{{ case.title | nope }}")
    assert read.value.line == 3
    assert "there is no filter nope" in read.value.reason
    with pytest.raises(TemplateError) as carried_out:
        render("a\n{{ case.nothing }}", CONTEXT)
    assert carried_out.value.line == 2
    assert carried_out.value.reason == "there is no nothing"
    assert str(carried_out.value) == "line 2: there is no nothing"


def test_time_is_bounded_even_when_every_turn_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_limits, "MAX_SECONDS", 0.05)
    long = {"many": [str(number) for number in range(5000)]}
    inner = "{% for b in many %}{% if (b ~ b) == 'x' %}y{% endif %}{% endfor %}"
    monkeypatch.setattr(template_limits, "MAX_ITERATIONS", 10**9)
    with pytest.raises(TemplateError, match="takes longer"):
        render("{% for a in many %}" + inner + "{% endfor %}", long)


def test_output_is_bounded() -> None:
    with pytest.raises(TemplateError, match="more than 50,000 characters"):
        render("{{ case.title }}" * 1000 + "{{ long }}", {**CONTEXT, "long": "x" * 60_000})


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "{{",
                "}}",
                "{%",
                "%}",
                "{#",
                "#}",
                "case",
                ".",
                "|",
                "default",
                "(",
                ")",
                "for",
                "in",
                "if",
                "else",
                "endif",
                "endfor",
                "'",
                '"',
                "[",
                "]",
                "0",
                "-",
                "~",
                "==",
                "is",
                "not",
                "and",
                "loop",
                "__class__",
                "self",
                "*",
                "**",
                "%",
                "set",
                "=",
                " ",
                "\n",
                "\x00",
                "ü",
            ]
        ),
        max_size=30,
    ).map("".join)
    | st.text(max_size=200)
)
def test_whatever_the_template_the_case_opens_an_incident(template: str) -> None:
    text = incident_text(a_preset(title=template, details=template, urgency=template), CASE, URL)
    assert 0 < len(text.title) <= 1024
    assert URL in text.details
    assert text.urgency in ("high", "low")
    with contextlib.suppress(TemplateError):
        assert isinstance(evaluate(template, CONTEXT), bool)


@settings(max_examples=100, deadline=None)
@given(
    st.builds(
        replace,
        st.just(CASE),
        title=st.text(min_size=1, max_size=600).filter(str.strip),
        description=st.text(alphabet=string.printable + "{}%äß漢\U0001f600", max_size=2000),
        labels=st.dictionaries(
            st.text(min_size=1, max_size=20), st.lists(st.text(max_size=20), max_size=3), max_size=5
        ),
        readable_id=st.none() | st.just("CASE-1"),
    )
)
def test_the_builtin_preset_reads_every_case(case: Case) -> None:
    builtin = BUILTIN_PRESETS[0]
    preset = Preset("1", builtin.name, builtin.path, builtin.entity, builtin.templates, is_builtin=True)
    text = incident_text(preset, case, URL)
    assert text.problem is None
    assert URL in text.details
    assert text.title.startswith("CASE-1: " if case.readable_id else case.id)


# ---------------------------------------------------------------- incidents


def test_the_builtin_preset_links_back_and_says_what_matters() -> None:
    builtin = BUILTIN_PRESETS[0]
    assert builtin.name == ACCOUNT_INCIDENTS
    preset = Preset("1", builtin.name, builtin.path, builtin.entity, builtin.templates, is_builtin=True)
    text = incident_text(preset, CASE, URL)
    assert text.title == "CASE-12: Checkout is slow"
    for part in ("p95 over 4 s", URL, "Priority: P2", "Category: AVAILABILITY", "team: payments, core"):
        assert part in text.details


@pytest.mark.parametrize(
    ("priority", "urgency"), [("P1", "high"), ("P2", "high"), ("P3", "high"), ("P4", "low"), ("P5", "low")]
)
@pytest.mark.parametrize("preset", [None, BUILTIN_PRESETS[0]], ids=["plain", "builtin"])
def test_urgency_follows_priority(priority: str, urgency: str, preset: object) -> None:
    case = replace(CASE, system_priority=CasePriority(priority))
    templates = BUILTIN_PRESETS[0].templates if preset else {}
    assert incident_text(a_preset(**templates), case, URL).urgency == urgency


def test_without_a_preset_the_plain_text_is_no_problem() -> None:
    text = incident_text(None, CASE, URL)
    assert text.problem is None
    assert text.title == "CASE-12: Checkout is slow"
    assert "p95 over 4 s" in text.details


def test_only_the_field_that_failed_falls_back_and_is_named() -> None:
    text = incident_text(a_preset(title="Now: {{ case.title }}", details="{{ case.nothing }}"), CASE, URL)
    assert text.title == "Now: Checkout is slow"
    assert "p95 over 4 s" in text.details
    assert text.problem == ("Preset Mine failed, so the plain text was used (details: line 1: there is no nothing)")


def test_details_without_the_link_get_it_and_a_long_title_is_cut() -> None:
    long = "x" * 2000
    text = incident_text(a_preset(title="{{ case.title }}" + long, details="Look."), CASE, URL)
    assert text.details == f"{CASE.title}{long}\n\nLook.\n\nCase: {URL}"
    assert len(text.title.encode()) == 1024
    assert text.title.endswith("… [cut]")


def test_a_title_of_several_lines_becomes_one() -> None:
    assert incident_text(a_preset(title="a\n  b\n"), CASE, URL).title == "a b"


def test_an_urgency_that_is_neither_high_nor_low_falls_back() -> None:
    text = incident_text(a_preset(urgency="medium"), CASE, URL)
    assert text.urgency == "high"
    assert "it must be high or low" in (text.problem or "")


def test_a_very_long_description_keeps_the_link() -> None:
    text = incident_text(None, replace(CASE, description="d" * 80_000), URL)
    assert URL in text.details
    assert len(text.details) <= 50_000
