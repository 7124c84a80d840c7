"""`python -m tasks.cluster`: run the step."""

from tasks.cluster.step import work
from tasks.lib.core.stage import run_step

if __name__ == "__main__":
    run_step("cluster", work)
