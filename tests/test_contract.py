"""The structure of the project: names, edges, imports and declared dependencies."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import pytest
from dvc.repo import Repo

from tasks.lib.core.dvc_yaml import Graph, load_yaml, read_graph
from tests.conftest import PROJECT
from tests.modules import DOCSTRING_ONLY, MODULES, closure, first_party, imports, lines

ROOMS = (
    "core",
    "documents",
    "text",
    "similarity",
    "coverage",
    "kmeans",
    "prompts",
    "typicality",
    "journal",
    "gateway",
    "batches",
)
"""Of tasks/lib, each above those before it."""


def read_evaluation_graph() -> Graph:
    """Return the graph of `selectllm evaluate`, which becomes dvc.yaml in its own workspace."""
    with TemporaryDirectory() as folder:
        shutil.copy(PROJECT / "tasks/evaluate/graph.yaml", Path(folder) / "dvc.yaml")
        shutil.copy(PROJECT / "params.yaml", folder)
        return read_graph(Path(folder))


GRAPH = read_graph(PROJECT)
STAGES = {stage.name: stage for stage in GRAPH.stages}
EVALUATION = {stage.name: stage for stage in read_evaluation_graph().stages}
ROOMS_OF = {name: f"tasks/{name}" for name in STAGES} | {
    name: f"tasks/evaluate/{name}" for name in EVALUATION
}
"""The folder of each step."""


STEPS = sorted(p.parent.name for p in (PROJECT / "tasks").glob("*/step.py"))


def declared_modules(stage: str) -> set[str]:
    """Return the modules that a stage declares under deps, by folder or by file."""
    deps = [PurePosixPath(dep) for dep in (STAGES | EVALUATION)[stage].deps]
    return {
        file for file in MODULES if {PurePosixPath(file), *PurePosixPath(file).parents} & set(deps)
    }


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


@pytest.mark.parametrize("name", ROOMS_OF)
def test_deps_name_every_module_that_the_step_imports(name):
    missing = closure(f"{ROOMS_OF[name]}/__main__.py") - declared_modules(name) - DOCSTRING_ONLY
    assert not missing, f"dvc.yaml: stages.{name}.deps lack {missing}: DVC would serve stale output"


@pytest.mark.parametrize("name", ROOMS_OF)
def test_a_step_uses_nine_in_ten_of_the_lines_that_its_stage_declares(name):
    """Editing an unused line makes the stage stale although its behaviour is unchanged."""
    declared = declared_modules(name)
    foreign = {file: lines(file) for file in declared - closure(f"{ROOMS_OF[name]}/__main__.py")}
    share = sum(foreign.values()) / sum(map(lines, declared))
    assert share < 0.1, f"stages.{name}: {share:.1%} of the declared lines are foreign: {foreign}"


@pytest.mark.parametrize("name", ROOMS_OF)
def test_deps_name_no_module_that_the_step_does_not_use(name):
    needed = {
        p
        for f in closure(f"{ROOMS_OF[name]}/__main__.py")
        for p in (f, *map(str, PurePosixPath(f).parents))
    }
    deps = (STAGES | EVALUATION)[name].deps
    ours = {d for d in deps if d.startswith("tasks/") and not d.endswith(".txt")}
    assert ours <= needed, f"dvc.yaml: stages.{name}.deps name {ours - needed} in vain"


def test_steps_of_an_evaluation_have_one_name_and_import_no_other_step():
    for name, stage in EVALUATION.items():
        declared = load_yaml(PROJECT / "tasks/evaluate/graph.yaml")["stages"][name]
        assert declared["cmd"] == f"python -m tasks.evaluate.{name}"
        assert all(out.path.startswith(f"data/{name}/") for out in stage.outs)
        others = tuple(f"tasks/evaluate/{other}/" for other in EVALUATION if other != name)
        for file in (f for f in MODULES if f.startswith(f"{ROOMS_OF[name]}/")):
            assert not [f for f in first_party(MODULES[file]) if f.startswith(others)], file


def test_our_reader_sees_the_edges_that_dvc_sees():
    index = Repo(str(PROJECT)).index
    theirs = {(a.addressing, b.addressing) for a, b in index.graph.edges}
    ours = {(stage.name, upstream) for stage in GRAPH.stages for upstream in stage.upstream}
    assert ours == theirs


def test_only_stages_that_use_a_network_are_retried():
    assert {name for name, stage in STAGES.items() if stage.retries} == {
        "fetch",
        "embed",
        "llm_select",
        "baseline",
    }


def test_tasks_import_no_orchestrator():
    for file, path in MODULES.items():
        if file.startswith("tasks/"):
            roots = {name.partition(".")[0] for name in imports(path)}
            assert not roots & {"prefect", "dvc", "mlflow", "flows"}, file


def test_flows_and_tasks_agree_on_dvc_yaml():
    shared = ("tasks.lib.core", "tasks.lib.documents")
    for_the_cli = (*shared, "tasks.estimate", "tasks.audit")
    for file, path in MODULES.items():
        if file.startswith("flows/"):
            allowed = for_the_cli if file.startswith("flows/cli/") else shared
            theirs = [n for n in imports(path) if n.partition(".")[0] == "tasks"]
            assert not [n for n in theirs if not n.startswith(allowed)], file


def test_steps_import_no_other_step_and_lib_imports_only_downwards():
    for file, path in MODULES.items():
        room = file.split("/")[1] if file.startswith("tasks/") else ""
        if room in STEPS:
            others = tuple(f"tasks/{name}/" for name in {*STEPS, "estimate", "audit"} - {room})
            assert not [f for f in first_party(path) if f.startswith(others)], file
        if room == "lib" and file not in DOCSTRING_ONLY:
            above = {f for f in first_party(path) if _floor(f) > _floor(file)}
            assert not above, f"{file} imports {above}"


def _floor(file: str) -> int:
    """Return the level of a module: the number of its package in lib, or 0.5 for a file in lib."""
    parts = PurePosixPath(file).parts
    if parts[:2] != ("tasks", "lib"):
        return 0 if file == "tasks/__init__.py" else len(ROOMS)
    return ROOMS.index(parts[2]) if len(parts) > 3 else 0


def test_no_class_name_is_used_twice():
    places: dict[str, list[str]] = {}
    for file, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(file)
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_no_module_is_longer_than_250_lines():
    assert [(file, lines(file)) for file in MODULES if lines(file) > 250] == []


def test_there_is_one_prefect_task():
    decorated = [f for f, path in MODULES.items() if re.search(r"^@task\b", path.read_text(), re.M)]
    assert decorated == ["flows/stage_task.py"]


def test_only_dvc_yaml_has_paths_of_artifacts():
    outs = [out.path for stage in GRAPH.stages for out in stage.outs]
    for file, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        assert not [out for out in outs if f'"{out}"' in text and out != "data/export"], file


@pytest.mark.slow
def test_tasks_work_with_prefect_dvc_and_mlflow_absent():
    blocked = "import sys; sys.modules.update(prefect=None, dvc=None, mlflow=None); "
    check = f"{blocked}import runpy; runpy.run_module('tasks', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_embeds_nothing_does_not_import_torch():
    """Only embed and `selectllm evaluate` need it, and it takes seconds."""
    modules = ["flows.curate", "flows.cli.commands", "flows.cli.show_audit", "flows.cli.doctor"]
    modules += [f"tasks.{name}.step" for name in STEPS]
    modules += [f"tasks.audit.{name}" for name in ("verify", "explain", "answers")]
    modules += [
        f"tasks.estimate.{name}"
        for name in ("quote_selection", "quote_ratings", "preview", "longest_prompt")
    ]
    code = (
        f"import sys, {', '.join(modules)}; print({{'torch', 'transformers'}} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
