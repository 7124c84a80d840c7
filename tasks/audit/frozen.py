"""A journal that is only read, and not trusted."""

from pathlib import Path

from tasks.lib.core.errors import DataError
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import FORGIVEN, Answer, Tried
from tasks.lib.journal.schema import connect, told
from tasks.llm_select.picks import parse_picks

_ANY_SLOT = 10**9


class Frozen(Journal):
    """The journal at a path for who buys nothing and has to be sure of what was bought.

    Raises:
        DataError: There is no journal, or it cannot be used.
    """

    may_buy = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = connect(path, may_create=False)

    def answer(self, key: str) -> Answer | None:
        """The answer under `key`, if there is one, whose picks are what its text says.

        Raises:
            DataError: The answer was changed.
        """
        names = ", ".join(("key", *Answer._fields))
        query = f"SELECT {names} FROM answers WHERE rowid = (SELECT rowid FROM answers WHERE key=?)"
        with told(self.path):  # by row id, or the key would be read from the index alone
            row = self._db.execute(query, (key,)).fetchone()
        if row is None:
            return None
        try:
            answer = Answer.of_row(row[1:])
        except (ValueError, TypeError):
            raise self._changed(key) from None
        if [key, *answer.as_row()] != list(row) or list(answer.picks) != _picks(answer):
            raise self._changed(key)
        return answer

    def tried(self, key: str) -> list[Tried]:
        """The calls that failed; forgiven since or not, they are why a prompt was then parted."""
        tried = super().tried(key)
        return [one._replace(outcome=one.outcome.removeprefix(FORGIVEN)) for one in tried]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _changed(self, key: str) -> DataError:
        return DataError(
            f"answer {key} was changed", where=str(self.path), fix="Restore it from a copy."
        )


def _picks(answer: Answer) -> object:
    return parse_picks(answer.text, _ANY_SLOT, len(answer.picks))
