"""`python -m tasks.choose`: run the step."""

from tasks.choose.step import work
from tasks.lib.core.stage import run_step

if __name__ == "__main__":
    run_step("choose", work)
