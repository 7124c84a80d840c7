"""`python -m tasks.validate`: run the step."""

from tasks.lib.core.stage import run_step
from tasks.validate.step import work

if __name__ == "__main__":
    run_step("validate", work)
