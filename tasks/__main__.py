"""`python -m tasks [PARAMS_FILE ...]`: check params.yaml, or drafts of it, for every step.

These checks come before a run, since DVC deletes a stage's outputs before it starts the step: if
only the step noticed a typo, those outputs would be lost.
"""

import importlib
import sys
from pathlib import Path

import tasks
from tasks.lib.core.errors import CurationError, ParamError, nearest
from tasks.lib.core.format_text import visible_line
from tasks.lib.core.params import PARAMS_FILE, read_params

SHARED_SECTIONS = ("engine", "seed", "models", "compare")


def check_all(path: Path) -> None:
    """Check every section of the file at `path` with the step that reads it.

    Raises:
        CurationError: A section is unknown, or its step rejects it.
    """
    values = read_params(path)
    folder = Path(tasks.__file__).parent
    steps = sorted(step.parent.name for step in folder.glob("*/step.py"))
    graphs = sorted(graph.parent.name for graph in folder.glob("*/graph.yaml"))
    known = [*SHARED_SECTIONS, *steps, *graphs]
    for section in values:
        if section not in known:
            raise ParamError(
                f"the {section} section is unknown{nearest(section, known)}",
                where=PARAMS_FILE,
                fix=f"Rename or remove it. Known sections: {', '.join(known)}.",
            )
    for step in steps:
        importlib.import_module(f"tasks.{step}.step").check(values)
    for graph in graphs:  # separate graphs that share params.yaml
        importlib.import_module(f"tasks.{graph}.params").check(values)


def main(files: list[str]) -> int:
    """Check the files; print the first error to stderr and return its exit status, or return 0."""
    for file in files or [PARAMS_FILE]:
        try:
            check_all(Path(file))
        except CurationError as error:
            which = f"{visible_line(Path(file).stem)}: " if len(files) > 1 else ""
            sys.stderr.write(f"{which}{error}\n")
            return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
