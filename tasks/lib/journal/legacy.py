"""Support older journals: migrate the file, and keep the wording that version 2 keys include.

A version 2 key was a hash of facts that included the wording of the prompts. That wording has
changed since, so `former_texts` keeps the old wording.
"""

import tomllib
from functools import cache
from pathlib import Path

MARK = "migrated"  # a table that exists only in a journal migrated from version 2

_FROM_2 = (
    "ALTER TABLE answers RENAME COLUMN picks TO parsed",
    "ALTER TABLE answers RENAME COLUMN is_bound TO is_upper_bound",
    "ALTER TABLE answers RENAME COLUMN left_out TO dropped_params",
    "ALTER TABLE calls RENAME COLUMN is_bound TO is_upper_bound",
    "UPDATE calls SET outcome = 'retry ' || substr(outcome, length('forgiven ') + 1) "
    "WHERE outcome LIKE 'forgiven %'",
    f"CREATE TABLE {MARK} (from_version INTEGER NOT NULL) STRICT",
    f"INSERT INTO {MARK} VALUES (2)",
)
"""From version 2 to version 3. Answers keep their old keys; see `Journal.adopt`."""
_FROM_3 = (
    *(
        f"ALTER TABLE {table} ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0"
        for table in ("answers", "calls")
        for name in ("reasoning_tokens", "cached_tokens")
    ),
    "ALTER TABLE calls ADD COLUMN remark TEXT NOT NULL DEFAULT ''",
)
MIGRATIONS = {2: _FROM_2, 3: _FROM_3}
"""The statements that migrate each version to the next."""


@cache
def former_texts() -> dict[str, str]:
    """Return the old texts, keyed by the names of the files that contained them."""
    path = Path(__file__).parent / "former_texts.toml"
    texts: dict[str, str] = tomllib.loads(path.read_text(encoding="utf-8"))
    return texts
