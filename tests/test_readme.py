"""README's commands, graph and links match the project."""

import re
import subprocess
import sys
from importlib.metadata import version

import pytest
import typer
from typer.testing import CliRunner

from flows.cli.commands import app
from tasks.lib.core.dvc_yaml import load_yaml, read_graph
from tests.conftest import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.removeprefix("$ ").partition("#")[0].split()
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ")
]


def commands(program):
    return [words[1:] for words in COMMANDS if words[0] == program]


def test_every_make_target_exists():
    targets = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert commands("make") == [["demo"], ["test"]]
    assert {words[0] for words in commands("make")} <= set(targets)


def test_every_selectllm_command_exists_and_so_does_every_key():
    known = set(typer.main.get_command(app).commands)
    assert {words[0] for words in commands("selectllm")} <= known
    mentioned = set(re.findall(r"`selectllm ([a-z]+)", README))
    assert mentioned <= known
    params = load_yaml(PROJECT / "params.yaml")
    for section, key in re.findall(r"-S '?([a-z_]+)\.([a-z_]+)=", README):
        assert section in params
        assert section == "models" or key in params[section]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [[p, *words] for p in ("dvc", "prefect") for words in commands(p)],
    ids=lambda words: " ".join(words[:3]),
)
def test_every_command_of_other_tools_exists(words):
    module, *rest = words
    names = [word for word in rest if word[0] != "-"]
    names = names[: 1 if module == "dvc" or names[0] == "deploy" else 2]
    done = subprocess.run(
        [sys.executable, "-m", module, *names, "--help"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for option in (word for word in rest if word.startswith("--")):
        assert option in done.stdout


def test_the_graph_matches_dvc_yaml():
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)$", README, re.MULTILINE))
    ours = {(up, stage.name) for stage in read_graph(PROJECT).stages for up in stage.upstream}
    assert drawn == ours


def test_every_linked_file_exists():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (PROJECT / target).exists(), target


def test_the_version_is_printed():
    shown = CliRunner().invoke(app, ["--version"])
    assert (shown.exit_code, shown.stdout) == (0, f"selectllm {version('selectllm')}\n")
