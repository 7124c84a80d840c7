"""Documents that stages exchange: one format on disk, and errors that name the fault."""

import json
from pathlib import Path

import pytest

from tasks.lib.core.errors import DataError
from tasks.lib.documents.clusters import Clusters
from tasks.lib.documents.metrics import BaselineUsage, Metrics, jaccard
from tasks.lib.documents.usage import Usage
from tests.sound_run import CLUSTERS, FAIR

SIZES = {"n_records": 7, "n_prompts": 3}
USAGE = FAIR


def test_a_document_is_read_as_it_was_written(tmp_path: Path):
    path = tmp_path / "clusters.json"
    written = Clusters(**CLUSTERS, **SIZES)
    written.write(path)
    assert Clusters.read(path) == written
    assert path.read_text() == json.dumps({**CLUSTERS, **SIZES}, indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "invalid JSON"),
        ("[]", "should be an object"),
        (json.dumps(CLUSTERS | {"n_records": 7}), "the field n_prompts is missing"),
        (json.dumps(CLUSTERS | SIZES | {"mood": 1}), "the field mood is unknown"),
        (json.dumps(CLUSTERS | SIZES | {"seed": "x"}), "seed: input should be a valid integer"),
    ],
)
def test_a_faulty_document_is_refused_with_its_file_and_field(
    tmp_path: Path, text: str, words: str
):
    path = tmp_path / "clusters.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        Clusters.read(path)
    assert words in caught.value.what
    assert (caught.value.where, "dvc repro" in caught.value.fix) == (str(path), True)


def test_the_error_for_a_renamed_field_gives_its_new_name():
    old = {k: v for k, v in USAGE.items() if k != "attention_checks"} | {"canaries": {}}
    with pytest.raises(DataError, match="the field canaries is now called attention_checks"):
        Usage.parse(json.dumps(old), "usage.json")


def test_baseline_usage_has_a_cost_for_each_method_that_calls_a_model():
    cost = {"calls": 3, "prompt_tokens": 30, "completion_tokens": 3, "usd": 0.5}
    usage = BaselineUsage.parse(json.dumps({"alpagasus": cost}), "usage.json")
    assert usage.costs["alpagasus"].calls == 3
    with pytest.raises(DataError, match=r"alpagasus\.usd is missing"):
        BaselineUsage.parse(
            '{"alpagasus": {"calls": 3, "prompt_tokens": 0, "completion_tokens": 0}}', "x"
        )


def test_jaccard_is_the_share_of_common_elements():
    assert jaccard({1, 2}, {2, 3}) == 1 / 3
    assert jaccard(set(), set()) == 0


def test_a_metric_with_a_former_name_is_refused_with_its_new_name(tmp_path):
    former = {"methods": {}, "curves": {"sizes": [], "methods": {}}, "lower_is_better": []}
    former |= {"overlap": {"methods": [], "jaccard": []}, "higher_is_better": ["student_cosine"]}
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(former))
    with pytest.raises(DataError, match="student_cosine is now called knn_probe_cosine"):
        Metrics.read(path)
