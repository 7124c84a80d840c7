"""The map of the pool: which records are shown, where, and what was selected."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows, nearest
from tasks.report.colours import colours
from tasks.report.inputs import Evidence, evenly
from tasks.report.labels import fit, method_name
from tasks.report.projection import project

GRID = 10_000  # steps an axis; a pixel is several of them
MAX_TEXT_BYTES = 240  # of a record; 5,000 of them stay under 2 MB with all that belongs to them


def atlas(evidence: Evidence, max_points: int, seed: int) -> dict[str, Any]:
    """The data of the map, ready for JSON, and what its caption tells.

    Selected records come first, in their order; at most half of the points are theirs, every so
    many if there are more. The other points are drawn from the rest. Of what another method chose,
    a record that is not shown is marked at the nearest one that is.
    """
    corpus = evidence.corpus
    ours = evidence.rows[evenly(len(evidence.rows), max_points // 2)]
    rest = np.setdiff1d(np.arange(len(corpus.ids)), evidence.rows)
    drawn = np.random.default_rng(seed).permutation(rest)[: max_points - len(ours)]
    shown = np.concatenate([ours, np.sort(drawn)])
    clusters = _clusters(evidence)[shown]
    points = project(corpus.vectors[shown])
    with threadpool_limits(1):  # a sum's last bits tell how many threads shared it
        others = _others(corpus, evidence.others, shown)
    return {
        "n_selected": len(evidence.rows),
        "n_shown": len(shown),
        "n_unique": len(corpus.ids),
        "n_ours": len(ours),
        "order": _order(evidence.rows, ours),
        "ids": [corpus.ids[row] for row in shown],
        "texts": [fit(corpus.texts[row], MAX_TEXT_BYTES) for row in shown],
        "clusters": clusters.tolist(),
        "colours": {str(key): value for key, value in colours(points, clusters).items()},
        "x": np.rint(points[:, 0] * GRID).astype(int).tolist(),
        "y": np.rint(points[:, 1] * GRID).astype(int).tolist(),
        "others": others,
    }


def _order(selected: Rows, ours: Rows) -> list[int]:
    """The place in the selection, from 1, of each of ours."""
    places = {row: place for place, row in enumerate(selected.tolist(), 1)}
    return [places[row] for row in ours.tolist()]


def _clusters(evidence: Evidence) -> NDArray[np.int32]:
    """The cluster of each record of the corpus."""
    found = np.zeros(len(evidence.corpus.ids), np.int32)
    found[evidence.shown] = evidence.prompts["cluster"].to_numpy()
    return found


def _others(corpus: Corpus, others: Mapping[str, Rows], shown: Rows) -> list[dict[str, Any]]:
    """For each other method the places of its records among those shown."""
    where = np.full(len(corpus.ids), -1, np.intp)
    where[shown] = np.arange(len(shown))
    found = []
    for method, rows in others.items():
        places = where[rows]
        hidden = np.flatnonzero(places < 0)
        places[hidden] = nearest(corpus.vectors[rows[hidden]], corpus.vectors[shown]).places
        name = method_name(method)
        found.append({"name": name, "places": np.unique(places).tolist()})
    return found
