"""Shorten what Prefect logs of a failed run to one error."""

import logging

from tasks.lib.core.errors import CurationError, StageFailed


class OneLine(logging.Filter):
    """Shortens what Prefect logs of a failed flow to one line, if the error has a remedy.

    In a worker, Prefect would log a traceback. The error of a stage is in the log of its task.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop the traceback of such an error, or the whole record if a task has logged it."""
        error = record.exc_info and record.exc_info[1]
        if isinstance(error, CurationError):
            record.msg, record.args, record.exc_info = "%s", (str(error),), None
        return not isinstance(error, StageFailed)


class OneError(logging.Filter):
    """Leaves one error of what Prefect logs of a failed stage and of those after it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop the error without the stage's state; later stages only say that they did not run."""
        message = record.getMessage()
        if message.startswith("Finished in state NotReady("):
            record.msg, record.args = "Not run, because an earlier stage failed", ()
            record.levelno, record.levelname = logging.INFO, "INFO"
        return not message.startswith("Task run failed with state:")


def shorten_errors() -> None:
    """Filter Prefect's loggers; call it once in each process that runs a flow."""
    for name in ("prefect.engine", "prefect.flow_runs"):
        logging.getLogger(name).addFilter(OneLine())
    logging.getLogger("prefect.task_runs").addFilter(OneError())
