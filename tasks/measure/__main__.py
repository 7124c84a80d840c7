"""`python -m tasks.measure`: run the step."""

from tasks.lib.core.stage import run_step
from tasks.measure.step import work

if __name__ == "__main__":
    run_step("measure", work)
