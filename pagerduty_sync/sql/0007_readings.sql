-- Reading by the clock goes on where it had to stop for want of budget.
ALTER TABLE integrations
    ADD COLUMN comparing_since  timestamptz,
    ADD COLUMN comparing_offset integer,
    ADD COLUMN log_reading      jsonb;

-- When a comparison last found the incident on one of PagerDuty's pages; what it did not find is read.
ALTER TABLE links ADD COLUMN listed_at timestamptz;
