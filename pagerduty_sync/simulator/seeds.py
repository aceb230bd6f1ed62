"""The account every simulator starts with, derived from names: ids are opaque, yet the same on every machine.

30 services (one disabled, one whose policy has nobody on call, one with PagerDuty's default timers), 30 users of
several roles, priorities P1 to P5 (most severe first), three escalation policies, two teams, three REST keys. More than
25 services and users on purpose: a client that reads only the first page misses some.
"""

import hashlib

from .model import Key, Policy, Priority, Service, Team, User

SUBDOMAIN = "acme"

# A general access key has 20 characters, an Events integration key 32 ("API Access Keys" support page).
FULL_KEY = "u+SIMULATORFULLKEY01"
READ_ONLY_KEY = "u+SIMULATORREADKEY02"
USER_TOKEN = "u+SIMULATORUSERKEY03"  # noqa: S105 - Ada's, and no secret


def opaque_id(kind: str, name: str) -> str:
    """Seven characters that say nothing, like PagerDuty's own ids ("Resource References" API page)."""
    digest = hashlib.sha256(f"{kind}:{name}".encode()).digest()
    return "P" + "".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[byte % 36] for byte in digest[:6])


def routing_key_of(service_name: str) -> str:
    return hashlib.sha256(f"routing key:{service_name}".encode()).hexdigest()[:32]


BOT_EMAIL = "pagerduty-sync@acme.example"
ADA_EMAIL = "ada@acme.example"
BO_EMAIL = "bo@acme.example"
STAKEHOLDER_EMAIL = "stakeholder@acme.example"
RESTRICTED_EMAIL = "restricted@acme.example"

BOT_ID = opaque_id("user", BOT_EMAIL)
ADA_ID = opaque_id("user", ADA_EMAIL)
BO_ID = opaque_id("user", BO_EMAIL)
STAKEHOLDER_ID = opaque_id("user", STAKEHOLDER_EMAIL)
RESTRICTED_ID = opaque_id("user", RESTRICTED_EMAIL)

# Wire names of the base roles that may act on incidents: owner, global admin, manager and responder ("User Roles"
# support page; the Jira Cloud page asks for base role Responder or higher).
RESPONDING_ROLES = frozenset({"owner", "admin", "user", "limited_user"})

_FIRST_NAMES = (
    *("Carla", "Dmitri", "Esra", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kemal", "Lena", "Marek", "Nadia", "Oskar"),
    *("Priya", "Quentin", "Rosa", "Sven", "Tara", "Umar", "Vera", "Wim", "Xenia", "Yusuf", "Zoe", "Anton"),
)

ENGINEERING_ID = opaque_id("team", "Engineering")
PAYMENTS_TEAM_ID = opaque_id("team", "Payments")

DEFAULT_POLICY_ID = opaque_id("policy", "Default")
PAYMENTS_POLICY_ID = opaque_id("policy", "Payments on-call")
NOBODY_POLICY_ID = opaque_id("policy", "Nobody on call")

CHECKOUT_API = "Checkout API"
PAYMENTS_API = "Payments API"  # acknowledgement and auto-resolve timers on, at PagerDuty's defaults
LEGACY_GATEWAY = "Legacy Gateway"  # disabled
NIGHT_BATCH = "Night Batch"  # nobody is on call
_SERVICE_NAMES = (
    *(CHECKOUT_API, PAYMENTS_API, LEGACY_GATEWAY, NIGHT_BATCH),
    *(
        "Search",
        "Cart",
        "Catalog",
        "Inventory",
        "Pricing",
        "Shipping",
        "Returns",
        "Accounts",
        "Sessions",
        "Mail",
        "Push",
    ),
    *("SMS", "Warehouse", "Billing", "Invoices", "Ledger", "Reports", "Metrics", "Logs", "Traces", "DNS", "Proxy"),
    *("Cache", "Queue", "Storage", "Backups"),
)

CHECKOUT_SERVICE_ID = opaque_id("service", CHECKOUT_API)
PAYMENTS_SERVICE_ID = opaque_id("service", PAYMENTS_API)
DISABLED_SERVICE_ID = opaque_id("service", LEGACY_GATEWAY)
UNSTAFFED_SERVICE_ID = opaque_id("service", NIGHT_BATCH)
CHECKOUT_ROUTING_KEY = routing_key_of(CHECKOUT_API)
PAYMENTS_ROUTING_KEY = routing_key_of(PAYMENTS_API)
DISABLED_ROUTING_KEY = routing_key_of(LEGACY_GATEWAY)

# The order is the order of severity ("Incident Priority" support page: five levels, most severe first).
PRIORITY_IDS = {name: opaque_id("priority", name) for name in ("P1", "P2", "P3", "P4", "P5")}

# What the plan includes ("Abilities" API page); anything else answers 402.
ABILITIES = (
    "teams",
    "urgencies",
    "read_only_users",
    "service_support_hours",
    "coordinated_responding",
    "manage_api_keys",
    "sso",
)


def api_keys() -> list[Key]:
    return [Key(FULL_KEY), Key(READ_ONLY_KEY, read_only=True), Key(USER_TOKEN, user_id=ADA_ID)]


def teams() -> list[Team]:
    return [Team(ENGINEERING_ID, "Engineering"), Team(PAYMENTS_TEAM_ID, "Payments")]


def users() -> list[User]:
    named = [
        ("PagerDuty Sync", BOT_EMAIL, "limited_user"),
        ("Ada Responder", ADA_EMAIL, "limited_user"),
        ("Bo Manager", BO_EMAIL, "user"),
        ("Sam Stakeholder", STAKEHOLDER_EMAIL, "read_only_user"),
        ("Rae Restricted", RESTRICTED_EMAIL, "restricted_access"),
    ]
    crew = [(f"{name} Responder", f"{name.lower()}@acme.example", "limited_user") for name in _FIRST_NAMES]
    return [User(opaque_id("user", email), name, email, role, (ENGINEERING_ID,)) for name, email, role in named + crew]


def priorities() -> list[Priority]:
    words = ("Critical, all customers", "Critical, many customers", "Needs action now", "Needs action soon", "Cosmetic")
    return [Priority(id_, name, text) for (name, id_), text in zip(PRIORITY_IDS.items(), words, strict=True)]


def policies() -> list[Policy]:
    return [
        Policy(DEFAULT_POLICY_ID, "Default", ((ADA_ID,), (BO_ID,)), (ENGINEERING_ID,)),
        Policy(PAYMENTS_POLICY_ID, "Payments on-call", ((BO_ID,), (ADA_ID,)), (PAYMENTS_TEAM_ID,)),
        Policy(NOBODY_POLICY_ID, "Nobody on call", ((),)),
    ]


def services() -> list[Service]:
    made = []
    for name in _SERVICE_NAMES:
        is_payments = name == PAYMENTS_API
        policy = PAYMENTS_POLICY_ID if is_payments else NOBODY_POLICY_ID if name == NIGHT_BATCH else DEFAULT_POLICY_ID
        made.append(
            Service(
                id=opaque_id("service", name),
                name=name,
                policy_id=policy,
                team_ids=(PAYMENTS_TEAM_ID,) if is_payments else (ENGINEERING_ID,),
                integration_id=opaque_id("integration", name),
                routing_key=routing_key_of(name),
                # "Services" API page: 1800 s and 14400 s unless switched off. Off elsewhere: a demo keeps still.
                acknowledgement_timeout=1800 if is_payments else None,
                auto_resolve_timeout=14400 if is_payments else None,
                disabled=name == LEGACY_GATEWAY,
            )
        )
    return made
