"""Summarise and plot the table that judges.py writes.

    python benchmarks/judges_plot.py /tmp/judges.csv --to docs/explanation

It writes judges.csv (means over the pools, with the half widths of their 95 % intervals) and
judges.svg. It also prints how each way to select 0.3 K records differs from a second round, on the
same pools.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib import pyplot as plt
from scipy import stats

MEASURES = ["calls", "quality", "words", "outputs", "student", "top_slot"]
KEYS = ["skill", "bias", "votes", "way", "budget"]
LISTS = {"list 3": "C0", "list 5": "C1", "list 7": "C2", "list 14": "C3"}
OTHERS = {
    "first picks": ("k", "o"),
    "soft 5, weight 1": ("C4", "D"),
    "tournament of 1": ("k", "s"),
    "second round of 1, list 14, weight 4": ("C5", "^"),
    "0.3 K prompts, votes 1, list 5, weight 2": ("C6", "v"),
    "0.3 K prompts, votes 3, list 5, weight 2": ("C7", "v"),
}
SECOND_ROUND = "second round of 1, list 14, weight 4"


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of each measure, and the half width of its 95 % interval (Student's t)."""
    groups = table.groupby(KEYS, sort=False)[MEASURES]
    n = groups.size()
    widths = groups.std().mul(stats.t.ppf(0.975, n - 1) / n**0.5, axis=0)
    return groups.mean().join(widths.add_suffix("_95")).join(n.rename("pools")).round(3)


def compare_with_second_round(table: pd.DataFrame) -> pd.DataFrame:
    """Return how much each way to select 0.3 K records differs from SECOND_ROUND, with intervals.

    The judge has a skill of 0.71. Differences are computed on the same pools.
    """
    is_here = (table["skill"] == 0.71) & (table["bias"] == "none") & (table["votes"] == 1)
    of = table[is_here & (table["budget"] == 0.3)].pivot(index="pool", columns="way")
    lines = {}
    for way in of["quality"].columns:
        gaps = {m: of[m][way] - of[m][SECOND_ROUND] for m in ("quality", "words", "outputs")}
        lines[way] = {
            measure: f"{gap.mean():+.2f} ± {_half_width(gap):.2f}" for measure, gap in gaps.items()
        }
    return pd.DataFrame(lines).T


def _half_width(values: "pd.Series[float]") -> float:
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * values.std() / n**0.5)


def draw(means: pd.DataFrame, path: Path) -> None:
    """Draw quality against coverage of outputs, for a good judge, at three budgets."""
    mpl.rcParams["svg.hashsalt"] = "judges"  # the same bytes each time
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
    for axis, budget in zip(axes, (0.3, 1.0, 3.0), strict=True):
        of_budget = means.xs((0.71, "none", 1, budget), level=("skill", "bias", "votes", "budget"))
        for name, colour in LISTS.items():
            line = of_budget[of_budget.index.str.match(rf"{name}, weight [\d.]+$")]
            axis.plot(line["outputs"], line["quality"], ".-", color=colour, label=name)
        for name, (colour, marker) in OTHERS.items():
            point = of_budget[of_budget.index == name]
            axis.plot(
                point["outputs"], point["quality"], marker, color=colour, label=name, ls="none"
            )
        axis.set_title(f"N = {budget:g} K")
        axis.set_xlabel("coverage of outputs, z")
    axes[0].set_ylabel("mean quality of the selection, s.d.")
    axes[0].legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Write both files."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("tables", type=Path, nargs="+")
    arguments.add_argument("--to", type=Path, required=True)
    given = arguments.parse_args()
    table = pd.concat(map(pd.read_csv, given.tables))
    print(compare_with_second_round(table).to_string())
    means = summary(table)
    means.to_csv(given.to / "judges.csv", lineterminator="\n")
    draw(means, given.to / "judges.svg")


if __name__ == "__main__":
    main()
