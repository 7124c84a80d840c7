"""Where the journal is: a file on this machine, or a PostgreSQL database that machines share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.core.stage import JOURNAL
from tasks.lib.journal.live_runs import BATCHES

KEY = "llm_select.journal"
PASSWORD = "SELECTLLM_JOURNAL_PASSWORD"

_URL = re.compile(r"postgresql(\+psycopg)?://(?P<login>[^/?#]*@)?(?P<rest>.+)")


@dataclass(frozen=True)
class SharedJournal:
    """A journal in a database.

    Attributes:
        url: The URL of the database, without a password.
        folder: The folder in which this machine's own journal would be.
    """

    url: str
    folder: Path

    def __str__(self) -> str:
        return self.url


Place = Path | SharedJournal


def journal_place(state: Path, values: Mapping[str, Any]) -> Place:
    """Return where the journal is, given the state folder and the contents of params.yaml.

    Raises:
        ParamError: ``llm_select.journal`` is not the URL of a PostgreSQL database or contains a
            password, or batches are enabled, although their state is stored on one machine.
        DataError: This machine's own journal has an unfinished batch, which is already paid for.
    """
    section: Mapping[str, Any] = values.get("llm_select") or {}
    url = section.get("journal")
    if url is None:
        return state / JOURNAL
    where = f"{PARAMS_FILE}: {KEY}"
    match = _URL.fullmatch(url) if isinstance(url, str) else None
    if not match:
        raise ParamError(
            "expected the URL of a PostgreSQL database, or null for a file on this machine",
            where=where,
            fix="Write it like postgresql+psycopg://USER@HOST:5432/DATABASE.",
        )
    if ":" in (match["login"] or "") or "password=" in match["rest"]:
        raise ParamError(
            "the URL contains a password, which would be stored in Git",
            where=where,
            fix=f"Remove it from the URL, and set {PASSWORD} in the environment.",
        )
    if section.get("batch"):
        raise ParamError(
            "batches need a journal on this machine, but llm_select.journal is a database",
            where=where,
            fix="Set llm_select.batch: false or llm_select.journal: null.",
        )
    if any((state / BATCHES).glob("*.json")):
        raise DataError(
            "a batch that was sent with this machine's own journal is unfinished",
            where=str(state / BATCHES),
            fix="Run this with llm_select.journal: null first, which fetches what was paid for.",
        )
    return SharedJournal(f"postgresql://{match['login'] or ''}{match['rest']}", state)
