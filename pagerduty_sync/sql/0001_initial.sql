-- The whole first schema. State rules and uniqueness are constraints here first and checks in Python second.
-- Text columns never hold a secret in clear: columns named *_encrypted hold Fernet tokens.

-- ---------------------------------------------------------------- configuration

CREATE TABLE integrations (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name              text NOT NULL UNIQUE CHECK (name <> ''),
    base_url          text NOT NULL,
    api_key_encrypted text NOT NULL,
    api_key_last4     text NOT NULL,
    key_kind          text NOT NULL CHECK (key_kind IN ('account', 'user')),
    user_email        text NOT NULL,
    user_id           text NOT NULL,
    is_two_way        boolean NOT NULL DEFAULT false,
    consented_at      timestamptz NOT NULL,
    status            text NOT NULL CHECK (status IN ('connecting', 'connected', 'degraded', 'disconnected')),
    status_reason     text NOT NULL DEFAULT '',
    status_at         timestamptz NOT NULL DEFAULT now(),
    -- [{"id": "...", "name": "P1"}, ...] most severe first, as the account listed them when last asked.
    priorities        jsonb NOT NULL DEFAULT '[]',
    -- Until when the account's log has been read for notes, in PagerDuty's clock, and the last lines before that: a line
    -- may be written a moment late, and none shall count twice.
    log_read_until    timestamptz,
    log_lines_read    text[] NOT NULL DEFAULT '{}',
    created_at        timestamptz NOT NULL DEFAULT now(),
    -- At most one PagerDuty integration per account.
    is_only           boolean NOT NULL DEFAULT true UNIQUE CHECK (is_only)
);

CREATE TABLE webhook_subscriptions (
    id               text PRIMARY KEY,
    integration_id   uuid NOT NULL REFERENCES integrations ON DELETE CASCADE,
    secret_encrypted text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    pinged_at        timestamptz
);
-- Serves: the live secrets of one integration, for every webhook.
CREATE INDEX webhook_subscriptions_of_integration ON webhook_subscriptions (integration_id);

CREATE TABLE connectors (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name           text NOT NULL UNIQUE CHECK (name <> ''),
    path           text NOT NULL CHECK (path IN ('bidirectional', 'service_key')),
    integration_id uuid REFERENCES integrations,
    service_id     text,
    service_name   text NOT NULL DEFAULT '',
    routing_key_encrypted text,
    routing_key_last4     text,
    -- {"status": "both", "priority": "both", "comments": "both", "resolution_notes": "both"}
    directions     jsonb NOT NULL DEFAULT '{}',
    -- {"P1": "<priority id>", ...}
    priority_map   jsonb NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL DEFAULT now(),
    CHECK ((path = 'bidirectional' AND integration_id IS NOT NULL AND service_id IS NOT NULL AND routing_key_encrypted IS NULL)
        OR (path = 'service_key' AND integration_id IS NULL AND routing_key_encrypted IS NOT NULL))
);

