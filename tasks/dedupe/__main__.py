"""`python -m tasks.dedupe`: run the step."""

from tasks.dedupe.step import work
from tasks.lib.core.stage import run_step

if __name__ == "__main__":
    run_step("dedupe", work)
