"""Everything that knows PagerDuty's wire: signatures, webhook bodies, the REST client and its budget."""
