"""The template language: what Jinja and Tera have in common, and nothing that could harm whoever runs it.

Safe by construction: a template is parsed, every node of it must be on a list, names lead only to values of the context
(never to attributes of Python objects), and output, loops and time are bounded. Knows nothing of Cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any

from jinja2 import TemplateSyntaxError, UndefinedError, nodes
from jinja2.environment import Template
from jinja2.runtime import LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pagerduty_sync.errors import TemplateError
from pagerduty_sync.handlers import template_filters, template_limits

MAX_TEMPLATE_CHARACTERS = 20_000
"""What Coralogix allows a preset's field to hold."""
MAX_DEPTH = 100

_NODES: tuple[type[nodes.Node], ...] = (
    nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Test,
    nodes.If, nodes.For, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg,
    nodes.Concat, nodes.List, nodes.Tuple, nodes.Keyword,
)  # fmt: skip
_LOOP = frozenset({"index", "index0", "first", "last", "length"})


class _Missing(Undefined):
    """What is not in the context: it counts as false and empty and equals nothing, but cannot be shown."""

    __slots__ = ()

    def __str__(self) -> str:
        raise UndefinedError(self._undefined_message)


class _Environment(ImmutableSandboxedEnvironment):
    """Looks names up in mappings and sequences only, so that no method of any object is ever reached."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Undefined):
            return obj
        if isinstance(obj, Mapping) and isinstance(argument, str) and argument in obj:
            return obj[argument]
        if isinstance(obj, Sequence) and not isinstance(obj, str) and type(argument) is int and argument < len(obj):
            return obj[argument] if argument >= 0 else self.undefined(f"there is no item {argument}")
        return self.undefined(f"there is no {str(argument)[:60]}")


def _verdict(value: object) -> bool:
    """A condition's outcome; what is missing counts as false."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Undefined) or value is None:
        return False
    raise TemplateError(f"the condition gives {_kind(value)}, not true or false; compare it with something")


def _kind(value: object) -> str:
    return "text" if isinstance(value, str) else "a number" if isinstance(value, int | float) else "a list or mapping"


def _make_environment() -> _Environment:
    # Without the optimizer nothing of a template is carried out while it is only checked.
    environment = _Environment(
        undefined=_Missing,
        autoescape=False,
        optimized=False,
        finalize=template_filters.shown,
        keep_trailing_newline=True,
    )
    environment.globals.clear()
    environment.filters.clear()
    environment.filters.update({name: template_limits.timed(call) for name, call in template_filters.FILTERS.items()})
    environment.filters.update(
        {
            "_items": template_limits.items,
            "_pairs": template_limits.pairs,
            "_verdict": _verdict,
            "_shown": template_filters.shown,
        }
    )
    environment.tests.clear()
    environment.tests.update(template_filters.TESTS)
    return environment


_ENVIRONMENT = _make_environment()


@lru_cache(maxsize=256)
def compiled(source: str) -> Template:
    """A template that passed every check; raises TemplateError with the line and what is wrong there."""
    return _compiled(_parsed(source))


@lru_cache(maxsize=256)
def compiled_condition(source: str) -> Template:
    """A bare expression as a template that shows `true` or `false`; raises TemplateError."""
    tree = _parsed("{{ " + source + " }}")
    output = tree.body[0] if len(tree.body) == 1 else None
    if not isinstance(output, nodes.Output) or len(output.nodes) != 1:
        raise TemplateError("a condition is one expression, without {{ }} or {% %}", 1)
    output.nodes = [_filtered(output.nodes[0], "_verdict")]
    return _compiled(tree)


def run(template: Template, context: Mapping[str, Any], longest: int) -> str:
    """Carry a template out; raises TemplateError, and nothing else, with the line that failed."""
    try:
        with template_limits.allowance() as allowance:
            return _joined(template.root_render_func(template.new_context(dict(context))), longest, allowance)
    except Exception as exc:  # whatever a template does wrong is the template's error
        reason = exc.reason if isinstance(exc, TemplateError) else str(exc)[:200] or type(exc).__name__
        raise TemplateError(reason, _line_of(exc.__traceback__, template)) from None


