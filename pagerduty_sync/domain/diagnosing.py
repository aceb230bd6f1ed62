"""From what is on record about a Case or an incident to the named causes of trouble, each with its mend. Pure.

The most probable cause comes first: what stops everything, then what stops this pair, then what stops one field, and at
last what may only have delayed or hidden something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

from pagerduty_sync.domain.cases import CaseStatus
from pagerduty_sync.domain.connectors import Field, IntegrationStatus, Policy
from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.evidence import Diagnosis, Evidence, differing
from pagerduty_sync.domain.links import LinkState
from pagerduty_sync.domain.pair_causes import of_pair
from pagerduty_sync.domain.reasons import meaning_of

SKEW_SECONDS = 30.0
"""An event from further in the future than this was stamped by a clock that differs from ours."""
LATE_SECONDS = 30.0
"""What should be looked at within seconds and was not after this time has no worker."""


def diagnose(evidence: Evidence) -> list[Diagnosis]:
    """Every cause that the evidence shows, the most probable first; empty when nothing is wrong."""
    found: dict[str, Diagnosis] = {}
    for look in _LOOKS:
        for diagnosis in look(evidence):
            found.setdefault(diagnosis.code, diagnosis)
    return list(found.values())


# ------------------------------------------------------------------ the account


def _account(this: Evidence) -> Iterator[Diagnosis]:
    account = this.integration
    if account is None:
        yield Diagnosis(
            "no_consent",
            "No PagerDuty account is connected: a connect is stored only with the consent to send Cases there.",
            "Run `pagerduty-sync connect --consent`, then make a connector and a routing rule.",
        )
        return
    is_out = account.status is IntegrationStatus.DISCONNECTED
    if is_out or this.key_problem:
        where, lives = _region(account.base_url), _region(this.an_incident_url)
        said = account.status_reason if is_out else this.key_problem
        if lives and where != lives:
            yield Diagnosis(
                "wrong_region",
                f"{account.base_url} does not accept the API key, and the account's incidents are at {lives}: {said}",
                f"Run `pagerduty-sync connect` again with the region of {lives}; what waits goes out then.",
            )
        else:
            yield Diagnosis(
                "revoked_key",
                f"PagerDuty does not accept the API key ending in {account.api_key_last4}: {said}",
                "Make a new key and run `pagerduty-sync connect` again; what waits goes out then.",
            )
    if account.status is IntegrationStatus.DEGRADED and not this.webhooks_problem:
        yield Diagnosis("degraded", f"The account is degraded: {account.status_reason}", "Run `pagerduty-sync doctor`.")


def _region(url: str) -> str:
    """Where an account lives, read from an address: the region for PagerDuty's own, else the host."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host.endswith(".pagerduty.com"):
        return "eu" if host.endswith(".eu.pagerduty.com") else "us"
    return parts.netloc


# ------------------------------------------------------------------ what the settings and the rules forbid


def _state(this: Evidence) -> Iterator[Diagnosis]:
    link, case = this.link, this.case
    if link is not None and link.ended_reason == Reason.MERGED:
        yield _merged("is over")
    if link is not None and case is not None and case.status is CaseStatus.CLOSED:
        yield Diagnosis("closed_case", meaning_of(Reason.CASE_CLOSED), "Open a new Case: a closed one stays closed.")


def _merged(link_now: str) -> Diagnosis:
    return Diagnosis(
        "merged_incident",
        f"The incident was merged into another one; the link {link_now}. {meaning_of(Reason.MERGED)}",
        "Work on the incident it was merged into; resolve this Case by hand when it is over.",
    )


