-- The log grows at the end of its indexes: rows of a Case with a link are found by the link, whose id is of our making and
-- in order of time. An index in no order takes each row at another place, which costs more the fuller the log is.

-- A UUID of version 7 (RFC 9562, 5.7): milliseconds first, random bits after.
CREATE FUNCTION time_ordered_uuid() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(
                uuid_send(gen_random_uuid())
                PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;
ALTER TABLE links ALTER COLUMN id SET DEFAULT time_ordered_uuid();

DROP INDEX deliveries_of_case;
-- Serves: one Case's deliveries in order (the Case page, explain), as far as the Case had its link by then, and one link's.
CREATE INDEX deliveries_of_link ON notification_deliveries (link_id, at DESC) WHERE link_id IS NOT NULL;
-- Serves: the rest of one Case's deliveries.
CREATE INDEX deliveries_of_case ON notification_deliveries (case_id, at DESC) WHERE case_id IS NOT NULL AND link_id IS NULL;
