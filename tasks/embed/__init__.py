"""The step embed: turn each record into a unit vector."""
