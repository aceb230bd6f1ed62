"""The permissions a token may hold, in the words Coralogix uses for the same rights."""

from __future__ import annotations

CASE_READ = "case:Read"
CASE_CREATE = "case:Create"
CASE_UPDATE = "case:Update"
CASE_ASSIGN = "case:Assign"
CASE_ACKNOWLEDGE = "case:Acknowledge"
CASE_CLOSE = "case:Close"
CASE_COMMENT = "case:Comment"

INTEGRATIONS_READ = "integrations:ReadConfig"
INTEGRATIONS_MANAGE = "integrations:Manage"

CONNECTORS_LIST = "notification-center-connectors:ReadSummary"
CONNECTORS_READ = "notification-center-connectors:ReadConfig"
CONNECTORS_UPDATE = "notification-center-connectors:UpdateConfig"
PRESETS_LIST = "notification-center-presets:ReadSummary"
PRESETS_READ = "notification-center-presets:ReadConfig"
PRESETS_UPDATE = "notification-center-presets:UpdateConfig"
ROUTERS_LIST = "notification-center-routers:ReadSummary"
ROUTERS_READ = "notification-center-routers:ReadConfig"
ROUTERS_UPDATE = "notification-center-routers:UpdateConfig"

DELIVERIES_READ = "deliveries:Read"
DELIVERIES_REPLAY = "deliveries:Replay"
TOKENS_MANAGE = "tokens:Manage"

ALL = frozenset(
    {
        CASE_READ,
        CASE_CREATE,
        CASE_UPDATE,
        CASE_ASSIGN,
        CASE_ACKNOWLEDGE,
        CASE_CLOSE,
        CASE_COMMENT,
        INTEGRATIONS_READ,
        INTEGRATIONS_MANAGE,
        CONNECTORS_LIST,
        CONNECTORS_READ,
        CONNECTORS_UPDATE,
        PRESETS_LIST,
        PRESETS_READ,
        PRESETS_UPDATE,
        ROUTERS_LIST,
        ROUTERS_READ,
        ROUTERS_UPDATE,
        DELIVERIES_READ,
        DELIVERIES_REPLAY,
        TOKENS_MANAGE,
    }
)
"""Every permission there is."""
