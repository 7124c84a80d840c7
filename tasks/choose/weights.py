"""Compute each record's weight in the coverage: its own weight times its cosine to the targets."""

import numpy as np
from numpy.typing import NDArray

from tasks.choose.inputs import Inputs
from tasks.choose.targets import Targets
from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.pool_columns import read_weights
from tasks.lib.similarity.cosine import nearest

KEY = "choose.weight_column"


def find_weights(inputs: Inputs, column: str | None, targets: Targets) -> NDArray[np.float64]:
    """Return the weight of each row of the vectors, 0 for annotated records.

    Raises:
        ParamError: A weight is not a non-negative number, or no record is similar to a target.
    """
    candidates = inputs.candidates
    weights = candidates.weights.copy()
    m = len(inputs.pool_rows)
    if column is not None:
        weights[:m] = read_weights(inputs.pool_file, column, inputs.pool_rows, KEY)
    if len(targets.steering):
        likeness = nearest(candidates.vectors[:m], targets.steering).cosines
        weights[:m] *= np.maximum(likeness, 0)
        if not weights.any():
            raise ParamError(
                "choose.targets: no record with a positive weight is similar to any target",
                where=PARAMS_FILE,
                fix="Use examples of tasks that occur in the pool.",
            )
    return weights
