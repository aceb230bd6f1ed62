"""A stand-in for PagerDuty: an independent reading of its documentation, for tests and operators."""
