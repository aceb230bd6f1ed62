"""The knobs: faults to inject, limits to set, and a switch for each fact PagerDuty leaves open.

A knob is a typed field of `Knobs`; the annotation is also its validator. A fault is a `Rule`: when it strikes and how.
Nothing here acts; the modules that act ask.
"""

# ruff: noqa: RUF009 - `_knob`, `_list` and `_rule` are three spellings of dataclasses.field

import dataclasses
import random
import threading
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Json = dict[str, Any]


class KnobError(ValueError):
    """A knob was named or set wrongly. The message begins with the field's name."""


@dataclass
class Rule:
    """One fault. Strikes surely on the `next` matching occasions after `skip` of them, else with `probability`."""

    probability: float = 0.0
    next: int = 0
    skip: int = 0
    match: dict[str, str] = field(default_factory=dict)
    options: Json = field(default_factory=dict)

    def to_json(self) -> Json:
        plain = {"probability": self.probability, "next": self.next, "skip": self.skip, "match": self.match}
        return {**plain, **self.options}

    def matches(self, facts: dict[str, str]) -> bool:
        """`path` matches as a part of the path, everything else as a whole."""
        return all(
            wanted in facts.get(name, "") if name == "path" else wanted == facts.get(name, "")
            for name, wanted in self.match.items()
        )


_REQUEST = ("method", "path")
_WEBHOOK = ("event_type", "subscription", "incident")


def _rule(meaning: str, match: tuple[str, ...], **options: Any) -> Any:
    metadata = {"meaning": meaning, "match": match, "options": options}
    return field(default_factory=lambda: Rule(options=dict(options)), metadata=metadata)


def _knob(default: Any, meaning: str, least: float | None = None) -> Any:
    return field(default=default, metadata={"meaning": meaning, "least": least})


def _list(default: list[Any], meaning: str, least: float | None = None) -> Any:
    return field(default_factory=lambda: list(default), metadata={"meaning": meaning, "least": least})


Answer = Literal["accept", "refuse"]


