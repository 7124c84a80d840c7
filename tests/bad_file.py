"""`python -m tests.bad_file FILE ...`: read each file as a pool, with at most 1 GB of memory.

Prints one JSON line for each file: how many rows are kept and dropped, or the error. Anything else
ends the process.
"""

import json
import re
import sys
import time
from pathlib import Path

from tasks.ingest.classify_rows import Ingest, classify_rows
from tasks.ingest.rows import Rows
from tasks.lib.core.errors import CurationError
from tests.ingest_rows import SECTION, read_file

PARAMS = Ingest.model_validate(SECTION)


def outcome(path: Path) -> dict:
    """Return the result of reading the file."""
    n_rows = n_results = 0

    def counted() -> Rows:
        nonlocal n_rows
        for line, row in read_file(path):
            n_rows += 1
            yield line, row

    try:
        for _ in classify_rows(counted(), PARAMS, path.name, "line {}".format):
            n_results += 1
    except CurationError as error:
        return {"error": str(error)}
    return {"rows": n_rows, "classified": n_results}


def main() -> None:
    for name in sys.argv[1:]:
        start = time.monotonic()
        found = outcome(Path(name))
        seconds = time.monotonic() - start
        status = Path("/proc/self/status").read_text()  # ru_maxrss counts the parent's memory, too
        peak_mb = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
        facts = {"file": name, **found, "seconds": seconds, "peak_mb": peak_mb}
        sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
