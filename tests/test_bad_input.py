"""A user's mistake ends with exit status 2 and says where, what and how to fix it."""

import contextlib
import errno
import json
import os
import shutil
import sys
from importlib.metadata import version

import pytest

from flows.dvc.overrides import edited
from tasks.__main__ import check_all
from tasks.ingest.step import work
from tasks.lib.core.errors import CurationError
from tasks.lib.core.stage import Stage, run_step
from tests.workspaces import StepWorkspace, Workspace, lay_out


@pytest.fixture(scope="module")
def space(clone):
    return clone("mistaken")


@pytest.fixture(autouse=True)
def untouched(space):
    """Check that a test leaves params.yaml as it was."""
    before = (space.root / "params.yaml").read_bytes()
    yield
    assert (space.root / "params.yaml").read_bytes() == before


def refused(space, *overrides, env=None):
    """Return the message of `selectllm run`, which must end with 2 before anything starts."""
    words = [word for override in overrides for word in ("-S", override)]
    done = Workspace(space.root, space.env | (env or {})).call("run", *words)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "Starting temporary server" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("llm_select.budegt=7", "did you mean budget?"),
        ("ingest.source=no/such.jsonl", "no/such.jsonl"),
        ("llm_select.budget=0", "llm_select.budget"),
        ("ingest.source=data/sample/instruction.jsonl", "did you mean"),
        ("ingest.source=data", "folder"),
        ("ingest.source=empty.jsonl", "empty"),
        ("ingest.source=README.docx", ".jsonl"),
        ("llm_select.budget=-5", "llm_select.budget"),
        ("llm_select.budget=many", "llm_select.budget"),
        ("llm_select.budget=2.5", "llm_select.budget"),
        ("clutser.mode=across", "did you mean cluster?"),
        ("cluster.mode=accross", "across"),
        ("cluster.n_prompts=30", "-S cluster.candidates_per_prompt=null"),
        ("cluster.candidates_per_prompt=null", "-S cluster.n_prompts=1000"),
        ("llm_select.route=chatgtp", "chatgpt"),
        ("llm_select.prompt=no/such.txt", "no/such.txt"),
        ("export.formats=[xlsx]", "alpaca"),
        ("models.offline.modle=x", "did you mean model?"),
        (
            "models.chatgpt={model: openai/gpt-4o-mini, schema: auto, api_key: sk-12345678}",
            "api_key",
        ),
        ("seed=-1", "seed"),
    ],
)
def test_every_mistake_that_can_be_found_before_a_run_is_found_by_the_check(
    space, tmp_path, override, words
):
    """The check before a run is `python -m tasks`, which this process imports instead."""
    (space.root / "empty.jsonl").write_text("")
    (space.root / "README.docx").write_text("text")
    with pytest.raises(CurationError) as refusal, contextlib.chdir(space.root):
        text, _ = edited(space.root, [override])
        (tmp_path / "params.yaml").write_text(text)
        check_all(tmp_path / "params.yaml")
    assert refusal.value.exit_code == 2
    message = str(refusal.value)
    assert words in message
    assert "sk-12345678" not in message
    assert len(message.strip().splitlines()) <= 8, message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("llm_select.budegt=7", "did you mean budget?"),
        pytest.param("ingest.source=data", "folder", marks=pytest.mark.slow),
    ],
)
def test_a_mistake_is_reported_before_anything_starts(space, override, words):
    assert words in refused(space, override)


