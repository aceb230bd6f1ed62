"""Everything that knows SQL. Stores know neither PagerDuty's wire nor each other's callers."""
