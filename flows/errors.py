"""What can stop a run, and the exit status each gives `selectllm`.

FlowError
├── GraphError    dvc.yaml is not a graph that can be run
├── ParamError    params.yaml, or an override of it, was refused
├── Busy          another run works in this workspace
├── StageFailed   a step ended with other than 0
└── VariantFailed one or more variants of a comparison failed, the others did not
"""


class FlowError(Exception):
    """A run cannot go on; the message says what is wrong, where, and what to do."""

    exit_code = 2


class GraphError(FlowError):
    """dvc.yaml is missing, has a cycle, or names a parameter that does not exist."""


class ParamError(FlowError):
    """The check of params.yaml refused it; nothing has been run or changed."""


class Busy(FlowError):
    """Another run works in this workspace."""


class StageFailed(FlowError):
    """A step failed.

    Attributes:
        exit_code: The step's own exit status, or 1 when it died.
        died: Whether it ended without saying why; only then is another attempt worth while.
    """

    def __init__(self, reason: str, exit_code: int = 1, *, died: bool = False) -> None:
        super().__init__(reason)
        self.exit_code = exit_code
        self.died = died


class VariantFailed(FlowError):
    """Some variants of a comparison failed; the others are whole, and recorded."""

    exit_code = 1