@dataclass
class Knobs:
    """Every knob with its default. Where PagerDuty's behaviour is documented, the default is that."""

    seed: int = _knob(1, "seeds the dice of all probabilities; setting it rolls them anew")

    # Faults of webhook delivery.
    webhook_drop: Rule = _rule("the webhook is never sent", _WEBHOOK)
    webhook_duplicate: Rule = _rule("the webhook is delivered twice with one X-Webhook-Id", _WEBHOOK)
    webhook_delay: Rule = _rule("the webhook, and those behind it, wait", _WEBHOOK, seconds=1.0)
    webhook_reorder: Rule = _rule("the webhook leaves the order and comes late, by itself", _WEBHOOK, seconds=0.5)
    webhook_bad_signature: Rule = _rule("the webhook is signed with a wrong secret", _WEBHOOK)

    # Faults of REST and Events API v2 replies.
    lose_reply: Rule = _rule("the write is applied, its reply is lost", _REQUEST, how="close", seconds=10.0)
    fail_before: Rule = _rule("an error instead of the work", _REQUEST, status=503, how="json")
    rate_limit: Rule = _rule("429 out of turn", _REQUEST, headers=True, body=True)
    slow_reply: Rule = _rule("the reply waits", _REQUEST, seconds=1.0)
    revoked_keys: list[str] = _list([], "these API keys answer 401")
    deactivated_users: list[str] = _list([], "these login e-mails belong to no user any more")

    # Limits.
    rest_limit_per_minute: int = _knob(960, "requests a minute and key (REST API Rate Limits page)", 1)
    create_limit_per_minute: int = _knob(500, "POST /incidents a minute (published as lower, number unknown)", 1)
    bulk_limit_per_minute: int = _knob(500, "PUT /incidents a minute (changelog 2022-05-10)", 1)
    events_limit_per_minute: int = _knob(120, "Events API v2 calls a minute and routing key", 1)
    subscription_limit: int = _knob(10, "webhook subscriptions a service, a team, and for the account scope", 1)
    notes_limit: int = _knob(2000, "notes an incident", 1)
    note_bytes: int = _knob(65535, "bytes of a note", 1)
    note_trim_bytes: int = _knob(50000, "bytes of a note's text a webhook carries before it is trimmed", 1)

    # Webhook delivery.
    delivery_timeout_seconds: float = _knob(5.0, "a receiver answers within this (Webhook Behavior page)", 0.01)
    retry_schedule: list[float] = _list(
        [1, 2, 5, 10, 30, 60, 120, 300], "seconds between tries, the last repeats (spacing is not published)", 0.01
    )
    retry_window_seconds: float = _knob(48 * 3600.0, "a webhook is retried for this long", 0)
    disable_seconds: float = _knob(
        24 * 3600.0, "three dropped webhooks in a row switch a subscription off for this long", 0
    )
    second_secret: str | None = _knob(None, "every webhook is signed with this secret as well")
    second_secret_first: bool = _knob(False, "the additional signature stands first in the header")

    # Switches for what is not documented.
    resolve_resolved: Answer = _knob("accept", "resolving a resolved incident: 200, or 400 code 1001")
    acknowledge_acknowledged: Answer = _knob("accept", "acknowledging twice: 200, or 400 code 1002")
    repeat_sends_webhook: bool = _knob(False, "an accepted repeat is reported by a webhook")
    acknowledged_follows_reopen: bool = _knob(False, "re-opening by acknowledge sends acknowledged after reopened")
    resolution_creates_note: bool = _knob(False, "a REST `resolution` also becomes a `Resolution Note: …` note")
    resolution_note_order: Literal["note_first", "resolve_first"] = _knob(
        "note_first", "order of annotated and resolved when a resolve carries a note, by page or REST"
    )
    rest_agent: Literal["user", "null"] = _knob("user", "agent of webhooks caused by REST with From")
    webhook_client: Literal["null", "pagerduty"] = _knob("null", "client of webhooks caused by people")
    shared_event_id: bool = _knob(True, "two subscriptions receive one event under one event.id")
    uncreatable_incident: Answer = _knob("refuse", "service disabled or nobody on call: 400, or 201 and no incident")
    service_updated_reaches: Literal["both", "new"] = _knob("both", "subscriptions told of a move to another service")
    long_title: Literal["accept", "cut", "refuse"] = _knob("accept", "titles over the limit of 1024")
    title_counts: Literal["characters", "bytes"] = _knob("characters", "what the limit of a title counts")
    long_note: Literal["cut", "refuse"] = _knob("refuse", "notes over the byte limit")
    from_with_user_key: Literal["ignored", "honoured"] = _knob("ignored", "a From header sent with a user token")
    missing_from_code: Literal[2016, 1028] = _knob(2016, "error code of a missing From header")
    forbidden_from_code: Literal[1018, 2010] = _knob(1018, "error code when the From user lacks the right")
    incident_not_found_code: Literal[2100, 5001] = _knob(2100, "error code of an unknown incident")
    deleted_incident_status: Literal[404, 410] = _knob(404, "status of an incident that was deleted")
    notes_limit_refusal: Literal["400 2001", "400 2019", "402 2019", "403 2019"] = _knob(
        "400 2001", "status and code when an incident holds all the notes it may (2019 is a product limit)"
    )
    trimmed_note: Literal["beginning", "nothing"] = _knob("beginning", "what a trimmed note's webhook shows of it")
    merged_notes: Literal["stay", "move"] = _knob("stay", "a merged incident's notes: its own still, or the target's")
    updated_at_moves: Literal["always", "with_status"] = _knob("always", "changes that `updated_at` of REST shows")
    timer_agent: Literal["null", "service"] = _knob("null", "agent of what a timer does")
    snooze_reports: bool = _knob(True, "a snooze that acknowledges sends incident.acknowledged")
    urgency_raise_reports: bool = _knob(True, "a raised urgency that un-acknowledges sends incident.unacknowledged")
    subscription_create_status: Literal[200, 201] = _knob(201, "status of a created webhook subscription")
    priorities_available: bool = _knob(True, "the plan has priorities; otherwise GET /priorities answers 402")


_FIELDS = {f.name: f for f in dataclasses.fields(Knobs)}
_TYPES = get_type_hints(Knobs)


