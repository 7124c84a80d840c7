"""The embed step, which turns each record into a unit vector."""