def _settings(this: Evidence) -> Iterator[Diagnosis]:
    if this.integration is not None and not this.integration.is_two_way:
        yield Diagnosis(
            "two_way_off",
            "Two-way is off for the account: nothing that happens in PagerDuty reaches the Case.",
            "Run `pagerduty-sync two-way on`.",
        )
    if this.link is None or this.case is None or this.policy is None:
        return
    fields = differing(this.case, this.link, this.policy)
    connector = this.connector.name if this.connector else "the connector"
    table = this.policy.priority_map
    if Field.PRIORITY in fields:
        seen = this.link.seen(Field.PRIORITY)
        value = seen.value if seen else None
        names = {one.id: one.name for one in this.integration.priorities} if this.integration else {}
        if this.case.priority not in table or (value is not None and value not in table.values()):
            yield Diagnosis(
                "unmapped_priority",
                f"{connector} pairs no priority with Case {this.case.priority} or with the incident's "
                f"{names.get(value or '', 'priority')} ({value}).",
                "Complete the connector's priority table, then replay the attempt with the reason unmapped_priority.",
            )
    ended = [one for one in this.attempts if one.reason is Reason.DIRECTION_OFF]
    closed = [name for name in Field if not (this.policy.allows_out(name) and _lets_in(this.policy, name))]
    if closed and (ended or set(closed) & set(fields)):
        yield Diagnosis(
            "direction_off",
            f"{connector} keeps {', '.join(name.value for name in closed)} in step one way or not at all.",
            "Set the direction to both, then replay the attempts with the reason direction_off.",
        )


def _lets_in(policy: Policy, name: Field) -> bool:
    return policy.allows_in(name) or not policy.is_two_way


# ------------------------------------------------------------------ what does not reach us, or not in time


def _arrival(this: Evidence) -> Iterator[Diagnosis]:
    if this.webhooks_problem:
        yield Diagnosis(
            "disabled_subscription",
            f"PagerDuty's webhooks do not reach us: {this.webhooks_problem}.",
            "The watchdog mends it within half a minute while the workers run, and what was missed is read then; "
            "`pagerduty-sync doctor` says what keeps it from doing so.",
        )
    if this.rejected:
        yield Diagnosis(
            "wrong_secret",
            f"Webhooks of this account were refused: {this.rejected}.",
            "See that only our own subscription leads to this address, and exchange its secret.",
        )
    if this.lags and min(this.lags) < -SKEW_SECONDS:
        yield Diagnosis(
            "clock_skew",
            f"Events came {-min(this.lags):.0f} seconds before they happened: our clock is behind PagerDuty's. Where "
            "both sides change a priority or a resolution note, the wrong one may count as the later.",
            "Let the machine's clock follow a time server.",
        )
    if this.quarantined:
        yield Diagnosis(
            "quarantined",
            f"An event of this incident was not understood: {this.quarantined}.",
            "Upgrade, then run `pagerduty-sync replay --quarantined`.",
        )
    if any(one.reason is Reason.HEALED for one in this.attempts):
        yield Diagnosis(
            "webhooks_missing",
            "A change was learned by reading, because no webhook told of it.",
            "Nothing for this Case; if it happens often, ask with `pagerduty-sync explain --ask`.",
        )


def _pace(this: Evidence) -> Iterator[Diagnosis]:
    link = this.link
    if link is not None and link.attempts:
        failed = next((one for one in this.attempts if one.direction == "outbound" and one.detail), None)
        said = f": {failed.detail}" if failed else ""
        yield Diagnosis(
            "failing", f"The last calls have failed ({link.attempts} in a row){said}", "Wait: they are tried again."
        )
    if this.waits_since is not None and (this.now - this.waits_since).total_seconds() > LATE_SECONDS:
        yield Diagnosis(
            "no_worker",
            f"Something waits to be looked at since {this.waits_since:%Y-%m-%d %H:%M:%S} UTC.",
            "See with `pagerduty-sync doctor` that the workers run.",
        )


def _history(this: Evidence) -> Iterator[Diagnosis]:
    link = this.link
    is_alive = link is not None and link.state is not LinkState.ENDED
    if link is not None and is_alive and any(one.reason is Reason.MERGED for one in this.attempts):
        yield _merged(f"goes on with {link.incident_id}")


_LOOKS: Sequence[Callable[[Evidence], Iterator[Diagnosis]]] = (
    _account,
    of_pair,
    _state,
    _settings,
    _arrival,
    _pace,
    _history,
)
