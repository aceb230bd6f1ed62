-- Asking for one attempt by its number, for one Case's whole story, and for what is in quarantine.

-- Serves: a replay of one attempt, which names it by its number.
CREATE INDEX deliveries_by_number ON notification_deliveries (id);
-- Serves: explain: every change of one Case, handled or not.
CREATE INDEX case_events_of_case ON case_events (case_id, id);
-- Serves: the list of what was authentic and not understood.
CREATE INDEX inbox_quarantined ON inbox (id) WHERE state = 'quarantined';
