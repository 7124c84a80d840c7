"""The names under which the report and the terminal show methods, metrics and counts.

This module is not in `core`, so a changed label makes only the stages that show it stale.
"""

from tasks.lib.documents.metrics import OURS, RANDOM

METHODS = {OURS: "this selection", RANDOM: "random"}
METRICS = {
    "coverage_mean": "Distance to the nearest selected record, mean",
    "coverage_p95": "Distance to the nearest selected record, 95th percentile",
    "coverage_max": "Distance to the nearest selected record, maximum",
    "facility_location": "Facility location: similarity to the nearest selected record",
    "redundancy": "Redundancy: similarity of selected records to each other",
    "vendi": "Vendi score: effective number of different records",
    "novel_sum": "NovelSum: novelty of selected records relative to each other",
    "distinct_2": "Distinct pairs of words",
    "knn_probe_rouge_l": "kNN probe\u2019s ROUGE\u2011L",
    "knn_probe_cosine": "kNN probe\u2019s cosine similarity",
}
SPACES = {
    "outputs": "the words of the outputs, which only rating-based methods read",
    "words": "the words of instruction and input",
    "characters": "runs of 3 and 4 characters of instruction and input",
    "vectors": "the vectors that group the records and guide most methods",
}
SOLVERS = {
    "k_means_constrained": "k-means-constrained",
    "balanced": "our balanced k-means",
    "balanced_tree": "a tree of our balanced k-means",
    "round_robin": "taking turns",
}
LEADING = (
    "outputs.coverage_mean",
    *(f"words.{name}" for name in ("coverage_mean", "redundancy", "vendi", "knn_probe_rouge_l")),
)
"""The most important metrics of a selection."""

FUNNEL = {
    "rows": "rows read",
    "excluded": "excluded, as params.yaml says",
    "faulty": "faulty, dropped with a reason",
    "repeated": "repeated, word for word",
    "duplicates": "duplicates of others",
    "unique": "unique records",
    "prompts": "prompts to the model",
    "selected": "selected",
}


def method_name(method: str) -> str:
    """Return a method's name in plain words."""
    return METHODS.get(method, method.replace("_", " "))


def solver_name(solver: str) -> str:
    """Return a cluster solver's name in plain words."""
    return SOLVERS.get(solver, solver.replace("_", " "))


def metric_name(metric: str) -> str:
    """Return a metric's name in plain words, including the group of ``GROUP.METRIC``."""
    group, _, name = metric.rpartition(".")
    words = METRICS.get(name, name.replace("_", " "))
    return f"{words} (in {'texts' if group == 'text' else group})" if group else words


def metric_rank(metric: str) -> tuple[int, int, str]:
    """Return a sort key that orders metrics by group, then as METRICS does."""
    group, _, name = metric.rpartition(".")
    return _place(group, (*SPACES, "text")), _place(name, tuple(METRICS)), metric


def _place(name: str, known: tuple[str, ...]) -> int:
    return [*known, name].index(name)
