"""Draw the map of the pool: which records it shows, where, and which were selected."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tasks.lib.core.format_text import visible
from tasks.lib.core.records import LATER_TURNS
from tasks.lib.documents.labels import method_name
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows, nearest
from tasks.report.colours import colours
from tasks.report.formatting import fit
from tasks.report.inputs import ReportInputs, evenly
from tasks.report.projection import project

GRID = 10_000  # steps along an axis; a pixel is several of them
MAX_TEXT_BYTES = 240  # of a record; 5,000 records stay under 2 MB
MAX_OWN_BYTES = 100  # of the record's other columns


def embedding_map(inputs: ReportInputs, max_points: int, seed: int) -> dict[str, Any]:
    """Return the data of the map and the numbers of its caption, ready for JSON.

    Selected records come first, in order. They get at most half of the points; if there are more
    selected records, the map shows evenly spaced ones. The other points are a random sample of the
    rest. If another method selects a record that is not shown, the nearest shown record is marked.
    """
    corpus = inputs.corpus
    ours = inputs.rows[evenly(len(inputs.rows), max_points // 2)]
    rest = np.setdiff1d(np.arange(len(corpus.ids)), inputs.rows)
    drawn = np.random.default_rng(seed).permutation(rest)[: max_points - len(ours)]
    shown = np.concatenate([ours, np.sort(drawn)])
    clusters = _clusters(inputs)[shown]
    points = project(corpus.vectors[shown])
    with threadpool_limits(1):  # the last bits of a sum depend on the number of threads
        others = _others(corpus, inputs.others, shown)
    return {
        "n_selected": len(inputs.rows),
        "n_shown": len(shown),
        "n_unique": len(corpus.ids),
        "n_ours": len(ours),
        "order": _order(inputs.rows, ours),
        "ids": [corpus.ids[row] for row in shown],
        "texts": [fit(visible(corpus.texts[row]), MAX_TEXT_BYTES) for row in shown],
        "own": [fit(visible(_own(corpus.extra[row])), MAX_OWN_BYTES) for row in shown],
        "clusters": clusters.tolist(),
        "colours": {str(key): value for key, value in colours(points, clusters).items()},
        "x": np.rint(points[:, 0] * GRID).astype(int).tolist(),
        "y": np.rint(points[:, 1] * GRID).astype(int).tolist(),
        "others": others,
        **_covered(inputs, shown[len(ours) :]),
    }


def _covered(inputs: ReportInputs, rest: Rows) -> dict[str, Any]:
    """Return the place and cosine of the selected record most similar to each record in `rest`.

    Both are empty if nothing is selected.
    """
    if not len(inputs.rows):
        return {"covered_by": [], "cosines": []}
    found = inputs.cover(rest)
    return {
        "covered_by": (found.places + 1).tolist(),
        "cosines": np.round(found.cosines, 2).tolist(),
    }


def _own(extra: str) -> str:
    """Return a record's own columns as text, starting with those named like ids."""
    cells = {name: cell for name, cell in json.loads(extra).items() if name != LATER_TURNS}
    names = sorted(cells, key=lambda name: not name.casefold().endswith("id"))
    return " · ".join(f"{name}: {_plain(cells[name])}" for name in names)


def _plain(cell: object) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)


def _order(selected: Rows, ours: Rows) -> list[int]:
    """Return each shown record's position in the selection, from 1."""
    places = {row: place for place, row in enumerate(selected.tolist(), 1)}
    return [places[row] for row in ours.tolist()]


def _clusters(inputs: ReportInputs) -> NDArray[np.int32]:
    """Return the cluster of each record in the corpus."""
    clusters = np.zeros(len(inputs.corpus.ids), np.int32)
    clusters[inputs.prompt_rows] = inputs.prompts["cluster"].to_numpy()
    return clusters


def _others(corpus: Corpus, others: Mapping[str, Rows], shown: Rows) -> list[dict[str, Any]]:
    """Return, for each other method, the places of its records among the shown records."""
    where = np.full(len(corpus.ids), -1, np.intp)
    where[shown] = np.arange(len(shown))
    marks = []
    for method, rows in others.items():
        places = where[rows]
        hidden = np.flatnonzero(places < 0)
        places[hidden] = nearest(corpus.vectors[rows[hidden]], corpus.vectors[shown]).places
        marks.append({"name": method_name(method), "places": np.unique(places).tolist()})
    return marks
