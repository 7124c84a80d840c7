"""`python -m tasks.report`: run the step."""

from tasks.lib.core.stage import run_step
from tasks.report.step import work

if __name__ == "__main__":
    run_step("report", work)
