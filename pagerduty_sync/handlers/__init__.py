"""Use cases: the order of steps lives here, the decisions live in the domain."""
