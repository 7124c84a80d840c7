"""`python -m tasks.llm_select`: run the step."""

from tasks.lib.core.stage import run_step
from tasks.llm_select.step import work

if __name__ == "__main__":
    run_step("llm_select", work)
