import pytest

from tasks.lib.core.dvc_yaml import read_graph
from tasks.lib.core.errors import GraphError

STAGE = "  {name}:\n    cmd: x\n    deps: [{deps}]\n    outs: [{name}.out]\n"
SHAPES = {
    "line": {"a": "", "b": "a.out", "c": "b.out"},
    "diamond": {"d": "b.out, c.out", "b": "a.out", "c": "a.out", "a": ""},
    "two roots": {"c": "a.out, b.out", "a": "", "b": ""},
}


def write(folder, shape, params="x: {y: 1}"):
    text = "".join(STAGE.format(name=name, deps=deps) for name, deps in shape.items())
    (folder / "dvc.yaml").write_text("stages:\n" + text)
    (folder / "params.yaml").write_text(params)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_stage_comes_after_its_upstream(tmp_path, shape):
    write(tmp_path, shape)
    seen = set()
    for stage in read_graph(tmp_path).stages:
        assert set(stage.upstream) <= seen
        assert stage.upstream == tuple(d.removesuffix(".out") for d in stage.deps)
        seen.add(stage.name)
    assert seen == set(shape)


def test_a_cycle_is_named(tmp_path):
    write(tmp_path, {"a": "c.out", "b": "a.out", "c": "b.out"})
    with pytest.raises(GraphError, match=r"cycle: .*a -> b"):
        read_graph(tmp_path)


def test_placeholders_are_filled_from_params(toy):
    first = read_graph(toy.root).stages[0]
    assert first.name == "first"
    assert first.deps[0] == "source.txt"


def test_a_placeholder_without_a_parameter_is_named(tmp_path):
    write(tmp_path, {"a": '"${x.z}"'})
    with pytest.raises(GraphError, match=r"stages.a: the stage uses \$\{x.z\}"):
        read_graph(tmp_path)


def test_without_a_graph_the_error_says_where_to_run(tmp_path):
    with pytest.raises(GraphError, match="inside a clone"):
        read_graph(tmp_path)
