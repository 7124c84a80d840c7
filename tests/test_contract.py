"""What the house promises about itself: names, edges, imports and declared dependencies."""

import ast
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from dvc.repo import Repo

from flows.graph import load_yaml, read_graph
from tests.conftest import PROJECT

GRAPH = read_graph(PROJECT)
STAGES = {stage.name: stage for stage in GRAPH.stages}
STEPS = sorted(p.stem for p in (PROJECT / "tasks").glob("*.py") if p.name[0] != "_")
MODULES = {
    str(path.relative_to(PROJECT)): path
    for folder in ("tasks", "flows")
    for path in (PROJECT / folder).rglob("*.py")
}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function, by dotted name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def first_party(path: Path) -> set[str]:
    """The files of ours that a file imports directly."""
    found = set()
    for name in imports(path):
        stem = name.replace(".", "/")
        found |= {file for file in (f"{stem}.py", f"{stem}/__init__.py") if file in MODULES}
    return found


def closure(start: str) -> set[str]:
    """The files of ours that a file needs, however indirectly, itself included."""
    seen, todo = set(), [start]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += first_party(MODULES[file])
    return seen


def test_a_step_has_one_name_everywhere():
    params = load_yaml(PROJECT / "params.yaml")
    assert sorted(STAGES) == STEPS
    for name, stage in STAGES.items():
        declared = load_yaml(PROJECT / "dvc.yaml")["stages"][name]
        assert declared["cmd"] == f"python -m tasks.{name}"
        assert name in params
        assert (PROJECT / "tests" / f"test_{name}.py").is_file()
        assert all(f"data/{name}" in (out.path, str(Path(out.path).parent)) for out in stage.outs)
        assert stage.desc


@pytest.mark.parametrize("name", STEPS)
def test_deps_name_every_module_that_the_step_imports(name):
    deps = [PurePosixPath(dep) for dep in STAGES[name].deps]
    needed = {PurePosixPath(file) for file in closure(f"tasks/{name}.py")}
    needed -= {PurePosixPath("tasks/__init__.py")}  # one docstring
    missing = [f for f in needed if not any(f == d or d in f.parents for d in deps)]
    assert not missing, f"dvc.yaml: stages.{name}.deps lack {missing}: DVC would serve stale output"


@pytest.mark.parametrize("name", STEPS)
def test_deps_name_no_folder_of_ours_that_the_step_does_not_use(name):
    needed = {PurePosixPath(file) for file in closure(f"tasks/{name}.py")}
    ours = [PurePosixPath(dep) for dep in STAGES[name].deps if dep.startswith("tasks/")]
    unused = [
        d for d in ours if d.suffix != ".txt" and not any(d in (f, *f.parents) for f in needed)
    ]
    assert not unused, f"dvc.yaml: stages.{name}.deps name {unused} in vain"


def test_our_reader_sees_the_edges_that_dvc_sees():
    index = Repo(str(PROJECT)).index
    theirs = {(a.addressing, b.addressing) for a, b in index.graph.edges}
    ours = {(stage.name, upstream) for stage in GRAPH.stages for upstream in stage.upstream}
    assert ours == theirs


def test_only_stages_that_use_a_network_are_tried_again():
    assert {name for name, stage in STAGES.items() if stage.retries} == {
        "embed",
        "llm_select",
        "baseline",
    }


def test_tasks_know_no_orchestrator():
    for file, path in MODULES.items():
        if file.startswith("tasks/"):
            roots = {name.partition(".")[0] for name in imports(path)}
            assert not roots & {"prefect", "dvc", "mlflow", "flows"}, file


def test_flows_and_tasks_meet_in_dvc_yaml_alone():
    for file, path in MODULES.items():
        if file.startswith("flows/") and file != "flows/cli.py":
            assert not {n for n in imports(path) if n.partition(".")[0] == "tasks"}, file


def test_no_step_imports_another_and_core_imports_no_subject():
    steps = {f"tasks/{name}.py" for name in STEPS}
    for file, path in MODULES.items():
        assert not first_party(path) & steps, file
        if file.startswith("tasks/core/"):
            assert all(
                f.startswith("tasks/core/") or f == "tasks/__init__.py" for f in first_party(path)
            ), file


def test_there_is_one_prefect_task():
    decorated = [f for f, path in MODULES.items() if re.search(r"^@task\b", path.read_text(), re.M)]
    assert decorated == ["flows/run.py"]


def test_paths_of_artifacts_stand_in_dvc_yaml_alone():
    outs = [out.path for stage in GRAPH.stages for out in stage.outs]
    for file, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        assert not [out for out in outs if f'"{out}"' in text and out != "data/export"], file


def test_tasks_work_with_prefect_dvc_and_mlflow_absent():
    blocked = "import sys; sys.modules.update(prefect=None, dvc=None, mlflow=None); "
    check = f"{blocked}import runpy; runpy.run_module('tasks', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_checking_params_imports_nothing_heavy():
    code = (
        "import sys, pathlib; from tasks.__main__ import check_all; "
        "check_all(pathlib.Path('params.yaml')); "
        "print(*{'torch', 'litellm', 'sklearn', 'pandas', 'great_expectations'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_every_package_is_pinned_and_none_is_known_malware():
    pins = [
        line.split(";")[0].strip()
        for line in (PROJECT / "constraints.txt").read_text().splitlines()
        if line and line[0] != "#"
    ]
    assert all(re.fullmatch(r"[a-z0-9-]+==[^ ]+", pin) for pin in pins)
    assert not {"litellm==1.82.7", "litellm==1.82.8"} & set(pins)
