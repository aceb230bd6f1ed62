"""The syntax tree of a query. Every node knows where it stands; two nodes are equal wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Position:
    line: int = 0
    column: int = 0


NOWHERE = Position()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    at: Position = field(default=NOWHERE, compare=False, repr=False)


# ------------------------------------------------------------------ expressions


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A number is always a float; an interval is a timedelta."""

    value: str | float | bool | timedelta | None


@dataclass(frozen=True, slots=True)
class Path(Node):
    """`$d.outcome.status` is ("$d", "outcome", "status"); without a prefix the first segment is a name."""

    segments: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.segments)


@dataclass(frozen=True, slots=True)
class ArrayOf(Node):
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Not(Node):
    of: Expression


@dataclass(frozen=True, slots=True)
class Negative(Node):
    of: Expression


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """`&&` or `||` over two parts or more."""

    operator: str
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Compare(Node):
    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Cast(Node):
    of: Expression
    to: str


@dataclass(frozen=True, slots=True)
class Call(Node):
    name: str
    arguments: tuple[Expression, ...]


Expression: TypeAlias = Literal | Path | ArrayOf | Not | Negative | Logic | Compare | Arithmetic | Cast | Call


def parts_of(node: Expression) -> Iterator[Expression]:
    """The expressions directly inside this one."""
    match node:
        case ArrayOf(items):
            yield from items
        case Not(of) | Negative(of) | Cast(of, _):
            yield of
        case Logic(_, parts):
            yield from parts
        case Compare(_, left, right) | Arithmetic(_, left, right):
            yield left
            yield right
        case Call(_, arguments):
            yield from arguments
        case _:
            return


# ------------------------------------------------------------------ commands


@dataclass(frozen=True, slots=True)
class Named(Node):
    """`expression as name`; `name` is None where none was given."""

    expression: Expression
    name: Path | None = None


@dataclass(frozen=True, slots=True)
class Sort(Node):
    expression: Expression
    is_descending: bool = False


@dataclass(frozen=True, slots=True)
class Source(Node):
    name: str


@dataclass(frozen=True, slots=True)
class Filter(Node):
    condition: Expression


@dataclass(frozen=True, slots=True)
class Choose(Node):
    items: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Create(Node):
    name: Path
    expression: Expression


@dataclass(frozen=True, slots=True)
class GroupBy(Node):
    """`aggregate` alone is one without keys."""

    keys: tuple[Named, ...]
    aggregates: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class CountBy(Node):
    keys: tuple[Named, ...]
    into: Path | None = None
    is_ascending: bool = False


@dataclass(frozen=True, slots=True)
class Count(Node):
    into: Path | None = None


@dataclass(frozen=True, slots=True)
class Distinct(Node):
    keys: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class DedupeBy(Node):
    keys: tuple[Expression, ...]
    keep: int = 1
    order: tuple[Sort, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderBy(Node):
    order: tuple[Sort, ...]


@dataclass(frozen=True, slots=True)
class Limit(Node):
    rows: int


Command: TypeAlias = Filter | Choose | Create | GroupBy | CountBy | Count | Distinct | DedupeBy | OrderBy | Limit


@dataclass(frozen=True, slots=True)
class Query(Node):
    source: Source | None
    commands: tuple[Command, ...]
