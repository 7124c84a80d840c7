"""`python -m tasks.embed`: run the step."""

from tasks.embed.step import work
from tasks.lib.core.stage import run_step

if __name__ == "__main__":
    run_step("embed", work)
