"""`python -m tasks.baseline`: run the step."""

from tasks.baseline.step import work
from tasks.lib.core.stage import run_step

if __name__ == "__main__":
    run_step("baseline", work)
