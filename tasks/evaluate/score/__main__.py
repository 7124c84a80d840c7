"""`python -m tasks.evaluate.score`: run the step."""

from tasks.evaluate.score.step import work
from tasks.lib.core.stage import run_step

if __name__ == "__main__":
    run_step("score", work)