@pytest.mark.slow
def test_a_missing_key_is_named_and_no_stage_runs(space):
    message = refused(space, "llm_select.route=chatgpt", env={"OPENAI_API_KEY": ""})
    assert "OPENAI_API_KEY" in message


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("utf16.jsonl", '{"instruction": "Say hello."}\n'.encode("utf-16") * 5, "UTF-16"),
        ("columns.jsonl", b'{"question_text": "Why?", "n": 1}\n' * 5, "question_text"),
        ("bad.jsonl", b"not json\n" * 5 + b'{"instruction": "Say hello."}\n', "max_dropped"),
        ("not.jsonl.gz", b"plain text", "gzip"),
        ("table.parquet", b"PAR1 but no table", "Parquet"),
    ],
)
def test_ingest_refuses_a_source_that_cannot_be_used(tmp_path, monkeypatch, name, content, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    lay_out(tmp_path, "data/none.jsonl")
    StepWorkspace(tmp_path).update(ingest={"source": name})
    with pytest.raises(CurationError, match=words) as refusal:
        Stage("ingest", tmp_path).run(work)
    assert refusal.value.exit_code == 2
    assert not list(tmp_path.glob("data/ingest/*"))


@pytest.mark.slow
def test_a_budget_above_the_pool_is_refused_before_anything_is_embedded(space):
    rows = "".join(json.dumps({"instruction": f"Say the word {w} twice."}) + "\n" for w in "abcde")
    (space.root / "five.jsonl").write_text(rows)
    with space.params_kept():
        space.set("ingest.source=five.jsonl", "llm_select.budget=6")
        done = space.dvc("repro", "llm_select", check=False)
    assert done.returncode == 255
    assert "5" in done.stderr
    assert "llm_select.budget" in done.stderr
    assert "Traceback" not in done.stderr
    assert (space.root / "data/dedupe/unique.parquet").exists()  # what was computed is kept
    assert not (space.root / "data/embed").exists()


@pytest.mark.slow
def test_a_full_disk_is_reported_and_leaves_nothing_half_written(space):
    shutil.rmtree(space.root / "data/ingest", ignore_errors=True)
    limited = f"ulimit -f 4; {sys.executable} -m tasks.ingest"  # files of at most 4 KB
    done = space.run("bash", "-c", limited, check=False)
    assert done.returncode == 2, done.stderr
    assert "Free some space" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((space.root / "data/ingest").iterdir())


@pytest.mark.parametrize(("folder", "words"), [(".git", "git init"), (".dvc", "dvc init")])
def test_without_git_or_dvc_the_error_says_which_is_missing(space, tmp_path, folder, words):
    root = tmp_path / "copy"
    shutil.copytree(space.root, root)
    shutil.rmtree(root / folder)
    message = refused(Workspace(root, space.env))
    assert words in message


@pytest.mark.slow
def test_the_doctor_finds_what_is_wrong_and_says_how_to_fix_it(space, tmp_path):
    root = tmp_path / "sick"
    shutil.copytree(space.root, root)
    sick = Workspace(root, space.env | {"PREFECT_HOME": str(tmp_path)})
    assert sick.call("doctor").returncode == 0
    (root / ".dvc/config").write_text('[cache]\n    type = "hardlink"\n')
    (root / "params.yaml").write_text((root / "params.yaml").read_text() + "surplus: 1\n")
    (root / "mlflow.db").write_bytes(b"no database" * 100)
    os.utime(root / "mlflow.db")
    done = sick.call("doctor", "--json")
    assert done.returncode == 1
    wrong = {f["what"]: f["fix"] for f in json.loads(done.stdout) if f["status"] == "wrong"}
    assert any("cache.type is hardlink" in what for what in wrong)
    assert any("surplus section is unknown" in what for what in wrong)
    assert any("file is not a database" in what for what in wrong)
    assert all(wrong.values())


@pytest.mark.slow
def test_the_doctor_names_a_package_outside_the_bounds_of_pyproject(space, tmp_path):
    root = tmp_path / "upgraded"
    shutil.copytree(space.root, root)
    bounds = ["sqlalchemy<2.0", "fastapi<0.139", "prefect>=3.8"]
    project = f'[project]\nname = "selectllm"\ndependencies = {json.dumps(bounds)}\n'
    (root / "pyproject.toml").write_text(project)
    upgraded = Workspace(root, space.env | {"PREFECT_HOME": str(tmp_path)})
    done = upgraded.selectllm("doctor", "--json", check=False)
    assert done.returncode == 1
    wrong = {f["what"]: f["fix"] for f in json.loads(done.stdout) if f["status"] == "wrong"}
    assert set(wrong) == {
        f"sqlalchemy is {version('sqlalchemy')}, not <2.0",
        f"fastapi is {version('fastapi')}, not <0.139",
    }
    assert all("pip install -c constraints.txt" in fix for fix in wrong.values())


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EPERM, "make it writable"),
        (errno.EEXIST, "Move away the file"),
        (errno.ENOTDIR, "Move away the file"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EIO, "Check the disk"),
    ],
)
def test_an_error_of_the_system_ends_a_step_in_two_lines(
    tmp_path, monkeypatch, capsys, code, remedy
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    StepWorkspace(tmp_path)

    def work(stage):
        raise OSError(code, os.strerror(code), str(tmp_path / "data"))

    with pytest.raises(SystemExit) as end:
        run_step("dedupe", work)
    assert end.value.code == 2
    what, fix = capsys.readouterr().err.splitlines()[-2:]
    assert what == f"{tmp_path / 'data'}: {os.strerror(code)}"
    assert remedy in fix
