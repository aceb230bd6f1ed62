"""Why a Case and its incident stand still as a pair, or why there is none: one look of `diagnosing`. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pagerduty_sync.domain.cases import CaseStatus
from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.evidence import Diagnosis, Evidence
from pagerduty_sync.domain.links import LOOP, Link, LinkState
from pagerduty_sync.domain.reasons import meaning_of


def of_pair(this: Evidence) -> Iterator[Diagnosis]:
    """The causes that stop one pair, or kept it from being made."""
    link = this.link
    if link is None:
        yield from _no_pair(this)
        return
    if LOOP in link.parked:
        yield Diagnosis(
            "loop_suspected",
            f"The link stands still: {link.parked[LOOP].detail}.",
            "Find out who writes in circles, then replay the attempt `stop_link`.",
        )
    if link.state is LinkState.ENDED and link.ended_reason != Reason.MERGED:
        gone = link.ended_reason == Reason.NOT_FOUND
        says = "The incident is gone at PagerDuty." if gone else meaning_of(link.ended_reason)
        yield Diagnosis(
            "incident_gone" if gone else "link_ended", f"The link is over. {says}", "Link the Case with another one."
        )
    yield from _refused(this, link)


def _no_pair(this: Evidence) -> Iterator[Diagnosis]:
    case = this.case
    if case is None:
        if this.integration is not None and this.integration.is_two_way:
            yield Diagnosis(
                "unlinked_incident",
                f"Incident {this.incident_id} belongs to no Case, and such incidents are left alone.",
                "Incidents opened here are linked by themselves; link this one with a Case, then replay its events.",
            )
    elif case.status is CaseStatus.PENDING_ACTIVATION:
        yield Diagnosis("waits_for_activation", meaning_of(Reason.WAITS_FOR_ACTIVATION), "Activate the Case.")
    elif this.is_told_one_way:
        yield Diagnosis(
            "one_way", "The Case goes to a service-key connector, which tells and does not listen.", "Add a rule."
        )
    elif not this.leads_to:
        why = "; ".join(this.why_not) or "there are none"
        yield Diagnosis(
            "no_rule_matches",
            f"No routing rule leads the Case to an incident ({why}).",
            "Change or add a rule, then replay the attempt with the reason no_route.",
        )
    elif not case.status.is_open:
        yield Diagnosis("not_open", meaning_of(Reason.NOT_OPEN), "Nothing: there is nobody to page any more.")
    elif this.waits_since is None:
        yield Diagnosis(
            "routed_later",
            f"The rules lead to {this.leads_to} today and did not when the Case changed.",
            "Replay the attempt with the reason no_route, or change the Case.",
        )


def _refused(this: Evidence, link: Link) -> Iterator[Diagnosis]:
    parked = {key: item for key, item in link.parked.items() if key != LOOP}
    if not parked:
        return
    key, item = max(parked.items(), key=lambda pair: pair[1].at)
    refusal = next((one for one in this.attempts if one.detail == item.detail and one.http_status), None)
    try_again = "then replay the refused attempt"
    user = this.integration.user_email if this.integration else "the user"
    if refusal is not None and refusal.http_status in (402, 403):
        yield Diagnosis(
            "missing_permission",
            f"PagerDuty refused {refusal.operation} for {user}: {item.detail}",
            f"Give {user} the base role Responder, or a key with write access; {try_again}.",
        )
    elif key == "open":
        service = f"{this.connector.service_name} ({link.service_id})" if this.connector else link.service_id
        yield Diagnosis(
            "wrong_service",
            f"PagerDuty opens no incident on the service {service}: {item.detail}",
            f"Point the connector to a service that exists, is enabled and has somebody on call; {try_again}.",
        )
    else:
        yield Diagnosis("refused", f"{key} was refused for good: {item.detail}", f"Mend what it names, {try_again}.")
