"""Attack the product in ways drawn from a seed, and count what broke.

    python -m benchmarks.attacks --seed 0 --count 200
    python -m benchmarks.attacks --seed 0 --kind A --only 17    (repeat one attack)

Kinds: A, a provider that lies; B, input that explodes; C, texts that take effect when shown; D,
inputs that change during a run, and remotes that lack objects; E, artifacts that were edited
together with dvc.lock; F, secrets in every place and encoding; G, broken surroundings. Each attack
runs the program in a process with a limit of 1.5 GB and 60 s. It is *broken* if it crashes, hangs,
exceeds a limit or the cap, is silently wrong or leaks; *rough* if it ends with a traceback, too
many words or no remedy; otherwise *held*. With `--patience`, the limit of 60 s applies to processor
time, and wall-clock time may be longer.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.attack import changes, leaks, proof, provider, readers, shown, surroundings, trial
from benchmarks.attack.trial import Finding

Attack = Callable[[random.Random, Path, float], tuple[str, list[Finding]]]
KINDS: dict[str, tuple[int, Attack]] = {
    "A": (50, provider.attack),
    "B": (40, readers.attack),
    "C": (10, shown.attack),
    "D": (20, changes.attack),
    "E": (30, proof.attack),
    "F": (20, leaks.attack),
    "G": (30, surroundings.attack),
}
"""How many of 200 attacks are of each kind, and the function that makes one."""


def main() -> int:
    """Run the attacks, print each that did not hold, and return 1 if any broke something."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--count", type=int, default=200)
    arguments.add_argument("--kind", default="".join(KINDS), help="one or more letters")
    arguments.add_argument("--only", type=int, help="the number of a single attack of the kind")
    arguments.add_argument("--patience", type=float, default=1.0, help="longer limits of time")
    arguments.add_argument("--verbose", action="store_true")
    given = arguments.parse_args()
    shares = {kind: KINDS[kind][0] for kind in given.kind}
    rows: dict[str, list[str]] = {}
    is_broken = False
    for kind, share in shares.items():
        n = round(given.count * share / sum(shares.values()))
        verdicts: Counter[str] = Counter()
        trial.worst.reset()
        for number in range(n) if given.only is None else [given.only]:
            verdict, words = one(kind, given.seed, number, given.patience)
            verdicts[verdict] += 1
            if verdict != "held" or given.verbose:
                print(f"{kind}{number} {verdict}: {words}", flush=True)
        counts = [str(verdicts[verdict]) for verdict in ("held", "rough", "broken")]
        worst = trial.worst
        rows[kind] = [*counts, f"{worst.cpu_s:.1f}", f"{worst.seconds:.1f}", f"{worst.peak_mb:.0f}"]
        is_broken = is_broken or verdicts["broken"] > 0
    print("\n| kind | held | rough | broken | most CPU s | longest s | most MB |")
    print("|---|---|---|---|---|---|---|")
    for kind, cells in rows.items():
        print(f"| {kind} | {' | '.join(cells)} |")
    return int(is_broken)


def one(kind: str, seed: int, number: int, patience: float) -> tuple[str, str]:
    """Make one attack; return the verdict and what happened."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        rng = random.Random(f"{kind}/{seed}/{number}")
        title, findings = KINDS[kind][1](rng, Path(folder).resolve(), patience)
    verdict = "held"
    if findings:
        verdict = "broken" if any(finding.is_broken for finding in findings) else "rough"
    said = "".join(f"\n    {finding.what!r}" for finding in findings)
    return verdict, f"{title}{said}"


if __name__ == "__main__":
    sys.exit(main())
