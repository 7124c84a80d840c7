"""The tests themselves: each file belongs to a room, and none needs a fixed time or port."""

import ast
from pathlib import Path, PurePosixPath

from tests.conftest import PROJECT
from tests.modules import MODULES, imports

TESTS = {f"tests.{path.stem}": path for path in (PROJECT / "tests").glob("*.py")}
WHOLE = {
    *("contract", "deployment", "graph", "messages", "packages", "paid_run", "progress", "project"),
    *("readme", "run", "stale_keys", "test_files"),
}
"""Tests of the core or of the whole project, which belong to no other room."""


def needed_by(test: str) -> set[str]:
    """Return the modules that a test imports, directly or through shared test modules."""
    seen, todo = set(), [test]
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += imports(TESTS[module]) if module in TESTS else []
    return seen


def test_every_test_file_belongs_to_a_room():
    rooms = {str(PurePosixPath(file).parent).replace("/", ".") for file in MODULES}
    rooms -= {"tasks", "tasks.lib", "tasks.lib.core", "flows"}
    for test in TESTS:
        if test.startswith("tests.test_") and test.removeprefix("tests.test_") not in WHOLE:
            assert {module.rpartition(".")[0] for module in needed_by(test)} & rooms, test


def calls_in(path: Path) -> list[ast.Call]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in nodes if isinstance(node, ast.Call)]


def test_no_test_waits_for_a_fixed_time():
    """A test polls with `wait_until`, which ends as soon as the condition is met.

    Only the fake provider sleeps, for as long as a test requests.
    """
    for test in TESTS.keys() - {"tests.workspaces", "tests.fake_provider"}:
        for call in calls_in(TESTS[test]):
            if ast.unparse(call.func) == "time.sleep":
                assert float(ast.unparse(call.args[0])) <= 0.3, f"{test}:{call.lineno}"


def test_no_test_listens_on_a_fixed_port():
    for test, path in TESTS.items():
        for call in calls_in(path):
            for address in (arg for arg in call.args if isinstance(arg, ast.Tuple)):
                match [getattr(part, "value", None) for part in address.elts]:
                    case [str() as host, int() as port]:
                        assert host not in {"127.0.0.1", "localhost", ""} or not port, test
