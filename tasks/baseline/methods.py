"""The methods by name, and what each needs to choose."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from tasks.baseline import by_score
from tasks.baseline.by_score import Score, Scores
from tasks.lib.prompts.geometry import Mode
from tasks.lib.similarity.cosine import Rows, Vectors


class Method(StrEnum):
    """How to choose; docs/measures.md says where each comes from."""

    RANDOM = "random"
    SHORTEST = "shortest"
    LONGEST = "longest"
    ROUGE_DIVERSITY = "rouge_diversity"
    K_CENTER = "k_center"
    CBS = "cbs"
    FACILITY_LOCATION = "facility_location"
    MEDOIDS = "medoids"
    RANDOM_IN_PROMPTS = "random_in_prompts"
    RUBRIC_IN_PROMPTS = "rubric_in_prompts"
    PERPLEXITY_LOW = "perplexity_low"
    PERPLEXITY_MID = "perplexity_mid"
    PERPLEXITY_HIGH = "perplexity_high"
    OPENNESS = "openness"
    ALPAGASUS = "alpagasus"
    ALPAGASUS_THRESHOLD = "alpagasus_threshold"


IN_PROMPTS = frozenset({Method.RANDOM_IN_PROMPTS, Method.RUBRIC_IN_PROMPTS})
AT_RANDOM = frozenset({Method.RANDOM, Method.RANDOM_IN_PROMPTS})
"""Methods that are nothing but chance: one choice says little, so each runs with many seeds."""

SCORED = {
    Method.PERPLEXITY_LOW: Score.PERPLEXITY,
    Method.PERPLEXITY_MID: Score.PERPLEXITY,
    Method.PERPLEXITY_HIGH: Score.PERPLEXITY,
    Method.OPENNESS: Score.OPENNESS,
    Method.ALPAGASUS: Score.RATING,
    Method.ALPAGASUS_THRESHOLD: Score.RATING,
}
"""Methods that choose by what a model made of each record, and by which score."""

MIN_RATING = 4.5  # of 5, as Alpagasus keeps records

MAX_RECORDS = {Method.CBS: 85_000, Method.FACILITY_LOCATION: 250_000}
"""Records above which a method is left out: it would take more than seven or eight minutes."""

MAX_PAIRS = {Method.K_CENTER: 2_000_000_000, Method.MEDOIDS: 500_000_000}
"""The same for methods whose time grows with records x budget."""


class Pool(NamedTuple):
    """What there is to choose from; row i is record i.

    Attributes:
        texts: Instruction, then input.
        vectors: float32, shape (n, d), unit norm.
        prompts: For each way to compose them, the prompts that part the records.
        scores: Those that the methods to be used choose by, as far as they are known.
    """

    texts: Sequence[str]
    vectors: Vectors
    prompts: Mapping[Mode, Sequence[Rows]]
    scores: Mapping[Score, Scores] = MappingProxyType({})


class Choice(NamedTuple):
    """The rows that a method chose with a seed, the most wanted first.

    Attributes:
        method: The method's name; of a method in prompts with their mode, as in random_within.
    """

    method: str
    seed: int
    rows: Rows


def choices(method: Method, pool: Pool, budget: int, seed: int, n_seeds: int) -> Iterator[Choice]:
    """All choices of a method, each of `budget` distinct rows.

    None if there is `too_much`, or if the method goes by a score that the pool has not.
    A method at random chooses with each of `n_seeds` seeds from `seed` on, the others with `seed`
    alone; those in prompts do so for each way to compose prompts that the pool has.
    """
    if too_much(method, len(pool.texts), budget):
        return
    if method in SCORED and SCORED[method] not in pool.scores:
        return
    for one in range(seed, seed + (n_seeds if method in AT_RANDOM else 1)):
        if method in IN_PROMPTS:
            for mode in pool.prompts:
                name = f"{method.value.partition('_')[0]}_{mode}"
                yield Choice(name, one, _choose_in(method, pool, mode, budget, one))
        else:
            yield Choice(method, one, _choose(method, pool, budget, one))


def too_much(method: Method, n_records: int, budget: int) -> str:
    """What makes a method too slow, in words; empty where it is not."""
    if n_records > MAX_RECORDS.get(method, n_records):
        return f"above {MAX_RECORDS[method]:,} records"
    if n_records * budget > MAX_PAIRS.get(method, n_records * budget):
        return f"above {MAX_PAIRS[method]:,} records x budget"
    return ""


def _choose(method: Method, pool: Pool, budget: int, seed: int) -> Rows:
    if method in SCORED:
        return _choose_by(method, pool.scores[SCORED[method]], budget, seed)
    from tasks.baseline import by_density, by_text, by_vector  # noqa: PLC0415  scikit-learn

    texts, vectors = pool.texts, pool.vectors
    ways: dict[Method, Callable[[], Rows]] = {
        Method.RANDOM: lambda: by_text.at_random(len(texts), budget, seed),
        Method.SHORTEST: lambda: by_text.by_length(texts, budget, longest=False),
        Method.LONGEST: lambda: by_text.by_length(texts, budget, longest=True),
        Method.ROUGE_DIVERSITY: lambda: by_text.rouge_diversity(texts, budget, seed),
        Method.K_CENTER: lambda: by_vector.k_center(vectors, budget),
        Method.CBS: lambda: by_density.cluster_based(vectors, budget, seed),
        Method.FACILITY_LOCATION: lambda: by_vector.facility_location(vectors, budget, seed),
        Method.MEDOIDS: lambda: by_density.medoids(vectors, budget, seed),
    }
    return ways[method]()


def _choose_by(method: Method, scores: Scores, budget: int, seed: int) -> Rows:
    ways: dict[Method, Callable[[Scores, int, int], Rows]] = {
        Method.PERPLEXITY_LOW: by_score.lowest,
        Method.PERPLEXITY_MID: by_score.middle,
        Method.PERPLEXITY_HIGH: by_score.highest,
        Method.OPENNESS: by_score.highest,
        Method.ALPAGASUS: by_score.highest,
        Method.ALPAGASUS_THRESHOLD: partial(by_score.reaching, MIN_RATING),
    }
    return ways[method](scores, budget, seed)


def _choose_in(method: Method, pool: Pool, mode: Mode, budget: int, seed: int) -> Rows:
    from tasks.baseline import in_prompts  # noqa: PLC0415  OR-Tools

    if method is Method.RANDOM_IN_PROMPTS:
        return in_prompts.at_random(pool.prompts[mode], budget, seed)
    return in_prompts.by_rubric(pool.prompts[mode], pool.texts, budget, seed)
