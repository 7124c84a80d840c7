"""Methods that select by a model's ratings: their selections, calls and cost."""

import json
import logging

import numpy as np
import pyarrow as pa
import pytest

from flows.cli import show_cost as show_money
from tasks.baseline.step import check, work
from tasks.estimate.quote_ratings import quote_ratings
from tasks.lib.core.errors import LLMError, ParamError
from tasks.lib.core.schemas import POOL, SELECTIONS, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tests.behaviours import fails, rates, says
from tests.workspaces import StepWorkspace

RATINGS = [2, 5, 4.5, 3, 4.5, 0, 5, 1, 4, 4.5]
RATED = ["alpagasus", "alpagasus_threshold"]
BUDGET = 3


def by_output(call):
    """Give the rating that the output names."""
    return rates(float(call.item[1].split()[-1]))(call)


class Desk(StepWorkspace):
    """A workspace in which the records are ready for the baseline step."""

    def __init__(self, root, provider):
        super().__init__(root)
        self.provider = provider
        for name in ("cluster/prompts.parquet", "cluster/clusters.json"):
            self.file(name).touch()  # not read: no method here uses prompts
        self.fill([f"It is worth {rating}" for rating in RATINGS])

    def fill(self, outputs):
        """Write records with these outputs."""
        n = len(outputs)
        columns = {name: [""] * n for name in POOL.names}
        columns |= {"id": [f"{i:016x}" for i in range(n)], "output": outputs, "extra": ["{}"] * n}
        columns |= {"instruction": [f"Say {i}." for i in range(n)]}
        self.write("ingest/pool.parquet", pa.table(columns, schema=POOL), POOL)
        self.write("dedupe/unique.parquet", [{"id": id_} for id_ in columns["id"]], UNIQUE)
        np.save(self.file("embed/vectors.npy"), np.zeros((n, 2), np.float32))

    def values(self, methods=RATED, route="mine", budget=BUDGET, max_usd=5.0):
        section = {"methods": [*methods], "n_seeds": 2, "response_tokens": 8, "route": route}
        calls = {"max_attempts": 3, "timeout_s": 20.0, "concurrency": 4}
        return {
            "seed": 0,
            "baseline": section | {"max_usd": max_usd, "max_answer_tokens": 64},
            "llm_select": {"budget": budget} | calls,
            "models": {
                "mine": self.provider.deployment(),
                "keyed": {"model": "openai/gpt-4o-mini", "schema": "auto"},
                "offline": {"model": "offline/typical", "schema": "never"},
            },
        }

    def run(self, **changes):
        """Run the step; return what each method selects with its first seed, as indices."""
        (self.root / "params.yaml").write_text(json.dumps(self.values(**changes)))
        Stage("baseline", self.root).run(work)
        rows = read_table(self.root / "data/baseline/selections.parquet", SELECTIONS).to_pylist()
        chosen = {row["method"]: [] for row in rows}
        for row in rows:
            if row["seed"] == 0:
                chosen[row["method"]].append(int(row["id"], 16))
        return chosen

    def bill(self):
        return json.loads((self.root / "data/baseline/usage.json").read_text())


