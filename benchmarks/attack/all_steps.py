"""Run every step in one process, with made-up vectors; exit as the first failing step would."""

import sys
from importlib import import_module
from pathlib import Path

from benchmarks.attack.shown import STEPS, embed
from tasks.lib.core.errors import CurationError
from tasks.lib.core.stage import Stage


def main() -> int:
    """Run the steps in the current folder."""
    for name in ("fetch", "ingest", *STEPS):
        if name == "embed":
            embed(Path.cwd())
            continue
        try:
            Stage(name, Path.cwd()).run(import_module(f"tasks.{name}.step").work)
        except CurationError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
