"""`python -m tasks.second`: run the step."""

from tasks.second.step import work

from tasks.lib.core.stage import run_step

if __name__ == "__main__":
    run_step("second", work)
