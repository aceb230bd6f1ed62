-- What a question in DataPrime may read, and where the bodies of old webhooks went.

-- One row a delivery, with the names and times that stand elsewhere, and nothing of those tables beside them. Whoever may
-- read this view may read no other table for that; each join finds at most one row, and is left out where nobody asks.
CREATE VIEW delivery_record AS
SELECT
    d.*,
    c.name AS connector_name,
    c.path AS connector_path,
    n.name AS integration_name,
    p.id AS preset_id,
    p.name AS preset_name,
    k.labels AS case_labels,
    -- When the Case changed, or the webhook arrived; null once those are pruned.
    coalesce(e.occurred_at, i.received_at) AS caused_at
FROM notification_deliveries d
LEFT JOIN connectors c ON c.id = d.connector_id
LEFT JOIN integrations n ON n.id = d.integration_id
LEFT JOIN links l ON l.id = d.link_id
LEFT JOIN presets p ON p.id = l.preset_id
LEFT JOIN cases k ON k.id = d.case_id
LEFT JOIN case_events e
    ON e.id = CASE WHEN d.cause ~ '^case_event:[0-9]{1,18}$' THEN substr(d.cause, 12)::bigint END
LEFT JOIN inbox i ON i.id = CASE WHEN d.cause ~ '^inbox:[0-9]{1,18}$' THEN substr(d.cause, 7)::bigint END;

-- The file a webhook's body was moved to; the body is empty then.
ALTER TABLE inbox ADD COLUMN archive text NOT NULL DEFAULT '', ADD CHECK (archive = '' OR body = '');

-- Serves: the link of an incident, ended ones included: every webhook, and explain. With `links_by_key` for the rest.
CREATE INDEX links_by_incident ON links (integration_id, incident_id) WHERE incident_id IS NOT NULL;
-- Serves: a Case's deliveries by its name, when no Case here has that name.
CREATE INDEX links_by_case_name ON links (case_name);
-- The log by outcome and by reason, newest first, as before; and by both, where the index itself tells which rows to pass.
DROP INDEX deliveries_by_outcome, deliveries_by_reason;
CREATE INDEX deliveries_by_outcome ON notification_deliveries (outcome, at DESC, reason);
CREATE INDEX deliveries_by_reason ON notification_deliveries (reason, at DESC, outcome);
