import importlib
import pickle
import shutil

import pytest
from dvc.utils.serialize import modify_yaml
from ruamel.yaml import YAML

from flows.dvc.overrides import Change, apply, checked, edited, preview
from flows.dvc.source_override import keys_of_source
from tasks.lib.core.dvc_yaml import load_yaml
from tasks.lib.core.errors import ParamError, StageFailed
from tasks.lib.core.params import RENAMED
from tests.workspaces import PROJECT, lay_out


def test_an_override_changes_its_line_and_keeps_all_others(toy):
    before = (toy.root / "params.yaml").read_text().splitlines()
    changes = apply(toy.root, ["first.naps=3"])
    after = (toy.root / "params.yaml").read_text().splitlines()
    assert changes == [Change("first.naps", 1, 3)]
    different = [(b, a) for b, a in zip(before, after, strict=True) if a != b]
    assert different == [
        ("  naps: 1 # of a tenth of a second", "  naps: 3 # of a tenth of a second")
    ]


@pytest.mark.parametrize(
    "override",
    [
        "llm_select.budget=7",
        "export.formats=[csv]",
        "ingest.exclude={split: test}",
        "seed=5",
        "cluster.candidates_per_prompt=15",
        "models.offline={model: offline/typical, schema: never, api_base: 'http://[::1]:1/v1'}",
    ],
)
def test_an_override_of_the_projects_own_file_changes_one_line(tmp_path, override):
    lay_out(tmp_path, "data/sample", "data/none.jsonl", "dvc.yaml", "params.yaml")
    (tmp_path / "params.yaml").write_text(edited(tmp_path, [override])[0])
    assert len(changed_lines(tmp_path)) == 1


FETCHED = {"ingest.source": "data/fetch", "ingest.files": None}


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("shards/a.jsonl", {}),
        ("ds://questions", {}),
        ("data/fetch", {}),
        ("shards/*.jsonl", {"ingest.source": "shards", "ingest.files": ["*.jsonl"]}),
        ("shards/*/x.csv", {"ingest.source": "shards", "ingest.files": ["*/x.csv"]}),
        (["shards/b", "shards/a"], {"ingest.source": "shards", "ingest.files": ["b", "a"]}),
        ("*.jsonl", {"fetch.source": "*.jsonl", **FETCHED}),
        (["a/x", "b/y"], {"fetch.source": ["a/x", "b/y"], **FETCHED}),
        ("hf://datasets/a/b", {"fetch.source": "hf://datasets/a/b", **FETCHED}),
        ("sql:SELECT 1", {"fetch.source": "sql:SELECT 1", **FETCHED}),
    ],
)
def test_a_source_that_dvc_cannot_hash_sets_the_keys_that_make_it_a_dependency(
    tmp_path, source, keys
):
    lay_out(tmp_path, "dvc.yaml", "params.yaml")
    values = load_yaml(tmp_path / "params.yaml")
    values["ingest"]["source"] = source
    actual = keys_of_source(tmp_path, values)
    assert actual == ({"fetch.source": None, **keys} if "ingest.files" in keys else keys)


@pytest.mark.slow
def test_a_remote_source_is_shown_as_changes_and_reset_by_a_local_one(tmp_path):
    lay_out(tmp_path, "tasks", "data/sample", "data/none.jsonl", "dvc.yaml", "params.yaml")
    changes = apply(tmp_path, ["ingest.source=memory://pool/a.jsonl"])
    old = "data/sample/instructions.jsonl"
    assert set(changes) == {
        Change("fetch.source", None, "memory://pool/a.jsonl"),
        Change("ingest.source", old, "data/fetch"),
    }
    apply(tmp_path, [f"ingest.source={old}"])
    assert load_yaml(tmp_path / "params.yaml") == load_yaml(PROJECT / "params.yaml")
    with pytest.raises(ParamError, match="where the copy will be"):
        apply(tmp_path, ["fetch.source=memory://pool/a.jsonl"])


def test_a_layout_that_cannot_be_edited_is_refused_and_stays(tmp_path):
    lay_out(tmp_path, "dvc.yaml", "params.yaml")
    params = tmp_path / "params.yaml"
    with params.open("w", encoding="utf-8") as file:  # lists at the indent of their key
        YAML().dump(YAML().load(PROJECT / "params.yaml"), file)
    before = params.read_bytes()
    with pytest.raises(ParamError, match="in its current layout"):
        apply(tmp_path, ["baseline.methods=[random]"])
    assert params.read_bytes() == before


def changed_lines(workspace):
    old, new = ((root / "params.yaml").read_text() for root in (PROJECT, workspace))
    return [b for a, b in zip(old.splitlines(), new.splitlines(), strict=True) if a != b]


