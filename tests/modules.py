"""The project's own modules, and what they import."""

import ast
from functools import cache
from pathlib import Path

from tests.conftest import PROJECT

MODULES = {
    str(path.relative_to(PROJECT)): path
    for folder in ("tasks", "flows")
    for path in (PROJECT / folder).rglob("*.py")
}
DOCSTRING_ONLY = {
    file
    for file, path in MODULES.items()
    if path.name == "__init__.py" and len(path.read_text().splitlines()) == 1
}


@cache
def imports(path: Path) -> set[str]:
    """Return every module that a file imports, at its top or inside a function, by dotted name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def first_party(path: Path) -> set[str]:
    """Return our files that a file imports directly, including their packages."""
    files = set()
    for name in imports(path):
        parts = name.split(".")
        stems = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        files |= {file for s in stems for file in (f"{s}.py", f"{s}/__init__.py")} & set(MODULES)
    return files


def lines(file: str) -> int:
    """Return the number of lines of one of our files."""
    return len(MODULES[file].read_text(encoding="utf-8").splitlines())


def closure(start: str) -> set[str]:
    """Return our files that a file needs, directly or not, including itself."""
    seen, todo = set(), [start]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += first_party(MODULES[file])
    return seen
