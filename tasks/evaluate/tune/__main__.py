"""`python -m tasks.evaluate.tune`: run the step."""

import os

from tasks.evaluate.tune.step import work
from tasks.lib.core.stage import run_step

if __name__ == "__main__":
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # with more, a step would use more records
    run_step("tune", work)
