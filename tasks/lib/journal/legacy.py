"""Support for journals of version 2: the migration of the file, and the wording in its keys.

A key of version 2 was a hash of facts that included the wording of the prompts. That wording has
changed since, so `former_texts` keeps the old wording.
"""

import tomllib
from functools import cache
from pathlib import Path

FORMER_VERSION = 2
MARK = "migrated"  # a table that only a migrated journal has

MIGRATION = (
    "ALTER TABLE answers RENAME COLUMN picks TO parsed",
    "ALTER TABLE answers RENAME COLUMN is_bound TO is_upper_bound",
    "ALTER TABLE answers RENAME COLUMN left_out TO dropped_params",
    "ALTER TABLE calls RENAME COLUMN is_bound TO is_upper_bound",
    "UPDATE calls SET outcome = 'retry ' || substr(outcome, length('forgiven ') + 1) "
    "WHERE outcome LIKE 'forgiven %'",
    f"CREATE TABLE {MARK} (from_version INTEGER NOT NULL) STRICT",
    f"INSERT INTO {MARK} VALUES ({FORMER_VERSION})",
)
"""From version 2 to version 3. Answers keep their old keys; see `Journal.adopt`."""


@cache
def former_texts() -> dict[str, str]:
    """Return the old texts, keyed by the names of the files that contained them."""
    path = Path(__file__).parent / "former_texts.toml"
    texts: dict[str, str] = tomllib.loads(path.read_text(encoding="utf-8"))
    return texts
