"""Define the expectations for each table, as one Great Expectations suite per table.

Each expectation ends with the sentence that a report shows; it is unique in its table.
"""

from great_expectations.expectations.expectation import Expectation

from tasks.lib.core.drops import DedupeDrop, IngestDrop
from tasks.lib.core.schemas import POOL
from tasks.validate.artifacts import METHODS, Limits
from tasks.validate.gx_names import (
    absent,
    at_least,
    between,
    columns,
    count,
    distinct,
    distinct_together,
    equal,
    matches,
    present,
    within,
)

WORDS = {
    "prompt": "prompt",
    "slot": "slot",
    "rank": "rank",
    "score": "judge score",
    "votes": "number of votes",
    "method": "method",
}
NORM_TOLERANCE = 1e-3  # far above the error of a sum of 1,000 float32 squares


def suites(limits: Limits) -> dict[str, list[Expectation]]:
    """Return the expectations for each table, in reading order."""
    return {
        "stages": [equal("rows_in", "accounted", "Rows in equal rows kept plus rows dropped")],
        "reported": [
            equal("reported", "counted", "Numbers that stages report equal our own counts")
        ],
        "pool": [
            columns([*POOL.names, "recomputed_id"], "The columns are those of a pool"),
            present("id", "Every record has an id"),
            present("instruction", "Every record has an instruction"),
            distinct("id", "No id occurs twice"),
            matches("id", "^[0-9a-f]{16}$", "Each id is 16 hexadecimal digits"),
            equal("id", "recomputed_id", "Each id is the hash of its record's text"),
        ],
        "ingest_dropped": [
            within("reason", list(IngestDrop), "Each dropped row has a known reason")
        ],
        "dedupe_dropped": [
            within("reason", list(DedupeDrop), "Each duplicate has a known reason"),
            distinct("id", "No record is dropped twice"),
            within("in_pool", [True], "Each duplicate is in the pool"),
            within("kept", [False], "No duplicate is also kept"),
            within("original_kept", [True], "The original of each duplicate is kept or held out"),
            between("similarity", 0, 1, "Each similarity is between 0 and 1"),
        ],
        "unique": [
            distinct("id", "No record is kept twice"),
            within("in_pool", [True], "Each kept record is in the pool"),
            within("n_slots", [1], "Each kept record has exactly one slot"),
        ],
        "known": [
            distinct("id", "No record is listed twice"),
            within("unique", [True], "Each record that repeats an annotated one is unique"),
            within("annotated", [True], "Each repeated record is annotated"),
            within("selected", [False], "No record that repeats an annotated one is selected"),
        ],
        "vectors": [
            present("norm", "Each vector is finite"),
            between("norm", 1 - NORM_TOLERANCE, 1 + NORM_TOLERANCE, "Each vector has unit norm"),
        ],
        "prompts": [
            equal("prompt", "expected", "Prompts are numbered from 1 without gaps"),
            at_least(
                "size",
                "smallest",
                "Sizes differ by at most one, except for earlier prompts: none is too small",
            ),
            at_least(
                "largest",
                "size",
                "Sizes differ by at most one, except for earlier prompts: none is too large",
            ),
            within("first_slot", [1], "Slots start at 1"),
            equal("last_slot", "size", "The last slot equals the size of the prompt"),
            equal("n_slots", "size", "No slot is used twice"),
        ],
        "ballots": [
            distinct("id", "No record is judged twice"),
            distinct_together(["prompt", "slot"], "No slot is judged twice"),
            within("method", METHODS, "Each record was judged in a known way"),
            within("shown", [True], "Each judged record was a candidate"),
            equal("prompt", "shown_prompt", "Each record has the prompt in which it was shown"),
            equal("slot", "shown_slot", "Each record has the slot in which it was shown"),
            between("score", 0, 1, "Each judge score is between 0 and 1"),
            within("is_consistent", [True], "No record that was set aside has a rank or a score"),
        ],
        "rankings": [
            equal("n_ballots", "size", "Every candidate of a judged prompt is judged"),
            within("first_rank", [1], "Ranks start at 1"),
            equal("last_rank", "n_ranked", "The last rank equals the number of ranked records"),
            equal("n_ranks", "n_ranked", "No rank is given twice"),
        ],
        "selected": [
            count(limits.n_selected, f"There are exactly {limits.n_selected:,} records"),
            distinct("id", "No record is selected twice"),
            within("in_pool", [True], "Each record is in the pool"),
            equal("id", "recomputed_id", "Each id is the hash of its record's text"),
            present("ballot_prompt", "Each record was judged"),
            *(
                equal(name, f"ballot_{name}", f"The {words} agrees with the ballots")
                for name, words in WORDS.items()
            ),
            between("gain", 0, 1, "Each coverage gain is between 0 and 1"),
            equal("cluster", "shown_cluster", "The cluster agrees with the prompts"),
        ],
        "texts": [
            between("instruction_chars", 1, None, "No instruction is blank"),
            between(
                "chars",
                None,
                limits.max_chars,
                f"No text has more than {limits.max_chars:,} characters",
            ),
            absent("same_as", "No two texts differ only in typography or white space"),
            absent("outside", "No text is that of an annotated or held-out record"),
            absent(
                "near_outside",
                "No text is a near-duplicate of an annotated or held-out record",
                is_warning=True,
            ),
            *_near_rate("near_outside", limits.max_near_rate, "near-duplicates of those records"),
            absent("near_to", "No two texts are near-duplicates", is_warning=True),
            *_near_rate("near_to", limits.max_near_rate, "near-duplicates"),
        ],
        "quotas": [equal("wanted", "selected", "Each quota is met exactly")],
        "budget_quotas": [
            equal(
                "wanted",
                "selected",
                "Each quota is met exactly at each smaller budget",
                is_warning=True,
            )
        ],
        "targets": [
            at_least(
                "selection",
                "random",
                "The selection is closer to the held-out targets than random selections are",
                is_warning=True,
            )
        ],
        "methods": [
            at_least("max_share", "share", "No method has more than its share of the selection")
        ],
        "judge": [
            at_least(
                "allowed",
                "found",
                "The judge decides by the texts, not by slots, and not at random",
                is_warning=not limits.is_judge_strict,
            )
        ],
    }


def _near_rate(column: str, max_rate: float | None, what: str) -> list[Expectation]:
    if max_rate is None:
        return []
    return [absent(column, f"At most {max_rate:g} of the texts are {what}", max_share=max_rate)]
