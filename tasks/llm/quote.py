"""The estimate of the selection that a workspace is set up for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core.stage import Stage
from tasks.llm.estimate import Estimate, estimate
from tasks.llm.journal.books import latencies
from tasks.llm.routes import load_routes
from tasks.llm.section import JOURNAL
from tasks.llm.setup import Setup


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
