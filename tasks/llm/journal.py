"""The durable store of answers: what was asked once is not asked, and not paid for, again.

It lies outside every output of the graph, since DVC deletes those before a step runs.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from tasks.core.errors import DataError

APPLICATION_ID = int.from_bytes(b"SLLM", "big")
VERSION = 1
BUSY_TIMEOUT_S = 30  # another workspace's run may be writing

_TABLES = """
CREATE TABLE answers (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    text TEXT NOT NULL,
    picks TEXT NOT NULL,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    usd REAL,
    finish_reason TEXT NOT NULL,
    duration_s REAL NOT NULL,
    created TEXT NOT NULL
) STRICT;
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    usd REAL,
    duration_s REAL NOT NULL,
    created TEXT NOT NULL
) STRICT;
CREATE INDEX attempts_by_key ON attempts (key);
"""


class Answer(NamedTuple):
    """A validated answer, as it was bought. Tokens and price are None where not known."""

    model: str  # as the provider names it
    text: str
    picks: tuple[int, ...]  # slots, the best first
    prompt_tokens: int | None
    completion_tokens: int | None
    usd: float | None
    finish_reason: str
    duration_s: float


class Attempt(NamedTuple):
    """A call that brought no answer: what went wrong, and what it used all the same."""

    kind: str
    message: str
    prompt_tokens: int | None
    completion_tokens: int | None
    usd: float | None
    duration_s: float


def answer_key(**facts: Any) -> str:
    """The key of the answer to a question: 64 hex digits of all that changes the answer."""
    canonical = json.dumps(facts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return sha256(canonical.encode()).hexdigest()


class Journal:
    """The journal at a path. Every write is on disk when its call returns.

    A file that is there is never made anew: one that was emptied, damaged or written by something
    else is an error, for it may be the only trace of answers that were paid for.

    Raises:
        DataError: The file is no journal, is damaged, or cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                if not path.exists():
                    _create(path)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
            try:
                self._check()
                self._db.execute("PRAGMA synchronous = FULL")
            except BaseException:
                self._db.close()
                raise

    def answer(self, key: str) -> Answer | None:
        """The answer under `key`, if there is one."""
        with _told(self.path):
            row = self._db.execute(
                f"SELECT {', '.join(Answer._fields)} FROM answers WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        answer = Answer(*row)
        return answer._replace(picks=tuple(json.loads(row[2])))

    def add_answer(self, key: str, answer: Answer) -> Answer:
        """Keep an answer; give back the one that stands under `key`, which is the first."""
        values = answer._replace(picks=json.dumps(answer.picks))  # type: ignore[arg-type]
        self._insert("INSERT OR IGNORE INTO answers", ("key", *Answer._fields), (key, *values))
        return self.answer(key) or answer

    def add_attempt(self, key: str, attempt: Attempt) -> None:
        """Book a call that brought no answer."""
        self._insert("INSERT INTO attempts", ("key", *Attempt._fields), (key, *attempt))

    def n_attempts(self, key: str, kinds: Sequence[str]) -> int:
        """How many calls of these kinds were booked under `key`, in this run or an earlier one."""
        marks = ", ".join("?" * len(kinds))
        with _told(self.path):
            (n,) = self._db.execute(
                f"SELECT count(*) FROM attempts WHERE key = ? AND kind IN ({marks})", (key, *kinds)
            ).fetchone()
        return int(n)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _insert(self, verb: str, names: Sequence[str], values: Sequence[Any]) -> None:
        names, values = (*names, "created"), (*values, datetime.now(UTC).isoformat())
        marks = ", ".join("?" * len(names))
        with _told(self.path):
            self._db.execute(f"{verb} ({', '.join(names)}) VALUES ({marks})", values)

    def _check(self) -> None:
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise _damaged(self.path, "it is empty, or something else wrote it")
        if version != VERSION:
            raise DataError(
                f"the journal has version {version}, this SelectLLM reads {VERSION}",
                where=str(self.path),
                fix="Use the SelectLLM that wrote it, or move the file away to start a new one.",
            )


def _create(path: Path) -> None:
    """Make a new journal, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(part, isolation_level=None)) as db:
        db.executescript(_TABLES)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("PRAGMA journal_mode = WAL")
    part.replace(path)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what SQLite says into an error that names the file and what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:  # locked, full, read-only
        raise DataError(
            f"the journal cannot be used: {error}",
            where=str(path),
            fix="See that the disk has room and the file may be written, then run this again.",
        ) from None
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from None


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"this is no journal of SelectLLM's, or a damaged one: {reason}",
        where=str(path),
        fix="Restore it from a copy, or move it away to start a new one; the answers in it would "
        "then be bought again.",
    )
