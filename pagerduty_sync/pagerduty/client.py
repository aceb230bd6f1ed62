"""PagerDuty's REST API as far as the sync uses it.

    client = PagerDutyClient(api_key, "bot@example.com", BASE_URLS["eu"])

Refuses nothing on grounds of budget or of what is wise: that is decided before the call.
"""

from __future__ import annotations

from pagerduty_sync.pagerduty.account import AccountCalls
from pagerduty_sync.pagerduty.incidents import IncidentCalls
from pagerduty_sync.pagerduty.subscriptions import SubscriptionCalls

BASE_URLS = {"us": "https://api.pagerduty.com", "eu": "https://api.eu.pagerduty.com"}
"""An account lives in exactly one region (Service Regions). Any other base URL works too, the simulator's for one."""


class PagerDutyClient(IncidentCalls, AccountCalls, SubscriptionCalls):
    """All calls with one API key. `Transport` holds the constructor.

    `from_email` is the user whom an account's key acts as (REST API: Authentication); None with a user's own token.
    `on_response` hears of every attempt, also of one without an answer (status 0).
    """
