"""Check or plan an evaluation.

`python -m tasks.evaluate ready FILE` checks that an evaluation can start with the parameters in the
file. `python -m tasks.evaluate plan FILE` writes its plan to the file, in its own workspace.
"""

import logging
import os
import sys
from pathlib import Path

from tasks.evaluate.judge_cost import ready_judge
from tasks.evaluate.params import require_ready
from tasks.lib.core.errors import CurationError
from tasks.lib.core.params import read_params
from tasks.lib.core.stage import QUIET, Stage


def main(action: str, file: str) -> int:
    """Check the parameters in the file or write the plan to it; return the exit status."""
    try:
        if action == "plan":
            from tasks.evaluate.plan import plan  # noqa: PLC0415

            plan(Stage("tune", Path.cwd())).write(Path(file))
        else:
            values = read_params(Path(file))
            require_ready(values)
            ready_judge(values)
    except CurationError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR, format="%(message)s")
    os.environ.update(QUIET)
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # as in the tune stage
    raise SystemExit(main(*sys.argv[1:]))
