"""The names that stand for something at one point of a query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from psycopg import sql

from pagerduty_sync.dataprime import fields, tree
from pagerduty_sync.dataprime.datasets import Dataset
from pagerduty_sync.dataprime.errors import nearest
from pagerduty_sync.dataprime.values import Kind, Parameters, Value, as_text_of_time, error

Segments = tuple[str, ...]

PREFIXES = ("$m", "$l", "$d")
_LARGEST_CALL = 40


@dataclass(frozen=True, slots=True)
class Scope:
    """Leaves by their whole path; what has leaves below it is an object. `shorts` are names that stand for leaves."""

    leaves: Mapping[Segments, Value]
    shorts: Mapping[str, Segments] = field(default_factory=dict)
    place: str = "here"

    def find(self, path: tree.Path, parameters: Parameters) -> tuple[Segments, Value]:
        """What a path stands for, and the path a result shows it under; raises DataPrimeError for an unknown one."""
        wanted, (prefix, *_) = whole(path), path.segments
        rest = wanted[1:]
        places = [wanted]
        # An aggregate's results live under $d, and whoever asks for `timestamp` means the metadata's.
        places += [("$d", *rest)] if prefix in PREFIXES else [("$m", *rest)]
        if (leaf := self._leaf(wanted)) is not None:
            return leaf, self.leaves[leaf]
        if wanted[0] == "$d" and len(rest) == 1 and (target := self.shorts.get(rest[0].lower())) is not None:
            return wanted, self.leaves[target]
        if wanted[0] == "$l" and len(rest) == 1 and ("$l",) in self.leaves:
            return wanted, _label(self.leaves[("$l",)], rest[0], parameters)
        for place in places[1:]:
            if (leaf := self._leaf(place)) is not None:
                return leaf, self.leaves[leaf]
        for place in places:
            if below := self._below(place):
                return place, _object(below, parameters)
        severity = next((name for name in fields.SEVERITIES if prefix.lower() == name.lower()), None)
        if severity and len(path.segments) == 1:
            return wanted, parameters.literal(severity)
        raise self._unknown(path)

    def outputs(self) -> Iterator[tuple[Segments, Value]]:
        yield from self.leaves.items()

    def _leaf(self, wanted: Segments) -> Segments | None:
        if wanted in self.leaves:
            return wanted
        lower = _lower(wanted)
        return next((segments for segments in self.leaves if _lower(segments) == lower), None)

    def _below(self, place: Segments) -> dict[Segments, Value]:
        lower, depth = _lower(place), len(place)
        return {
            segments[depth:]: value
            for segments, value in self.leaves.items()
            if len(segments) > depth and _lower(segments[:depth]) == lower
        }

    def _unknown(self, path: tree.Path) -> Exception:
        known = {".".join(segments) for segments in self.leaves}
        candidates = [*known, *(name.removeprefix("$d.") for name in known), *self.shorts, *fields.SEVERITIES]
        hint = "; a text stands in quotes" if len(path.segments) == 1 else ""
        return error(path.at, f"there is no field {str(path)!r} {self.place}{hint}", nearest(str(path), candidates))


def whole(path: tree.Path) -> Segments:
    """The path with its prefix; without one, it is a path of the data."""
    return path.segments if path.segments[0] in PREFIXES else ("$d", *path.segments)


def record(dataset: Dataset) -> Scope:
    """The scope right behind `source`."""
    return Scope({known.segments: _read(known) for known in dataset.fields}, dataset.shorts)


def _read(known: fields.Field) -> Value:
    read = sql.SQL(known.read)
    return Value(read, known.kind, known.is_nullable, column=known.column)


def _label(labels: Value, key: str, parameters: Parameters) -> Value:
    read = sql.SQL("({} -> {} ->> 0)").format(labels.sql, parameters.add(key, "text"))
    return Value(read, Kind.STRING, size=labels.size + 1)


def _object(below: Mapping[Segments, Value], parameters: Parameters) -> Value:
    """One object of all the leaves below a path."""
    groups: dict[str, dict[Segments, Value]] = {}
    for (first, *rest), value in below.items():
        groups.setdefault(first, {})[tuple(rest)] = value
    pieces = [_entry(name, inner, parameters) for name, inner in groups.items()]
    calls = [
        sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(chunk)) for chunk in _chunks(pieces, _LARGEST_CALL)
    ]
    whole_object = sql.SQL("({})").format(sql.SQL(" || ").join(calls))
    return Value(whole_object, Kind.OBJECT, is_nullable=False, size=sum(value.size for value in below.values()))


def _entry(name: str, inner: Mapping[Segments, Value], parameters: Parameters) -> sql.Composable:
    if () in inner:
        leaf = inner[()]
        value = as_json(leaf)
    else:
        value = _object(inner, parameters).sql
    return sql.SQL("{}, {}").format(parameters.add(name, "text"), value)


def as_json(value: Value) -> sql.Composable:
    """SQL that reads inside an object as the value itself would be shown."""
    if value.kind is Kind.TIMESTAMP:
        return as_text_of_time(value.sql)
    if value.kind is Kind.INTERVAL:
        return sql.SQL("extract(epoch FROM {})::double precision").format(value.sql)
    return value.sql


def _chunks(pieces: list[sql.Composable], size: int) -> Iterable[list[sql.Composable]]:
    return (pieces[start : start + size] for start in range(0, len(pieces), size))


def _lower(segments: Segments) -> Segments:
    return tuple(segment.lower() for segment in segments)
