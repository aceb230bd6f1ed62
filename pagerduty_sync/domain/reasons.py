"""What each named reason of the delivery log tells an operator: the rule that decided, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping

from pagerduty_sync.domain.deliveries import Reason

MEANINGS: Mapping[Reason, str] = {
    Reason.APPLIED: "One side had changed since both last agreed, so the change was written to the other.",
    Reason.IN_STEP: "Both sides say the same.",
    Reason.ADOPTED: "The incident was there already under the Case's key, and was taken instead of opening another.",
    Reason.HEALED: "Learned by reading the incident: no webhook had told of it.",
    Reason.REPLAYED: "Looked at again on an operator's word.",
    Reason.MERGED: "A merge resolves no Case: the link follows the incident, or ends when that one has a Case already.",
    Reason.UNLINKED: "An operator took the Case and its incident apart.",
    Reason.NOTED: "Kept until the moment it applies, as a resolution note is that comes before its resolve.",
    Reason.CHECKED: "The incident is read before anything is decided about it.",
    Reason.ECHO: "Our own change, coming back.",
    Reason.STALE: "Older than what is known of the incident already; the later observation counts.",
    Reason.DUPLICATE: "Seen before: each event and each note counts once.",
    Reason.NO_LINK: "The incident belongs to no Case, and incidents without a Case are left alone.",
    Reason.NO_ROUTE: "No routing rule that is switched on is true of the Case.",
    Reason.NOT_OPEN: "Only a Case that is ACTIVE or ACKNOWLEDGED opens an incident.",
    Reason.PING: "PagerDuty's test event.",
    Reason.NOT_SYNCED: "This type of event changes nothing on a Case.",
    Reason.CASE_CLOSED: "A closed Case takes comments and nothing else, and closing changes no incident.",
    Reason.CASE_CANNOT_REOPEN: "A resolved Case cannot be re-opened; the re-open is told as a comment.",
    Reason.CASE_NOT_OPEN: "The priority of a resolved Case is fixed.",
    Reason.INCIDENT_NEVER_REOPENED: "The incident is resolved, and resolved incidents are never re-opened by us.",
    Reason.NO_EQUIVALENT: "The other side has no word for this change.",
    Reason.DIRECTION_OFF: "This direction is switched off, for the field or for the account.",
    Reason.UNACKNOWLEDGE_OFF: "The setting that lets an un-acknowledge make a Case active again is off.",
    Reason.UNMAPPED_PRIORITY: "The connector's priority table has no entry for this priority, and none is guessed.",
    Reason.LINK_ENDED: "The link between the Case and this incident is over.",
    Reason.OVERRULED: "Both sides had changed, and the other one wins.",
    Reason.WAITS_FOR_ACTIVATION: "A Case that is not activated yet is left alone until it is.",
    Reason.WAITS_FOR_OPENING: "The incident is not open yet.",
    Reason.RATE_LIMITED: "PagerDuty said that there are too many calls; tried again when it allows.",
    Reason.DISCONNECTED: "PagerDuty does not accept the API key; everything due waits for the reconnect.",
    Reason.UNAVAILABLE: "PagerDuty failed; tried again with growing pauses.",
    Reason.NO_REPLY: "No answer came, so it may or may not have been done: looked for before the next try.",
    Reason.REJECTED_SIGNATURE: "No secret of ours has signed it, so it is not believed.",
    Reason.UNKNOWN_EVENT: "Authentic, but of a type this version does not know; kept in quarantine.",
    Reason.UNREADABLE: "Authentic, but not to be understood; kept in quarantine.",
    Reason.REFUSED: "A final no; it is parked with its words, and not tried again by itself.",
    Reason.GAVE_UP: "Tried for as long as the settings say; parked, and not tried again by itself.",
    Reason.DEFECT: "The sync itself failed on this link; the worker's log has the trace.",
    Reason.LOOP_SUSPECTED: "Too many writes of ours within a minute: the link stands still until somebody has looked.",
    Reason.NOT_FOUND: "The incident, or the Case, is gone; the link is over.",
}


def meaning_of(reason: str) -> str:
    """The sentence of a reason; empty for one that a newer version wrote."""
    try:
        return MEANINGS.get(Reason(reason), "")
    except ValueError:
        return ""
