"""The documentation, compared with the code that it describes."""

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise

import pytest
import typer
from dvc.cli import parse_args

from flows.cli.commands import app
from tasks.baseline.methods import MethodName
from tasks.lib.core.params import read_params
from tasks.measure.summary import HIGHER_IS_BETTER, LOWER_IS_BETTER
from tests.conftest import PROJECT
from tests.reported_run import metrics, savings
from tests.workspaces import StepWorkspace

PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
MAKE = "`python docs/make_reference.py` writes it"


def first_cells(page):
    """Return the names in the first column of every table on a page."""
    lines = (PROJECT / page).read_text(encoding="utf-8").splitlines()
    return {
        name
        for line in lines
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split(" | ")[0])
    }


def commands(page, program):
    """Return the arguments of every call of a program in the console blocks on a page."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line.split()[1:] for line in lines if line.split()[:1] == [program]]


def test_the_reference_matches_the_code():
    pages = runpy.run_path(str(PROJECT / "docs/make_reference.py"))["pages"]()
    assert len(pages) == 3
    for path, text in pages.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date: {MAKE}"


def test_every_key_of_params_yaml_has_a_meaning():
    page = (PROJECT / "docs/reference/params.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    silent = [row[0] for row in rows if len(row) == 5 and len(row[3]) < 3]
    assert not silent, f"params.yaml: {silent} lack a comment at the end of their line"


def test_every_metric_is_described_with_its_direction():
    text = (PROJECT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    better = {row[0].strip("| `"): row[3] for row in rows}
    for name in LOWER_IS_BETTER:
        assert better.pop(name) == "lower", name
    for name in HIGHER_IS_BETTER:
        assert better.pop(name) == "higher", name
    assert set(better.values()) == {"neither"}


def test_every_baseline_is_described():
    text = (PROJECT / "docs/reference/baselines.md").read_text(encoding="utf-8")
    assert {method for method in MethodName if f"`{method}`" not in text} == set()
    in_prompts = {f"{way}_{mode}" for way in ("random", "typical") for mode in ("within", "across")}
    assert first_cells("docs/reference/baselines.md") <= {*MethodName, *in_prompts}


def test_the_graph_on_the_front_page_orders_the_stages_like_dvc_yaml():
    lines = re.findall(r"^ +(\w+ -->.*)$", (PROJECT / "docs/index.md").read_text(), re.MULTILINE)
    drawn = {edge for line in lines for edge in pairwise(line.split(" --> "))}
    stages = read_params(PROJECT / "dvc.yaml")["stages"]
    maker = {next(iter(out)): name for name, stage in stages.items() for out in stage["outs"]}
    declared = {(maker[d], name) for name, s in stages.items() for d in s["deps"] if d in maker}
    assert closure(drawn) == closure(declared)


def closure(edges):
    """Return all pairs of stages in which the second runs after the first."""
    pairs = set(edges)
    while new := {(a, d) for a, b in pairs for c, d in pairs if b == c} - pairs:
        pairs |= new
    return pairs


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_command_on_a_page_exists_and_so_does_every_key(page):
    text = page.read_text(encoding="utf-8")
    known = set(typer.main.get_command(app).commands)
    assert {words[0] for words in commands(page, "selectllm")} <= known
    targets = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert {words[0] for words in commands(page, "make")} <= set(targets)
    params = read_params(PROJECT / "params.yaml")
    for section, key in re.findall(r"-S '?([a-z_]+)\.([a-z_]+)=", text):
        assert section in params
        assert section in ("models", "compare") or key in params[section], f"{section}.{key}"


def dvc_commands():
    """The arguments of every DVC command of the pages, in console blocks and in the text."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    pattern = r"^\$ dvc (.*)$|`dvc ([a-z][^`\n]*)`"
    lines = {"".join(found) for text in texts for found in re.findall(pattern, text, re.MULTILINE)}
    return [shlex.split(line.replace("...", ""), comments=True) for line in sorted(lines)]


@pytest.mark.parametrize("words", dvc_commands(), ids=" ".join)
def test_every_dvc_command_exists_with_its_options(words):
    if words[-1] not in ("-S", "--temp"):  # the text quotes these without their values
        parse_args(words)
    if words[0] == "repro":
        stages = [word for word in words[1:] if not word.startswith("-")]
        assert set(stages) <= set(read_params(PROJECT / "dvc.yaml")["stages"])


@pytest.mark.slow
def test_every_dvc_command_that_shows_metrics_shows_some(tmp_path):
    """A pattern that matches no column gives an empty table and no error."""
    repo = StepWorkspace(tmp_path)
    repo.write_json("measure/metrics.json", metrics())
    repo.write_json("measure/savings.json", savings(6))
    declared = read_params(PROJECT / "dvc.yaml")["metrics"]
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": {}, "metrics": declared}))

    def run(*words):
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    run("git", "init", "-q")
    run("dvc", "init", "-q")
    run("git", "add", ".")
    run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "first")
    repo.write_json("measure/metrics.json", metrics(coverage=1.25))
    shows = [
        words for words in dvc_commands() if words[:2] in (["metrics", "show"], ["exp", "show"])
    ]
    assert len(shows) > 2
    for words in shows:
        wanted = (
            r"\bsaved\b" if "savings" in words[-1] else r"llm_select\.words\.coverage_mean\.value"
        )
        assert re.search(wanted, run("dvc", *words, "--md")), words


@pytest.mark.parametrize("page", ["AGENTS.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_file_that_a_guide_names_exists(page):
    text = (PROJECT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tasks|flows|tests|docs)/[\w/.-]+)`", text))
    missing = [
        name for name in named if not (PROJECT / name).exists() and not re.search(r"[A-Z]{4}", name)
    ]
    assert not missing


@pytest.mark.slow
def test_the_site_builds_without_a_broken_link_or_anchor(tmp_path):
    pytest.importorskip("zensical", reason="the extra docs is not installed")
    shutil.copy(PROJECT / "mkdocs.yml", tmp_path)
    shutil.copytree(PROJECT / "docs", tmp_path / "docs")
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    config = (tmp_path / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r": ([\w/-]+\.md)$", config, re.MULTILINE))
    assert listed == {
        str(p.relative_to(PROJECT / "docs")) for p in (PROJECT / "docs").rglob("*.md")
    }
