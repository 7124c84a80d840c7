"""`python -m tasks.export`: run the step."""

from tasks.export.step import work
from tasks.lib.core.stage import run_step

if __name__ == "__main__":
    run_step("export", work)
