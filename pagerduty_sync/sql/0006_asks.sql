-- Reads asked for by the clock, to be taken up by the next claim: a worker that holds the link meanwhile records over
-- its pictures, not over this.
ALTER TABLE links ADD COLUMN asks jsonb NOT NULL DEFAULT '{}';
