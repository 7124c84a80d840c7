"""List the baseline methods. To add one, write its function, and add a name and an entry here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from tasks.baseline import (
    by_coverage,
    by_density,
    by_quality_and_diversity,
    by_score,
    by_text,
    by_vector,
    in_prompts,
)
from tasks.baseline.by_score import Score, Scores
from tasks.lib.prompts.prompt_size import Mode
from tasks.lib.similarity.cosine import Rows, Vectors
from tasks.lib.similarity.selections import MethodSelection

MIN_RATING = 4.5  # out of 5; Alpagasus keeps records with at least this rating


class MethodName(StrEnum):
    """The names in `baseline.methods`; docs/reference/baselines.md gives their sources."""

    RANDOM = "random"
    SHORTEST = "shortest"
    LONGEST = "longest"
    ROUGE_DIVERSITY = "rouge_diversity"
    K_CENTER = "k_center"
    CBS = "cbs"
    FACILITY_LOCATION = "facility_location"
    WHITENED_FACILITY_LOCATION = "whitened_facility_location"
    MEDOIDS = "medoids"
    NOVELSELECT = "novelselect"
    QDIT = "qdit"
    DEITA = "deita"
    RANDOM_IN_PROMPTS = "random_in_prompts"
    TYPICAL_IN_PROMPTS = "typical_in_prompts"
    PERPLEXITY_LOW = "perplexity_low"
    PERPLEXITY_MID = "perplexity_mid"
    PERPLEXITY_HIGH = "perplexity_high"
    OPENNESS = "openness"
    ALPAGASUS = "alpagasus"
    ALPAGASUS_THRESHOLD = "alpagasus_threshold"


class BaselinePool(NamedTuple):
    """The records to select from; row i is record i.

    Attributes:
        texts: Instruction, then input.
        vectors: float32, shape (n, d), unit norm.
        prompts: The records grouped into prompts, once for each mode of composing them.
        scores: The available scores; a method may need one that is missing.
    """

    texts: Sequence[str]
    vectors: Vectors
    prompts: Mapping[Mode, Sequence[Rows]]
    scores: Mapping[Score, Scores] = MappingProxyType({})

    @property
    def only_prompts(self) -> Sequence[Rows]:
        """Return the prompts of a pool that has only one mode."""
        (prompts,) = self.prompts.values()
        return prompts


class BaselineMethod(NamedTuple):
    """A function that selects records, and the limits within which it is fast enough.

    Attributes:
        select: Returns `budget` distinct rows of a pool; called with pool, budget and seed.
        score: The score that it selects by; None if it needs no score.
        in_prompts: Whether it selects inside prompts. It then runs once for each mode of
            `BaselinePool.prompts`, with only that mode in the pool.
        is_random: Whether it selects at random. A single selection would mean little, so it runs
            with many seeds.
        max_records: The number of records above which it takes more than about eight minutes.
        max_pairs: The corresponding limit on records x budget, if the time grows with both.
    """

    select: Callable[[BaselinePool, int, int], Rows]
    score: Score | None = None
    in_prompts: bool = False
    is_random: bool = False
    max_records: int | None = None
    max_pairs: int | None = None


def _by(score: Score, rank: Callable[[Scores, int, int], Rows]) -> BaselineMethod:
    return BaselineMethod(lambda p, budget, seed: rank(p.scores[score], budget, seed), score)


def _by_judge(select: Callable[[Vectors, Scores, int, int], Rows]) -> BaselineMethod:
    return BaselineMethod(
        lambda p, budget, seed: select(p.vectors, p.scores[Score.JUDGE], budget, seed),
        Score.JUDGE,
        max_records=250_000,
    )


METHODS: Mapping[MethodName, BaselineMethod] = {
    MethodName.RANDOM: BaselineMethod(
        lambda p, budget, seed: by_text.random_rows(len(p.texts), budget, seed), is_random=True
    ),
    MethodName.SHORTEST: BaselineMethod(
        lambda p, budget, _: by_text.by_length(p.texts, budget, longest=False)
    ),
    MethodName.LONGEST: BaselineMethod(
        lambda p, budget, _: by_text.by_length(p.texts, budget, longest=True)
    ),
    MethodName.ROUGE_DIVERSITY: BaselineMethod(
        lambda p, budget, seed: by_text.rouge_diversity(p.texts, budget, seed)
    ),
    MethodName.K_CENTER: BaselineMethod(
        lambda p, budget, _: by_vector.k_center(p.vectors, budget), max_pairs=2_000_000_000
    ),
    MethodName.CBS: BaselineMethod(
        lambda p, budget, seed: by_density.cluster_based(p.vectors, budget, seed),
        max_records=85_000,
    ),
    MethodName.FACILITY_LOCATION: BaselineMethod(
        lambda p, budget, seed: by_coverage.facility_location(p.vectors, budget, seed),
        max_records=250_000,
    ),
    MethodName.WHITENED_FACILITY_LOCATION: BaselineMethod(
        lambda p, budget, seed: by_coverage.whitened_facility_location(p.vectors, budget, seed),
        max_records=250_000,
    ),
    MethodName.NOVELSELECT: BaselineMethod(
        lambda p, budget, seed: by_coverage.novelselect(p.vectors, budget, seed),
        max_pairs=40_000_000,
    ),
    MethodName.QDIT: _by_judge(by_quality_and_diversity.qdit),
    MethodName.DEITA: _by_judge(by_quality_and_diversity.deita),
    MethodName.MEDOIDS: BaselineMethod(
        lambda p, budget, seed: by_density.medoids(p.vectors, budget, seed), max_pairs=500_000_000
    ),
    MethodName.RANDOM_IN_PROMPTS: BaselineMethod(
        lambda p, budget, seed: in_prompts.random_rows(p.only_prompts, budget, seed),
        in_prompts=True,
        is_random=True,
    ),
    MethodName.TYPICAL_IN_PROMPTS: BaselineMethod(
        lambda p, budget, seed: in_prompts.by_typicality(p.only_prompts, p.texts, budget, seed),
        in_prompts=True,
    ),
    MethodName.PERPLEXITY_LOW: _by(Score.PERPLEXITY, by_score.lowest),
    MethodName.PERPLEXITY_MID: _by(Score.PERPLEXITY, by_score.middle),
    MethodName.PERPLEXITY_HIGH: _by(Score.PERPLEXITY, by_score.highest),
    MethodName.OPENNESS: _by(Score.OPENNESS, by_score.highest),
    MethodName.ALPAGASUS: _by(Score.RATING, by_score.highest),
    MethodName.ALPAGASUS_THRESHOLD: _by(Score.RATING, partial(by_score.reaching, MIN_RATING)),
}


def selections(
    name: MethodName, pool: BaselinePool, budget: int, seed: int, n_seeds: int
) -> Iterator[MethodSelection]:
    """Yield all selections of a method, each of `budget` distinct rows.

    If the method is `too_slow` or the pool lacks its score, there are none. A random method runs
    with `n_seeds` consecutive seeds, starting at `seed`; other methods run only with `seed`.
    A method that selects in prompts runs once for each mode of the pool's prompts, and the name of
    the selection ends with that mode, as in random_within.
    """
    method = METHODS[name]
    if too_slow(name, len(pool.texts), budget) or (
        method.score and method.score not in pool.scores
    ):
        return
    for seed_of_run in range(seed, seed + (n_seeds if method.is_random else 1)):
        if not method.in_prompts:
            yield MethodSelection(name, seed_of_run, method.select(pool, budget, seed_of_run))
            continue
        for mode, prompts in pool.prompts.items():
            rows = method.select(pool._replace(prompts={mode: prompts}), budget, seed_of_run)
            yield MethodSelection(f"{name.removesuffix('_in_prompts')}_{mode}", seed_of_run, rows)


def too_slow(name: MethodName, n_records: int, budget: int) -> str:
    """Return, in words, the limit that makes a method too slow; empty if it is fast enough."""
    method = METHODS[name]
    if method.max_records and n_records > method.max_records:
        return f"above {method.max_records:,} records"
    if method.max_pairs and n_records * budget > method.max_pairs:
        return f"above {method.max_pairs:,} records x budget"
    return ""
