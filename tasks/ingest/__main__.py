"""`python -m tasks.ingest`: run the step."""

from tasks.ingest.step import work
from tasks.lib.core.stage import run_step

if __name__ == "__main__":
    run_step("ingest", work)