@pytest.mark.slow
def test_the_number_of_prompts_replaces_their_size(tmp_path):
    lay_out(tmp_path, "tasks", "data/sample", "data/none.jsonl", "dvc.yaml", "params.yaml")
    with pytest.raises(
        ParamError, match=r"-S cluster\.n_prompts=20 -S cluster\.candidates_per_prompt=null"
    ):
        apply(tmp_path, ["cluster.n_prompts=20"])
    apply(tmp_path, ["cluster.n_prompts=20", "cluster.candidates_per_prompt=null"])
    lines = [line.partition("#")[0].rstrip() for line in changed_lines(tmp_path)]
    assert lines == ["  candidates_per_prompt: null", "  n_prompts: 20"]
    with pytest.raises(ParamError, match="both null"):
        apply(tmp_path, ["cluster.n_prompts=null"])


def test_the_projects_own_file_survives_an_edit_by_dvc(tmp_path):
    """`dvc exp run -S` writes the whole file again, without quotes."""
    path = tmp_path / "params.yaml"
    shutil.copy(PROJECT / "params.yaml", path)
    with modify_yaml(path) as values:
        values["seed"] = 5
    assert load_yaml(path) == load_yaml(PROJECT / "params.yaml") | {"seed": 5}


def test_setting_the_current_value_changes_nothing(toy):
    before = (toy.root / "params.yaml").read_bytes()
    assert apply(toy.root, ["first.naps=1"]) == []
    assert (toy.root / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("first.nasp=3", "first.nasp is unknown; did you mean naps?"),
        ("frist.naps=3", "frist section is unknown; did you mean first?"),
        ("first.naps=many", "first.naps: input should be a valid integer, not 'many'"),
        ("first.naps=-1", "first.naps: input should be greater than or equal to 0"),
        ("first.naps", "expected key=value"),
        ("first.naps=[1", "is not a valid YAML value"),
        ("first.naps.deep=1", "naps has no keys below it"),
        ("=1", "expected key=value"),
    ],
)
def test_a_refused_override_says_why_and_leaves_the_file_unchanged(toy, override, words):
    before = (toy.root / "params.yaml").read_bytes()
    with pytest.raises(ParamError) as refused:
        apply(toy.root, ["first.naps=2", override])
    assert words in str(refused.value)
    assert (toy.root / "params.yaml").read_bytes() == before
    assert not list(toy.root.glob(".params*"))


@pytest.mark.slow
def test_a_checked_edit_may_be_refused_but_never_writes(toy):
    before = (toy.root / "params.yaml").read_bytes()
    text, changes = checked(toy.root, ["first.naps=2"])
    assert changes == [Change("first.naps", 1, 2)]
    assert "naps: 2 # of a tenth of a second" in text
    with pytest.raises(ParamError):
        checked(toy.root, ["first.naps=x"])
    assert (toy.root / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [1", "while parsing"),
        ("- a\n", "expected a mapping of sections"),
        ("a: 1\na: 2\n", "duplicate"),
    ],
)
def test_a_damaged_params_file_is_refused_with_a_reason(tmp_path, text, reason):
    (tmp_path / "params.yaml").write_text(text)
    for look in (apply, preview):
        with pytest.raises(ParamError, match=rf"(?s)params\.yaml: .*{reason}"):
            look(tmp_path, ["x.y=1"])
    (tmp_path / "params.yaml").unlink()
    with pytest.raises(ParamError, match="No such file"):
        preview(tmp_path, [])


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_the_error_for_a_former_key_gives_its_new_name(tmp_path, old, new):
    """The new name is then missing too, but the error must not mention that."""
    values = load_yaml(PROJECT / "params.yaml")
    section, old_key, new_key = old.split(".")[0], old.split(".")[-1], new.split(".")[-1]
    values[section][old_key] = values[section].pop(new_key)
    with pytest.raises(ParamError, match=f"{old} is now called {new}"):
        importlib.import_module(f"tasks.{section}.step").check(values)


def test_an_error_from_another_process_keeps_its_text():
    for text in ("params.yaml: seed: no\n  Set it.", "a: b\nc\n  d", "no colon"):
        error = ParamError.parse(text)
        assert error.where
        assert error.fix
        assert str(error).startswith(text.partition("\n")[0])
    assert str(ParamError.parse("x: y\n  Fix it.\n")) == "x: y\n  Fix it."


def test_a_pickled_error_keeps_all_its_parts():
    error = StageFailed("no", where="stage a", fix="Run it again.")
    error.exit_code, error.died = 7, True
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.exit_code, again.died) == (str(error), 7, True)
