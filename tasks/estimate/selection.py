"""The estimate of the selection that a workspace is set up for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.estimate.estimate import Estimate, estimate
from tasks.estimate.journal_admin import latencies
from tasks.lib.core.stage import JOURNAL, Stage
from tasks.lib.gateway.routes import load_routes
from tasks.llm_select.setup import Setup


def quote(root: Path, values: Mapping[str, Any]) -> Estimate:
    """What the selection of `values` costs at every route, with the prompts that lie in `root`.

    The route in use comes first. Needs no key and no network, and calls nothing.

    Raises:
        ParamError: A parameter is not as it should be.
        DataError: The prompts are missing or not as the step cluster writes them.
    """
    stage = Stage("llm_select", root)
    setup = Setup.read(stage, values, root)
    others = [route for route in load_routes(values).values() if route not in setup.routes]
    known = latencies(stage.state / JOURNAL)
    return estimate(setup.shown, setup.rules, setup.terms, [*setup.routes, *others], known)
