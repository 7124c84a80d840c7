"""Check or plan an evaluation, in its own workspace.

`python -m tasks.evaluate` checks that it can start. With the name of a file, it also writes the
plan there.
"""

import logging
import os
import sys
from pathlib import Path

from tasks.evaluate.params import require_ready
from tasks.lib.core.errors import CurationError
from tasks.lib.core.params import PARAMS_FILE, read_params
from tasks.lib.core.stage import QUIET, Stage


def main(plan_files: list[str]) -> int:
    """Check the parameters, write the plan to each file, and return the exit status."""
    try:
        require_ready(read_params(Path(PARAMS_FILE)))
        for file in plan_files:
            from tasks.evaluate.tune.plan import plan  # noqa: PLC0415

            plan(Stage("tune", Path.cwd())).write(Path(file))
    except CurationError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR, format="%(message)s")
    os.environ.update(QUIET)
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # as in the tune stage
    raise SystemExit(main(sys.argv[1:]))
