"""`python -m tasks.llm_select`: run the step."""

import os

# pyarrow reads this when it is imported, below. Its default allocator keeps freed memory.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

from tasks.lib.core.stage import run_step
from tasks.llm_select.step import work

if __name__ == "__main__":
    run_step("llm_select", work)