class Faults:
    """The current knobs and the dice. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(1)  # noqa: S311 - dice, not a secret
        self.knobs = Knobs()

    def reset(self) -> None:
        with self._lock:
            self.knobs = Knobs()
            self._random.seed(1)

    def to_json(self) -> Json:
        return {name: _plain(getattr(self.knobs, name)) for name in _FIELDS}

    def explain(self) -> Json:
        meanings = {name: f.metadata["meaning"] for name, f in _FIELDS.items()}
        return {name: {"value": value, "meaning": meanings[name]} for name, value in self.to_json().items()}

    def change(self, wanted: object) -> None:
        """Set the named knobs and leave the others; null restores a default. All or nothing. Raises KnobError."""
        if not isinstance(wanted, dict):
            raise KnobError("the body must be a JSON object of knobs")
        defaults = Knobs()
        checked = {}
        for name, value in wanted.items():
            if name not in _FIELDS:
                raise KnobError(f"{name}: no such knob")
            restore = value is None and type(None) not in get_args(_TYPES[name])
            checked[name] = getattr(defaults, name) if restore else _check(name, value)
        with self._lock:
            for name, value in checked.items():
                setattr(self.knobs, name, value)
            if "seed" in checked:
                self._random.seed(self.knobs.seed)

    def strikes(self, name: str, **facts: str) -> Rule | None:
        """Roll the dice of one fault for one occasion; returns its rule when it strikes."""
        with self._lock:
            rule: Rule = getattr(self.knobs, name)
            if not (rule.next or rule.probability) or not rule.matches(facts):
                return None
            if rule.skip:
                rule.skip -= 1
                return None
            if rule.next:
                rule.next -= 1
                return rule
            return rule if self._random.random() < rule.probability else None


def _plain(value: object) -> object:
    return value.to_json() if isinstance(value, Rule) else value


def _check(name: str, value: object) -> Any:
    kind, metadata = _TYPES[name], _FIELDS[name].metadata
    if kind is Rule:
        return _check_rule(name, value, metadata["match"], metadata["options"])
    checked = _check_type(name, value, kind)
    least = metadata.get("least")
    for number in checked if isinstance(checked, list) else [checked]:
        if least is not None and number < least:
            raise KnobError(f"{name}: at least {least:g}")
    if name == "retry_schedule" and not checked:
        raise KnobError(f"{name}: at least one interval")
    return checked


def _check_type(name: str, value: object, kind: Any) -> Any:
    """The value, if it is of the annotated type. A bool is not a number; an integer will do for a float."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        fits = any(value == choice and type(value) is type(choice) for choice in arguments)
        wanted = f"one of {', '.join(map(str, arguments))}"
    elif origin is list:
        fits = isinstance(value, list) and all(_is_a(item, arguments[0]) for item in value)
        wanted = f"a list of {arguments[0].__name__}"
    elif origin is Union or arguments:
        fits = any(_is_a(value, choice) for choice in arguments)
        wanted = " or ".join("null" if choice is type(None) else choice.__name__ for choice in arguments)
    else:
        fits, wanted = _is_a(value, kind), kind.__name__
    if not fits:
        raise KnobError(f"{name}: must be {wanted}")
    return value


def _is_a(value: object, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind


def _check_rule(name: str, value: object, match_names: tuple[str, ...], defaults: Json) -> Rule:
    if _is_a(value, float):
        value = {"probability": value}
    if not isinstance(value, dict):
        raise KnobError(f"{name}: must be a probability or an object")
    rule = Rule(options=dict(defaults))
    for part, given in value.items():
        path = f"{name}.{part}"
        if part == "probability":
            if not _is_a(given, float) or not 0 <= given <= 1:
                raise KnobError(f"{path}: must be from 0 to 1")
            rule.probability = given
        elif part in ("next", "skip"):
            if type(given) is not int or given < 0:
                raise KnobError(f"{path}: must be a whole number from 0")
            setattr(rule, part, given)
        elif part == "match":
            rule.match = _check_match(path, given, match_names)
        elif part in defaults:
            rule.options[part] = _check_option(path, part, given, defaults[part])
        else:
            raise KnobError(f"{path}: no such field")
    return rule


def _check_match(path: str, given: object, names: tuple[str, ...]) -> dict[str, str]:
    if not isinstance(given, dict):
        raise KnobError(f"{path}: must be an object")
    for name, wanted in given.items():
        if name not in names:
            raise KnobError(f"{path}.{name}: no such field (known: {', '.join(names)})")
        if not isinstance(wanted, str):
            raise KnobError(f"{path}.{name}: must be text")
    return dict(given)


_HOWS = {"lose_reply.how": ("close", "error", "timeout"), "fail_before.how": ("json", "html", "empty")}


def _check_option(path: str, part: str, given: Any, default: Any) -> Any:
    if path in _HOWS:
        if given not in _HOWS[path]:
            raise KnobError(f"{path}: must be one of {', '.join(_HOWS[path])}")
    elif not _is_a(given, type(default)):
        raise KnobError(f"{path}: must be {type(default).__name__}")
    elif part == "seconds" and not 0 <= given <= 3600:
        raise KnobError(f"{path}: must be from 0 to 3600")
    elif part == "status" and not 400 <= given <= 599:
        raise KnobError(f"{path}: must be from 400 to 599")
    return given
