"""The pure part: what a Case, an incident and a link are, and what should happen to them."""
