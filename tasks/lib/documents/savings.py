"""savings.json: the number of random records that would do as well as the selection."""

from collections.abc import Iterable, Mapping

from tasks.lib.documents.document import Document, Part

STUDENT = "words.knn_probe_rouge_l"  # the metric of what the student learns


class Equivalent(Part):
    """The size of a random selection that is as good as ours.

    All numbers are limited to the sizes that were drawn: `Savings.max_size` means "more than this",
    and `Savings.min_size` means "fewer than this".

    Attributes:
        n_random: The size at which random selections are as good on average.
        low: The lower end of the 95 % interval.
        high: The upper end of the interval.
    """

    n_random: int
    low: int
    high: int


class Stop(Part):
    """The size after which choosing is no better than drawing at random.

    Attributes:
        step: The number of records that are added at a time.
        at: The size after which our next records add less coverage than random records would add
            to a random selection of that size; None if our records always add more.
    """

    step: int
    at: int | None


class Savings(Document):
    """The savings.json document.

    Attributes:
        n_selected: The number of selected records; 0 if nothing has been selected yet.
        min_size: The smallest size of the random selections.
        max_size: The largest size of the random selections.
        coverage: For each space, the random selection with the same coverage.
        student: The random selection that does as well in the nearest-neighbour probe in words;
            None if the pool has too few outputs.
        saved: The number of annotations saved according to the smallest equivalent; 0 unless its
            interval is above `n_selected`.
        saved_percent: The saved annotations as a percentage of the random records needed.
        stop: The size at which to stop, by space.
    """

    n_selected: int
    min_size: int
    max_size: int
    coverage: Mapping[str, Equivalent]
    student: Equivalent | None
    saved: int
    saved_percent: float
    stop: Mapping[str, Stop]

    @property
    def by_metric(self) -> dict[str, Equivalent]:
        """The equivalents by their metric's full name, ``SPACE.METRIC``."""
        by_coverage = {f"{space}.coverage_mean": size for space, size in self.coverage.items()}
        return by_coverage | ({STUDENT: self.student} if self.student else {})

    @property
    def sentence(self) -> str:
        """One sentence that says how many annotations are saved, if any."""
        if not self.coverage:
            return "Nothing has been selected yet, so no saving can be measured."
        parts = [f"cover the pool as well as {self._amount(least(self.coverage.values()))}"]
        if self.student:
            parts.append(f"teach the student as much as {self._amount(self.student)}")
        return f"{self.n_selected:,} selected {' and '.join(parts)}: {self._result()}"

    def _amount(self, found: Equivalent) -> str:
        ends = f"{self._bound(found.low)} to {self._bound(found.high)}"
        if found.low == found.high:
            return f"{self._bound(found.n_random)} random ones"
        return f"{self._bound(found.n_random)} random ones (95 %: {ends})"

    def _bound(self, n: int) -> str:
        if n >= self.max_size:
            return f"more than {self.max_size:,}"
        return f"fewer than {self.min_size:,}" if n <= self.min_size else f"{n:,}"

    def _result(self) -> str:
        if self.saved:
            is_more = self.n_selected + self.saved >= self.max_size
            noun = "annotation" if self.saved == 1 else "annotations"
            number = f"{'more than ' if is_more else ''}{self.saved:,} {noun} saved"
            return f"{number}, {self.saved_percent:.0f} %"
        if least(self.by_metric.values()).n_random > self.n_selected:
            return "no saving is certain"
        return "no annotation saved"


def least(equivalents: Iterable[Equivalent]) -> Equivalent:
    """Return the equivalent with the fewest random records; ties go to the lower interval."""
    return min(equivalents, key=lambda found: (found.n_random, found.low))