@pytest.fixture
def desk(tmp_path, provider, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    provider.behave = by_output
    return Desk(tmp_path, provider)


def test_the_highest_rated_or_random_ones_above_the_threshold_are_selected(desk):
    chosen = desk.run()
    assert set(chosen["alpagasus"][:2]) == {1, 6}
    assert chosen["alpagasus"][2] in (2, 4, 9)
    assert set(chosen["alpagasus_threshold"]) < {1, 2, 4, 6, 9}
    more = desk.run(budget=7)
    assert set(more["alpagasus_threshold"][:5]) == {1, 2, 4, 6, 9}
    assert more["alpagasus_threshold"][5:] == more["alpagasus"][5:] == [8, 3]
    assert more["alpagasus"][:3] == chosen["alpagasus"]


def test_both_methods_and_every_budget_use_the_same_ratings_paid_once(desk):
    desk.run()
    n_in, n_out = desk.provider.tokens
    bill = {"calls": 10, "prompt_tokens": n_in, "completion_tokens": n_out}
    bill |= {"usd": pytest.approx(desk.provider.usd)}
    assert desk.bill() == {"alpagasus": bill, "alpagasus_threshold": bill}
    selections = (desk.root / "data/baseline/selections.parquet").read_bytes()
    desk.provider.behave = fails(500)
    desk.run()
    assert (desk.root / "data/baseline/selections.parquet").read_bytes() == selections
    desk.run(methods=["random", "alpagasus"], budget=5)
    assert desk.bill() == {"alpagasus": bill}
    assert len(desk.provider.calls) == 10


def test_the_actual_usage_lies_inside_the_estimate(desk, capsys):
    desk.run(methods=["random"])
    assert quote_ratings(desk.root, desk.values(methods=["random"])) is None
    quoted = quote_ratings(desk.root, desk.values())
    assert not desk.provider.calls
    show_money.ratings(quoted)
    desk.run()
    n_in, n_out = desk.provider.tokens
    assert quoted.work.calls == (10, 10)
    assert quoted.work.prompt_tokens[0] < n_in < quoted.work.prompt_tokens[1]
    assert quoted.work.completion_tokens[0] <= n_out < quoted.work.completion_tokens[1]
    assert quoted.cost.usd[0] < desk.provider.usd < quoted.cost.usd[1]
    shown = " ".join(capsys.readouterr().out.split())
    assert "additionally, ratings for baseline.methods: 10 calls, " in shown
    assert "USD on mine (openai/fake), capped at 5 USD (baseline.max_usd)" in shown


def test_records_without_an_output_are_neither_rated_nor_selected(desk):
    desk.fill([None, "It is worth 0", None, "It is worth 5", "It is worth 1"])
    assert desk.run()["alpagasus"] == [3, 4, 1]
    assert len(desk.provider.calls) == 3


@pytest.mark.parametrize(
    ("outputs", "shown"), [([None] * 5, "0 of 5 records"), (["x", None, "y"], "2 of 3 records")]
)
def test_a_pool_with_too_few_outputs_is_refused_before_any_call(desk, outputs, shown):
    desk.fill(outputs)
    with pytest.raises(ParamError, match=shown) as refused:
        desk.run()
    assert "ingest/pool.parquet" in refused.value.where
    assert "ingest.columns" in refused.value.fix
    assert not desk.provider.calls
    assert set(desk.run(methods=["random"])) == {"random"}


def test_at_the_cap_a_warning_says_that_methods_are_left_out_and_paid_ratings_are_kept(
    desk, caplog
):
    chosen = desk.run(methods=["random", *RATED], max_usd=0.004)
    n_paid = len(desk.provider.calls)
    assert set(chosen) == {"random"}
    assert 0 < n_paid < 10
    assert desk.bill() == {}
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert f"alpagasus_threshold: after {n_paid} of 10 outputs" in warning
    assert "Raise this limit and run this again" in warning
    assert desk.run(max_usd=0.004) == {}
    assert set(desk.run()) == set(RATED)
    assert len(desk.provider.calls) == 10


def test_an_output_without_a_rating_is_reported_and_its_record_is_not_selected(desk, caplog):
    useless = says("I would rather not.")
    desk.provider.behave = lambda call: (useless if "Say 1." in call.item else by_output)(call)
    chosen = desk.run(budget=9)
    assert 1 not in chosen["alpagasus"] + chosen["alpagasus_threshold"]
    assert "no rating for 1 of 10 outputs" in caplog.text


def test_with_too_few_ratings_nothing_is_selected(desk, caplog):
    desk.provider.behave = says("I would rather not.")
    assert desk.run() == {}
    assert "only 0 outputs have a rating, fewer than the 3 to select" in caplog.text


def test_a_wrong_key_is_reported_in_the_providers_words(desk):
    desk.provider.behave = fails(401, "Incorrect API key provided")
    with pytest.raises(LLMError, match="Incorrect API key provided"):
        desk.run()
    assert not (desk.root / "data/baseline/selections.parquet").exists()


@pytest.mark.parametrize(
    ("route", "shown"),
    [
        ("offline", "baseline.route is offline, but the offline judge cannot rate"),
        ("keyed", "OPENAI_API_KEY is not set"),
        ("mien", "baseline.route: there is no route mien; did you mean mine"),
    ],
)
def test_a_route_that_cannot_rate_is_refused_before_a_run(desk, monkeypatch, route, shown):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ParamError, match=shown):
        check(desk.values(route=route))


def test_a_route_that_cannot_rate_is_accepted_if_nothing_is_rated(desk, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for route in ("offline", "keyed"):
        assert check(desk.values(methods=["random"], route=route))
