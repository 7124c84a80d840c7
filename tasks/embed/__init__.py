"""The embed step: turn each record into a unit vector."""
