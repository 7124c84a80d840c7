"""`python -m tasks.evaluate.judge`: run the step."""

from tasks.evaluate.judge.step import work
from tasks.lib.core.stage import run_step

if __name__ == "__main__":
    run_step("judge", work)