CREATE TABLE presets (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name       text NOT NULL UNIQUE CHECK (name <> ''),
    path       text NOT NULL CHECK (path IN ('bidirectional', 'service_key')),
    entity     text NOT NULL CHECK (entity IN ('cases', 'alerts')),
    is_builtin boolean NOT NULL DEFAULT false,
    -- Templates by field: title, details, urgency for incidents; summary, severity, source … for events.
    templates  jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE routing_rules (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name       text NOT NULL UNIQUE CHECK (name <> ''),
    source     text NOT NULL CHECK (source IN ('cases', 'alerts')),
    condition  text NOT NULL DEFAULT 'true',
    is_enabled boolean NOT NULL DEFAULT true,
    -- A fallback rule fires only when no other rule of its source did.
    is_fallback boolean NOT NULL DEFAULT false,
    -- Rules are looked at in this order; the order matters only for which of two matches opens the incident.
    position   bigint GENERATED ALWAYS AS IDENTITY,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE rule_destinations (
    rule_id      uuid NOT NULL REFERENCES routing_rules ON DELETE CASCADE,
    connector_id uuid NOT NULL REFERENCES connectors,
    preset_id    uuid NOT NULL REFERENCES presets,
    PRIMARY KEY (rule_id, connector_id)
);

CREATE TABLE api_tokens (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name         text NOT NULL CHECK (name <> ''),
    prefix       text NOT NULL,
    token_sha256 bytea NOT NULL UNIQUE,
    permissions  text[] NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

CREATE TABLE audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    who        text NOT NULL,
    action     text NOT NULL,
    subject    text NOT NULL,
    before     jsonb,
    after      jsonb
);

-- ---------------------------------------------------------------- built-in Cases

CREATE SEQUENCE case_numbers;

CREATE TABLE cases (
    id                   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    readable_id          text UNIQUE CHECK (readable_id ~ '^[A-Z]+-[0-9]+$'),
    title                text NOT NULL CHECK (length(title) BETWEEN 1 AND 512),
    description          text NOT NULL DEFAULT '',
    status               text NOT NULL CHECK (status IN ('PENDING_ACTIVATION', 'ACTIVE', 'ACKNOWLEDGED', 'RESOLVED', 'CLOSED')),
    system_priority      text NOT NULL CHECK (system_priority IN ('P1', 'P2', 'P3', 'P4', 'P5')),
    override_priority    text CHECK (override_priority IN ('P1', 'P2', 'P3', 'P4', 'P5')),
    category             text NOT NULL CHECK (category IN ('AVAILABILITY', 'SECURITY')),
    -- {"team": ["payments"]}: a key may carry several values.
    labels               jsonb NOT NULL DEFAULT '{}',
    groupings            jsonb NOT NULL DEFAULT '{}',
    assignee_user_id     text,
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now(),
    status_changed_at    timestamptz NOT NULL DEFAULT now(),
    priority_changed_at  timestamptz NOT NULL DEFAULT now(),
    acknowledged_at      timestamptz,
    resolved_at          timestamptz,
    resolved_by          jsonb,
    resolution_reason    text CHECK (length(resolution_reason) <= 4096),
    resolution_changed_at timestamptz,
    -- Who last changed the status or the resolution reason.
    changed_by           jsonb NOT NULL DEFAULT '{"kind": "system", "name": "system"}',
    CHECK ((status IN ('RESOLVED', 'CLOSED')) OR resolved_at IS NULL),
    CHECK (status <> 'PENDING_ACTIVATION' OR readable_id IS NULL)
);
-- Serves: list, newest first (the API's default order).
CREATE INDEX cases_by_creation ON cases (created_at DESC, id DESC);
-- Serves: list ordered by update.
CREATE INDEX cases_by_update ON cases (updated_at DESC, id DESC);

CREATE TABLE case_timeline (
    event_id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    case_id    uuid NOT NULL REFERENCES cases ON DELETE CASCADE,
    sequence   bigint GENERATED ALWAYS AS IDENTITY,
    kind       text NOT NULL,
    actor      jsonb NOT NULL,
    content    jsonb NOT NULL,
    -- Set on comments placed for a note: makes placing them repeatable.
    reference  text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz,
    UNIQUE (case_id, reference)
);
-- Serves: one Case's timeline in order.
CREATE INDEX case_timeline_of_case ON case_timeline (case_id, sequence);

-- One row per change of a Case, written with it: what the sync has still to look at.
CREATE TABLE case_events (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_id     uuid NOT NULL,
    kind        text NOT NULL,
    actor       jsonb NOT NULL,
    timeline_event_id uuid,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    handled_at  timestamptz
);
-- Serves: the sweep and the sync of one Case: what is not handled yet.
CREATE INDEX case_events_waiting ON case_events (case_id, id) WHERE handled_at IS NULL;

-- ---------------------------------------------------------------- links

CREATE TABLE links (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    case_id         uuid NOT NULL,
    case_name       text NOT NULL,
    connector_id    uuid NOT NULL REFERENCES connectors,
    integration_id  uuid NOT NULL REFERENCES integrations,
    preset_id       uuid REFERENCES presets,
    service_id      text NOT NULL,
    incident_key    text NOT NULL CHECK (incident_key <> ''),
    incident_id     text,
    incident_number bigint,
    incident_url    text NOT NULL DEFAULT '',
    state           text NOT NULL CHECK (state IN ('opening', 'linked', 'ended')),
    ended_reason    text NOT NULL DEFAULT '',
    -- Per field: the incident as last seen and the pair both sides last agreed on; and what is in doubt (domain/links.py).
    pictures        jsonb NOT NULL,
    -- What PagerDuty or the Case system finally refused, with its words and the way back to another try.
    parked          jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    -- Something new is known: the link wants a look since then.
    dirty_at        timestamptz DEFAULT now(),
    -- A call to PagerDuty is due, of this class (0 open/acknowledge/resolve, 1 priority, 2 notes, 3 reads).
    due_at          timestamptz,
    due_class       smallint,
    -- Failed calls in a row and since when.
    attempts        integer NOT NULL DEFAULT 0,
    failing_since   timestamptz,
    lease_token     uuid,
    lease_until     timestamptz,
    CHECK (state <> 'linked' OR incident_id IS NOT NULL),
    CHECK ((due_at IS NULL) = (due_class IS NULL))
);
-- One Case, one incident, both ways. An ended link frees neither: a merged Case does not open a second incident.
CREATE UNIQUE INDEX links_one_per_case ON links (case_id);
CREATE UNIQUE INDEX links_one_per_incident ON links (integration_id, incident_id) WHERE incident_id IS NOT NULL AND state <> 'ended';
-- Serves: a webhook of our own create that overtakes the reply.
CREATE INDEX links_by_key ON links (integration_id, incident_key) WHERE incident_id IS NULL;
-- Serves: the sweep: links that want a look.
CREATE INDEX links_dirty ON links (dirty_at) WHERE dirty_at IS NOT NULL;
-- Serves: the claim of due calls in order of class and time.
CREATE INDEX links_due ON links (integration_id, due_class, due_at) WHERE due_at IS NOT NULL;
-- Serves: the sweep: leases whose worker is gone.
CREATE INDEX links_leased ON links (lease_until) WHERE lease_token IS NOT NULL;
-- Serves: reconcile, page by page over open links.
CREATE INDEX links_open ON links (integration_id, id) WHERE state = 'linked';

-- One row per comment or note that stands, or shall stand, on both sides.
CREATE TABLE comment_ledger (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    sequence   bigint GENERATED ALWAYS AS IDENTITY,
    link_id    uuid NOT NULL REFERENCES links ON DELETE CASCADE,
    direction  text NOT NULL CHECK (direction IN ('inbound', 'outbound')),
    kind       text NOT NULL CHECK (kind IN ('comment', 'resolution_note', 'final_note', 'story')),
    -- Where it comes from: a note id, a timeline event id, or a key that names what it tells.
    source_id  text NOT NULL,
    author     jsonb NOT NULL,
    text       text NOT NULL,
    -- intended: to be written. sending: a call may have been made. placed: stands as remote_id. dropped: will not be written.
    state      text NOT NULL CHECK (state IN ('intended', 'sending', 'placed', 'dropped')),
    remote_id  text,
    reason     text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    placed_at  timestamptz,
    UNIQUE (link_id, direction, source_id),
    CHECK (state <> 'placed' OR remote_id IS NOT NULL)
);
-- One note or comment is placed for one entry only.
CREATE UNIQUE INDEX comment_ledger_by_remote ON comment_ledger (link_id, direction, remote_id) WHERE remote_id IS NOT NULL;

-- ---------------------------------------------------------------- inbox and deliveries

-- Every authentic webhook, as its bytes, kept longer than PagerDuty's 48 hours of retries.
CREATE TABLE inbox (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    integration_id  uuid NOT NULL,
    webhook_id      text NOT NULL,
    event_id        text,
    subscription_id text NOT NULL DEFAULT '',
    signature       text NOT NULL,
    body            bytea NOT NULL,
    received_at     timestamptz NOT NULL DEFAULT now(),
    state           text NOT NULL DEFAULT 'received' CHECK (state IN ('received', 'waiting', 'done', 'quarantined')),
    -- Set by the verifying task: whose link it is about.
    link_id         uuid,
    reason          text NOT NULL DEFAULT '',
    handled_at      timestamptz
);
CREATE UNIQUE INDEX inbox_once_per_webhook ON inbox (integration_id, webhook_id);
CREATE UNIQUE INDEX inbox_once_per_event ON inbox (integration_id, event_id) WHERE event_id IS NOT NULL;
-- Serves: the sweep: rows whose nudge was lost.
CREATE INDEX inbox_received ON inbox (id) WHERE state = 'received';
-- Serves: the sync of one link: its events in order of arrival.
CREATE INDEX inbox_waiting ON inbox (link_id, id) WHERE state = 'waiting';
-- Serves: retention.
CREATE INDEX inbox_by_time ON inbox (received_at);

-- Every attempt in either direction, with its outcome and a named reason.
CREATE TABLE notification_deliveries (
    id             bigint GENERATED ALWAYS AS IDENTITY,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    direction      text NOT NULL CHECK (direction IN ('inbound', 'outbound')),
    operation      text NOT NULL,
    outcome        text NOT NULL CHECK (outcome IN ('sending', 'delivered', 'deferred', 'failed', 'ignored', 'rejected')),
    reason         text NOT NULL CHECK (reason <> ''),
    detail         text NOT NULL DEFAULT '',
    case_id        uuid,
    case_name      text NOT NULL DEFAULT '',
    incident_id    text NOT NULL DEFAULT '',
    link_id        uuid,
    connector_id   uuid,
    integration_id uuid,
    attempt        integer NOT NULL DEFAULT 1,
    http_status    integer,
    duration_ms    integer,
    request_id     text NOT NULL DEFAULT '',
    event_id       text NOT NULL DEFAULT '',
    -- What caused it: "inbox:<id>", "case_event:<id>", "delivery:<id>", "reconcile".
    cause          text NOT NULL DEFAULT '',
    -- Who did on one side what was tried on the other; empty where nobody is known.
    actor          text NOT NULL DEFAULT '',
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
CREATE TABLE notification_deliveries_default PARTITION OF notification_deliveries DEFAULT;
-- Serves: one Case's deliveries in order (the Case page, explain).
CREATE INDEX deliveries_of_case ON notification_deliveries (case_id, at DESC) WHERE case_id IS NOT NULL;
-- Serves: a Case's deliveries by its readable name, also when no Case or link knows that name any more.
CREATE INDEX deliveries_by_case_name ON notification_deliveries (case_name, at DESC) WHERE case_name <> '';
-- Serves: the log, newest first, by outcome.
CREATE INDEX deliveries_by_outcome ON notification_deliveries (outcome, at DESC);
-- Serves: counts of one reason (echoes, healed).
CREATE INDEX deliveries_by_reason ON notification_deliveries (reason, at DESC);
-- Serves: the log of one incident.
CREATE INDEX deliveries_of_incident ON notification_deliveries (incident_id, at DESC) WHERE incident_id <> '';

-- Each scheduled job claims its run here, so that two beats do no harm.
CREATE TABLE job_runs (
    job        text PRIMARY KEY,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    outcome    text NOT NULL DEFAULT ''
);

-- The parts that must be alive say so here.
CREATE TABLE heartbeats (
    part text PRIMARY KEY,
    at   timestamptz NOT NULL
);
