"""Run llm_select with short waits between calls, so that an attack takes seconds."""

from tasks.lib.core.stage import run_step
from tasks.lib.gateway.request import CallSettings
from tasks.llm_select.step import work

if __name__ == "__main__":
    CallSettings.__new__.__defaults__ = (0.01,)  # the field backoff_s
    run_step("llm_select", work)
