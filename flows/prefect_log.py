"""Shorten what Prefect logs about a failed run to one error."""

import logging

from tasks.lib.core.errors import CurationError, StageFailed


class OneLine(logging.Filter):
    """Shortens what Prefect logs about a failed flow to one line, if the error has a remedy.

    In a worker, Prefect would log a traceback. A stage's error is already in its task's log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop the traceback of such an error, or the whole record if a task has logged it."""
        error = record.exc_info and record.exc_info[1]
        if isinstance(error, CurationError):
            record.msg, record.args, record.exc_info = "%s", (str(error),), None
        return not isinstance(error, StageFailed)


class OneError(logging.Filter):
    """Reduces what Prefect logs about a failed stage and the stages after it to one error."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop the error that lacks the stage's state; log later stages only as not run."""
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
