"""List the spaces in which each method chooses; good values there prove nothing."""

from collections.abc import Mapping

from tasks.lib.documents.metrics import OURS

VECTORS = ("vectors",)
CHOSEN_IN: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("random", "shortest", "longest"), ()),
    **dict.fromkeys(("perplexity_low", "perplexity_mid", "perplexity_high", "openness"), ()),
    **dict.fromkeys(("k_center", "cbs", "facility_location", "medoids", "novelselect"), VECTORS),
    "whitened_facility_location": VECTORS,
    "rouge_diversity": ("words",),
    "random_in_prompts": VECTORS,
    "typical_in_prompts": ("words", "vectors"),
    **dict.fromkeys((OURS, "qdit", "deita"), VECTORS),
    "alpagasus": ("outputs",),
    "alpagasus_threshold": ("outputs",),
}
"""The spaces in which a method chooses, and spaces similar to them. Prompts and coverage depend on
vectors; typicality compares words; a rater reads outputs."""

BY_JUDGE = frozenset({OURS, "qdit", "deita"})  # they also choose in the judge's spaces
MODES = ("within", "across", "paper")


def chosen_in(method: str, *, is_typical_judge: bool) -> tuple[str, ...] | None:
    """Return the spaces in which a method chooses; None if the method is unknown.

    Args:
        method: The method's name. If it chooses in prompts, the name ends with their mode, as in
            random_within.
        is_typical_judge: Whether the judge is the offline judge, which compares words.
    """
    stem, _, mode = method.rpartition("_")
    name = f"{stem}_in_prompts" if mode in MODES else method
    if is_typical_judge and name in BY_JUDGE:
        return CHOSEN_IN["typical_in_prompts"]
    return CHOSEN_IN.get(name)