def _joined(pieces: Iterable[str], longest: int, allowance: template_limits.Allowance) -> str:
    kept, size = [], 0
    for piece in pieces:
        allowance.check_time()
        size += len(piece)
        if size > longest:
            raise TemplateError(f"gives more than {longest:,} characters")
        kept.append(piece)
    return "".join(kept)


def _parsed(source: str) -> nodes.Template:
    if len(source) > MAX_TEMPLATE_CHARACTERS:
        raise TemplateError(f"is {len(source):,} characters long; at most {MAX_TEMPLATE_CHARACTERS:,} are allowed")
    try:
        tree = _ENVIRONMENT.parse(source)
    except TemplateSyntaxError as exc:
        raise TemplateError((exc.message or "cannot be read").rstrip("."), exc.lineno) from None
    except (RecursionError, MemoryError):
        raise TemplateError("is nested too deeply") from None
    except ValueError as exc:
        raise TemplateError(f"cannot be read: {str(exc)[:200]}") from None
    _check(tree)
    return tree


def _compiled(tree: nodes.Template) -> Template:
    try:
        code = _ENVIRONMENT.compile(tree)
    except (RecursionError, MemoryError, SyntaxError):
        raise TemplateError("is nested too deeply") from None
    except TemplateSyntaxError as exc:
        raise TemplateError((exc.message or "cannot be read").rstrip("."), exc.lineno) from None
    return Template.from_code(_ENVIRONMENT, code, {})


def _check(tree: nodes.Template) -> None:
    """Refuse what is not on the list, make every loop count its turns, and let a text be joined as it would show."""
    waiting: list[tuple[nodes.Node, int]] = [(child, 1) for child in tree.iter_child_nodes()]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise TemplateError("is nested too deeply", node.lineno)
        if not isinstance(node, _NODES):
            raise TemplateError(f"{_word(node)} cannot be used here", node.lineno)
        _check_words(node)
        waiting += [(child, depth + 1) for child in node.iter_child_nodes()]
        if isinstance(node, nodes.For):
            over = "_pairs" if isinstance(node.target, nodes.Tuple) else "_items"
            node.iter = _filtered(node.iter, over)
        elif isinstance(node, nodes.Concat):
            node.nodes = [_filtered(operand, "_shown") for operand in node.nodes]


def _filtered(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _check_words(node: nodes.Node) -> None:
    if isinstance(node, nodes.Filter | nodes.Test):
        known = template_filters.FILTERS if isinstance(node, nodes.Filter) else template_filters.TESTS
        if node.name not in known:
            kind = "filter" if isinstance(node, nodes.Filter) else "test"
            raise TemplateError(f"there is no {kind} {node.name}; there are {', '.join(sorted(known))}", node.lineno)
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise TemplateError("* and ** cannot be used here", node.lineno)
    elif isinstance(node, nodes.For) and (node.recursive or node.test is not None):
        raise TemplateError("a loop is `for x in y`, neither recursive nor with a condition", node.lineno)
    elif isinstance(node, nodes.Name) and node.name == "self":
        raise TemplateError("self cannot be used here", node.lineno)
    elif isinstance(node, nodes.Getattr | nodes.Getitem | nodes.Name) and _name_of(node).startswith("__"):
        raise TemplateError(f"{_name_of(node)[:60]} cannot be used here", node.lineno)


def _name_of(node: nodes.Getattr | nodes.Getitem | nodes.Name) -> str:
    if isinstance(node, nodes.Name):
        return node.name
    argument = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", "")
    return argument if isinstance(argument, str) else ""


def _word(node: nodes.Node) -> str:
    words = {"Call": "a call", "Assign": "set", "AssignBlock": "set", "Slice": "a slice", "Include": "include"}
    name = type(node).__name__
    return words.get(name, name)


def _line_of(traceback: TracebackType | None, template: Template) -> int:
    line = 0
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__jinja_template__") is template:
            line = template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return line
