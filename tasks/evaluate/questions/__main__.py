"""`python -m tasks.evaluate.questions`: run the step."""

from tasks.evaluate.questions.step import work
from tasks.lib.core.stage import run_step

if __name__ == "__main__":
    run_step("questions", work)
