"""Everything that knows the wire shapes of Coralogix's Cases API."""
