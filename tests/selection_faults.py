"""Faults of a run in the tables from the ballots to the selection."""

from tests.pool_faults import HASH, NOWHERE, Fault, lose, put
from tests.sound_run import AGREEMENT, BIASED, IDS, INSTRUCTIONS, Run, numbered


def fall_back_twice(run: Run) -> None:
    for row in run.selected[:2]:
        row["method"] = "fallback"


RANKS_END = "The last rank equals the number of ranked records"
OF_SLOT = "Each record has the slot in which it was shown"
NEAR = ("No two texts are near-duplicates", "At most 0 of the texts are near-duplicates")
NEAR_OUTSIDE = (
    "No text is a near-duplicate of an annotated or held-out record",
    "At most 0 of the texts are near-duplicates of those records",
)
QUOTA = {"budget": 4, "column": "source", "value": "toy.jsonl", "n_wanted": 3}
QUOTA |= {"n_candidates": 7, "n_selected": 3}
TARGETS = {"n_steering": 2, "n_held_out": 2, "n_random": 20, "n_random_below": 3}
TARGETS |= {"cosine": 0.4, "random_cosine": 0.5}
GOES_BY_TEXT = "The judge decides by the texts, not by slots, and not at random"
JUDGED = ("prompt", "slot", "rank", "judge score", "number of votes", "method")
SELECTION_FAULTS = [
    Fault("ballots", ("No record is judged twice", OF_SLOT), IDS[1], put("ballots", 0, id=IDS[1])),
    Fault("ballots", ("No slot is judged twice", OF_SLOT), IDS[1], put("ballots", 0, slot=2)),
    Fault(
        "ballots",
        ("Each record was judged in a known way",),
        "guess",
        put("ballots", 1, method="guess"),
    ),
    Fault("ballots", ("Each judged record was a candidate",), IDS[7], put("ballots", 1, id=IDS[7])),
    Fault(
        "ballots",
        ("Each record has the prompt in which it was shown",),
        f"id {IDS[3]}, prompt 4, shown_prompt 2",
        put("ballots", 3, prompt=4),
    ),
    Fault("ballots", (OF_SLOT,), f"id {IDS[2]}, shown_slot 3, slot 4", put("ballots", 2, slot=4)),
    Fault(
        "ballots",
        ("Each judge score is between 0 and 1",),
        f"id {IDS[3]}, score 1.5",
        put("ballots", 3, score=1.5),
    ),
    Fault(
        "ballots",
        ("No record that was set aside has a rank or a score",),
        IDS[3],
        put("ballots", 3, set_aside="too_long"),
    ),
    Fault(
        "rankings",
        ("Every candidate of a judged prompt is judged",),
        "prompt 1, n_ballots 2, size 3",
        lose("ballots", 2),
    ),
    Fault("rankings", ("Ranks start at 1", RANKS_END), "prompt 2", put("ballots", 3, rank=2)),
    Fault("rankings", ("No rank is given twice", RANKS_END), "prompt 1", put("ballots", 0, rank=1)),
    Fault("selected", ("There are exactly 4 records",), "found 3", lose("selected", 3)),
    Fault(
        "selected",
        ("No record is selected twice",),
        IDS[1],
        lambda run: run.selected.__setitem__(1, run.selected[0]),
    ),
    Fault(
        "selected",
        ("Each record is in the pool", HASH, "Each record was judged"),
        NOWHERE,
        put("selected", 1, id=NOWHERE),
    ),
    Fault("selected", (HASH,), IDS[3], put("selected", 1, input="Time does not heal.")),
    Fault("selected", ("Each record was judged",), IDS[3], lambda run: run.ballots.pop(3)),
    Fault(
        "selected",
        tuple(f"The {words} agrees with the ballots" for words in JUDGED),
        f"id {IDS[0]}, ballot_prompt 1, prompt 2",
        put("selected", 3, prompt=2, slot=3, rank=4, score=0.1, votes=2, method="offline"),
    ),
    Fault(
        "selected",
        ("Each coverage gain is between 0 and 1",),
        f"id {IDS[3]}, gain -0.5",
        put("selected", 1, gain=-0.5),
    ),
    Fault(
        "selected",
        ("The cluster agrees with the prompts",),
        "cluster 3, shown_cluster 2",
        put("selected", 1, cluster=3),
    ),
    Fault("texts", ("No instruction is blank",), IDS[3], put("selected", 1, instruction=" \u00a0")),
    Fault(
        "texts",
        ("No text has more than 200 characters",),
        f"id {IDS[3]}, chars 212",
        put("selected", 1, instruction="x" * 201),
    ),
    Fault(
        "texts",
        ("No two texts differ only in typography or white space", *NEAR),
        f"id {IDS[3]}, same_as {IDS[1]}",
        put("selected", 1, instruction=INSTRUCTIONS[1].replace(" ", "\n"), input=""),
    ),
    Fault(
        "texts",
        NEAR,
        f"id {IDS[3]}, near_to {IDS[1]} by 0.897",
        put("selected", 1, instruction=INSTRUCTIONS[8], input=""),
    ),
    Fault(
        "texts",
        ("No text is that of an annotated or held-out record", *NEAR_OUTSIDE),
        f"id {IDS[3]}, outside {IDS[3]}",
        lambda run: run.held_out.append(numbered(3)),
    ),
    Fault(
        "texts",
        NEAR_OUTSIDE,
        f"id {IDS[1]}, near_outside {IDS[8]} by 0.897",
        lambda run: run.annotated.append(numbered(8)),
    ),
    Fault(
        "quotas",
        ("Each quota is met exactly",),
        "budget 4, column source, value toy.jsonl, selected 4, wanted 3",
        lambda run: run.choice.update(quotas=[QUOTA]),
    ),
    Fault(
        "budget_quotas",
        ("Each quota is met exactly at each smaller budget",),
        "budget 2, column source, value toy.jsonl, selected 2, wanted 3",
        lambda run: run.choice.update(quotas=[QUOTA | {"budget": 2}]),
    ),
    Fault(
        "targets",
        ("The selection is closer to the held-out targets than random selections are",),
        "random 0.5, selection 0.4",
        lambda run: run.choice.update(targets=TARGETS),
    ),
    Fault(
        "methods",
        ("No method has more than its share of the selection",),
        "method fallback, max_share 0.25, share 0.5",
        fall_back_twice,
    ),
    Fault(
        "judge",
        (GOES_BY_TEXT,),
        "fault position bias, allowed 0.3, found 0.93",
        lambda run: run.usage.update(slots=BIASED),
    ),
    Fault(
        "judge",
        (GOES_BY_TEXT,),
        "fault attention checks picked, allowed 0.1, found 0.5",
        lambda run: run.usage.update(
            attention_checks={"gibberish": {"shown": 4, "picked": 2, "by_chance": 0.2}}
        ),
    ),
    Fault(
        "judge",
        (GOES_BY_TEXT,),
        "fault disagreement, allowed 0.8, found 1.1",
        lambda run: run.usage.update(agreement={**AGREEMENT, "kappa": -0.1}),
    ),
]
