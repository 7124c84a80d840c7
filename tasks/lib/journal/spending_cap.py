"""What a selection has spent in all runs together, and the cap that it never exceeds."""

from tasks.lib.journal.database import Database


class SpendingCap:
    """The spending of one selection; each method runs in the transaction of the given database.

    Args:
        selection: The name under which spending is capped.
        cap_usd: The maximum.
    """

    def __init__(self, selection: str, cap_usd: float) -> None:
        self._selection, self._cap_usd = selection, cap_usd

    def spent_usd(self, db: Database) -> float:
        """Return the cost of the calls so far; an open call counts at its upper bound."""
        query = "SELECT usd FROM spending WHERE selection = ?"
        row = db.execute(query, (self._selection,)).fetchone()
        return float(row[0]) if row else 0.0

    def reserve(self, db: Database, usd: float) -> bool:
        """Reserve a call's upper bound and return True; return False if it would exceed the cap."""
        query = "INSERT INTO spending VALUES (?, 0) ON CONFLICT DO NOTHING"
        db.execute(query, (self._selection,))
        done = db.execute(
            "UPDATE spending SET usd = usd + ? WHERE selection = ? AND usd + ? <= ?",
            (usd, self._selection, usd, self._cap_usd),
        )
        return int(done.rowcount) == 1

    def settle(self, db: Database, call_id: int, usd: float) -> None:
        """Replace what was reserved for a call, of this selection or another, with its cost."""
        db.execute(
            "UPDATE spending SET usd = spending.usd + ? - calls.usd FROM calls "
            "WHERE calls.id = ? AND calls.selection = spending.selection",
            (usd, call_id),
        )

    def carry_over(self, db: Database, former_selection: str) -> None:
        """Start from the amount that the selection had spent under its old name."""
        query = (
            "INSERT INTO spending SELECT ?, usd FROM spending WHERE selection = ? "
            "ON CONFLICT DO NOTHING"
        )
        db.execute(query, (self._selection, former_selection))
