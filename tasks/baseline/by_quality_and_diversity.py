"""Select by a judge's scores and by the vectors together."""

import numpy as np

from tasks.baseline.by_score import Scores, highest
from tasks.lib.coverage.greedy import greedy
from tasks.lib.similarity.cosine import Rows, Vectors

QUALITY_SHARE = 0.5  # alpha of QDIT: coverage and quality count equally
MAX_COSINE = 0.9  # tau of DEITA


def qdit(vectors: Vectors, scores: Scores, budget: int, seed: int) -> Rows:
    """Return the greedy selection for coverage and quality (QDIT, arXiv 2311.14736).

    The next record a is the one with the greatest (1 - alpha) d(a) + alpha q(a). Here d(a) is its
    gain in the sum, over all records, of the greatest cosine to a selected record; q(a) is its
    judge score from 0 to 1 (0 if it was not judged). An alpha of 0.5 is our choice: the authors
    tune it for their rewards, which are on a different scale.
    """
    bonus = QUALITY_SHARE / (1 - QUALITY_SHARE) * np.nan_to_num(scores)
    return greedy(vectors, np.arange(len(vectors)), budget, bonus=bonus, seed=seed).rows


def deita(vectors: Vectors, scores: Scores, budget: int, seed: int) -> Rows:
    """Return records with high judge scores that are not too similar (DEITA, arXiv 2312.15685).

    Records are taken in descending order of score; ties are in random order. A record with a
    cosine above 0.9 to a record already taken is skipped. This filter and its threshold come from
    the released code (github.com/hkust-nlp/deita, selection/filter). There, the score is the
    product of the complexity and quality predicted by trained models, and too few records may
    remain. Here, if too few remain, the skipped records follow in order.
    """
    order = highest(scores, len(scores), seed)
    taken, skipped = np.empty(0, np.intp), []
    for row in order.tolist():
        if len(taken) == budget:
            break
        if len(taken) and (vectors[taken] @ vectors[row]).max() > MAX_COSINE:
            skipped.append(row)
        else:
            taken = np.append(taken, row)
    return np.concatenate([taken, np.array(skipped, np.intp)])[:budget].astype(np.intp)
