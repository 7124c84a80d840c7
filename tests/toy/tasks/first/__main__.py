"""`python -m tasks.first`: run the step."""

from tasks.first.step import work

from tasks.lib.core.stage import run_step

if __name__ == "__main__":
    run_step("first", work)
