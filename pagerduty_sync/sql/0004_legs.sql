-- How each leg of the sync is: in at most three rows, written by the clock and read by whoever asks.

CREATE TABLE legs (
    leg       text PRIMARY KEY CHECK (leg IN ('inbound', 'outbound', 'case_system')),
    state     text NOT NULL CHECK (state IN ('working', 'degraded', 'stopped', 'off')),
    why       text NOT NULL,
    -- Moves only when the state changes.
    since     timestamptz NOT NULL,
    looked_at timestamptz NOT NULL
);

-- When PagerDuty last showed us the subscription as it should be, and when its log was last read to the end; our clock.
ALTER TABLE integrations ADD COLUMN subscription_right_at timestamptz, ADD COLUMN log_read_at timestamptz;

-- Serves: the look at the outbound leg: since when calls fail, and on how many links.
CREATE INDEX links_failing ON links (failing_since) WHERE failing_since IS NOT NULL AND due_at IS NOT NULL;
