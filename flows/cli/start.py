"""Start a program that imports Prefect; wrong settings give an error instead of a traceback.

`python -m flows.cli.start flows.curate --json` runs that module with the remaining arguments.
"""

import runpy
import sys

from flows.cli import console
from flows.service_checks import require_prefect_settings
from tasks.lib.core.errors import DataError


def main() -> int:
    """Check the settings, and run the module; return the exit status if they are wrong."""
    try:
        require_prefect_settings()
    except DataError as error:
        console.use_json(is_set="--json" in sys.argv)
        console.failed(error)
        return error.exit_code
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
