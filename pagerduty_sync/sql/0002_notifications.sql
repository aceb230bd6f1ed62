-- The one-way path by service key: what is still to be sent through the Events API, and what Coralogix pushed to us.

-- Where a service-key connector sends to, and, beside or in place of its key, the template that yields one per event.
ALTER TABLE connectors
    ADD COLUMN events_url text NOT NULL DEFAULT 'https://events.pagerduty.com',
    ADD COLUMN routing_key_template text,
    DROP CONSTRAINT connectors_check,
    ADD CONSTRAINT connectors_path_has_its_parts CHECK (
        (path = 'bidirectional' AND integration_id IS NOT NULL AND service_id IS NOT NULL
            AND routing_key_encrypted IS NULL AND routing_key_template IS NULL)
        OR (path = 'service_key' AND integration_id IS NULL
            AND (routing_key_encrypted IS NOT NULL OR routing_key_template IS NOT NULL)));

-- Each path marks a change of a Case for itself, so that neither can take one from the other.
ALTER TABLE case_events ADD COLUMN notified_at timestamptz;
UPDATE case_events SET notified_at = handled_at WHERE handled_at IS NOT NULL;
-- Serves: the sweep and the look at one Case: what the one-way path has not seen yet.
CREATE INDEX case_events_unnotified ON case_events (case_id, id) WHERE notified_at IS NULL;

-- What Coralogix's Generic HTTPS connector sent, as its bytes. A repeat is a row of its own; handling it has no effect.
CREATE TABLE pushes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity      text NOT NULL CHECK (entity IN ('cases', 'alerts')),
    source_id   text NOT NULL CHECK (source_id <> ''),
    body        bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    state       text NOT NULL DEFAULT 'received' CHECK (state IN ('received', 'done')),
    reason      text NOT NULL DEFAULT '',
    handled_at  timestamptz
);
-- Serves: the sweep: rows whose nudge was lost; and one alert's pushes in order of arrival.
CREATE INDEX pushes_received ON pushes (entity, source_id, id) WHERE state = 'received';
-- Serves: retention.
CREATE INDEX pushes_by_time ON pushes (received_at) WHERE state = 'done';

-- One event for one connector. Those with one dedup key are sent one after the other, in the order of their ids.
CREATE TABLE notifications (
    id                    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- No foreign key: a connector may be deleted, and what then still waits ends with a reason instead of vanishing.
    connector_id          uuid NOT NULL,
    entity                text NOT NULL CHECK (entity IN ('cases', 'alerts')),
    -- The Case's id, or the alert's in Coralogix; and how people call it.
    source_id             text NOT NULL,
    source_name           text NOT NULL DEFAULT '',
    dedup_key             text NOT NULL CHECK (length(dedup_key) BETWEEN 1 AND 255),
    -- Names the change it tells of: the same change gives the same name, however often it is looked at.
    change_id             text NOT NULL,
    event_action          text NOT NULL CHECK (event_action IN ('trigger', 'acknowledge', 'resolve')),
    -- What goes into the event beside key and action; empty but for a trigger.
    payload               jsonb NOT NULL DEFAULT '{}',
    -- Which template failed, so that the plain text stands in its place.
    problem               text NOT NULL DEFAULT '',
    -- The key a template gave; null stands for the connector's own, read when it is used.
    routing_key_encrypted text,
    -- When it happened, by the sender's clock, where the sender said so.
    occurred_at           timestamptz,
    cause                 text NOT NULL DEFAULT '',
    created_at            timestamptz NOT NULL DEFAULT now(),
    state                 text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'failed', 'dropped')),
    reason                text NOT NULL DEFAULT '',
    ended_at              timestamptz,
    due_at                timestamptz NOT NULL DEFAULT now(),
    -- Failed calls so far and since when.
    attempts              integer NOT NULL DEFAULT 0,
    failing_since         timestamptz,
    lease_token           uuid,
    lease_until           timestamptz,
    CHECK ((state = 'waiting') = (ended_at IS NULL)),
    CHECK ((lease_token IS NULL) = (lease_until IS NULL))
);
-- One change is told once to each connector; also serves: what was told under one dedup key so far.
CREATE UNIQUE INDEX notifications_once_per_change ON notifications (connector_id, dedup_key, change_id);
-- Serves: the claim: is an earlier one of the same key still waiting, and which comes next.
CREATE INDEX notifications_waiting ON notifications (connector_id, dedup_key, id) WHERE state = 'waiting';
-- Serves: the sweep: what is due.
CREATE INDEX notifications_due ON notifications (due_at) WHERE state = 'waiting';
-- Serves: whom a Case or an alert was told to.
CREATE INDEX notifications_of_source ON notifications (entity, source_id, id);
-- Serves: retention: histories that are over.
CREATE INDEX notifications_resolved ON notifications (ended_at) WHERE event_action = 'resolve' AND state <> 'waiting';
