"""`python -m tasks.fetch`: run the step."""

from tasks.fetch.step import work
from tasks.lib.core.stage import run_step

if __name__ == "__main__":
    run_step("fetch", work)
