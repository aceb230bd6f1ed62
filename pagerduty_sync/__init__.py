"""Two-way sync between Cases and PagerDuty incidents."""
