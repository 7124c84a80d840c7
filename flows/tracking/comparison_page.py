"""A comparison as one HTML file that needs nothing else: a chart a figure, and the overlap."""

from collections.abc import Callable, Sequence
from html import escape

from flows.tracking.comparison import Outcome, best, measured, overlap
from flows.tracking.metrics import LEADING, SPACE, SURE, Figure

WIDTH, NAME_WIDTH, ROW, MARGIN = 640, 170, 26, 12
Scale = Callable[[float], float]  # from a figure to a place on its axis
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #667; --line: #d5d9de; --mark: #1f6feb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --dim: #99a; --line: #3a4048; --mark: #6cb0ff; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 60rem;
  margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 1.6rem 0 .2rem; }
p { color: var(--dim); margin: .2rem 0 .6rem; }
.scroll { overflow-x: auto; } svg { width: 100%; min-width: 30rem; height: auto; }
svg text { font-size: 13px; fill: var(--ink); } svg .dim { fill: var(--dim); }
table { border-collapse: collapse; } th, td { padding: .35rem .6rem; text-align: right; }
th:first-child { text-align: left; } td { border: 1px solid var(--line); }
"""


def page(outcomes: Sequence[Outcome]) -> str:
    """The whole document; variants that failed are named and have no marks."""
    names = measured(outcomes)
    failed = [o.name for o in outcomes if o.failure]
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width'><title>Variants side by side</title>",
        f"<style>{STYLE}</style></head><body><h1>Variants side by side</h1>",
        "<p>Dot: the selection, with its 95 % interval. Grey band: the middle 95 % of random "
        "selections of the same size from the same pool, and their mean. Bold: the best; ✓: better "
        f"than chance (p ≤ {SURE}). Figures in the space of {SPACE}, in which no method chose.</p>",
        *(f"<p>{escape(', '.join(failed))}: failed.</p>" for _ in failed[:1]),
        *(_chart(name, outcomes) for name in names),
        _matrix([o for o in outcomes if o.ids]),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _chart(name: str, outcomes: Sequence[Outcome]) -> str:
    found = [(o, o.figures[name]) for o in outcomes if name in o.figures]
    low, high = _span([figure for _, figure in found])

    def x(value: float) -> float:
        return NAME_WIDTH + (WIDTH - NAME_WIDTH - MARGIN - 60) * (value - low) / (high - low)

    leader = best(outcomes, name)
    rows = [_row(i, o.name, f, x, f.value == leader) for i, (o, f) in enumerate(found)]
    lower = found[0][1].is_lower_better
    direction = {True: "lower is better", False: "higher is better", None: "neither better"}[lower]
    height = ROW * len(found) + MARGIN
    svg = f"<svg viewBox='0 0 {WIDTH} {height}' role='img' aria-label='{escape(LEADING[name])}'>"
    return (
        f"<h2>{escape(LEADING[name])}</h2><p>{name}, {direction}; from {low:.4g} to {high:.4g}</p>"
        f"<div class='scroll'>{svg}{''.join(rows)}</svg></div>"
    )


def _row(i: int, name: str, figure: Figure, x: Scale, is_best: bool) -> str:
    """One variant: its name, chance as a band, the interval as a line, the value as a dot."""
    y = MARGIN + ROW * i + ROW / 2
    marks = [f"<text x='0' y='{y + 4:.1f}'>{escape(name)}</text>"]
    if figure.chance is not None:
        left, right = figure.chance_interval or (figure.chance, figure.chance)
        marks.append(
            f"<rect x='{x(left):.1f}' y='{y - 8:.1f}' width='{max(x(right) - x(left), 1):.1f}' "
            f"height='16' fill='var(--line)'/><rect x='{x(figure.chance) - 1:.1f}' "
            f"y='{y - 8:.1f}' width='2' height='16' fill='var(--dim)'/>"
        )
    if figure.interval:
        left, right = figure.interval
        marks.append(
            f"<line x1='{x(left):.1f}' x2='{x(right):.1f}' y1='{y:.1f}' y2='{y:.1f}' "
            "stroke='var(--mark)' stroke-width='2'/>"
        )
    value = f"{figure.value:.4g}{' ✓' if figure.beats_chance else ''}"
    weight = "bold" if is_best else "normal"
    p = "" if figure.p_random is None else f", p = {figure.p_random:.2g}"
    marks.append(
        f"<circle cx='{x(figure.value):.1f}' cy='{y:.1f}' r='5' fill='var(--mark)'>"
        f"<title>{escape(name)}: {value}{p}</title></circle>"
        f"<text x='{WIDTH}' y='{y + 4:.1f}' text-anchor='end' font-weight='{weight}'>{value}</text>"
    )
    return "".join(marks)


def _span(figures: Sequence[Figure]) -> tuple[float, float]:
    """The least and the greatest number of a chart, a little apart if they are one."""
    pairs = [pair for f in figures for pair in (f.interval, f.chance_interval) if pair]
    values = [f.value for f in figures] + [value for pair in pairs for value in pair]
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _matrix(outcomes: Sequence[Outcome]) -> str:
    if len(outcomes) < 2:
        return ""
    heads = "".join(f"<th scope='col'>{escape(o.name)}</th>" for o in outcomes)
    body = "".join(
        f"<tr><th scope='row'>{escape(o.name)}</th>"
        + "".join(
            "<td style='background:color-mix(in srgb, var(--mark) "
            f"{60 * cell:.0f}%, transparent)'>{cell:.2f}</td>"
            for cell in cells
        )
        + "</tr>"
        for o, cells in zip(outcomes, overlap(outcomes), strict=True)
    )
    return (
        "<h2>Overlap</h2><p>Jaccard similarity of each two selections: 1 the same records, 0 none "
        f"in common.</p><div class='scroll'><table><tr><th></th>{heads}</tr>{body}</table></div>"
    )
