"""Serve the deployments in prefect.yaml from one process, without a work pool or a worker.

`selectllm serve` runs this module as a supervised program.
"""

import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from prefect import serve
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.client.schemas.schedules import construct_schedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import PrefectException

from flows.cli import console
from flows.cli.machine_checks import prefect_urls, require_surroundings
from flows.cli.supervise import END_RUN_WITHIN_S, STOP_WITHIN_S, end_with_supervisor
from flows.dvc.workspace import find_workspace
from tasks.lib.core.dvc_yaml import load_yaml
from tasks.lib.core.errors import CurationError, ParamError

FILE = "prefect.yaml"
FIX = f"Compare it with the {FILE} of the project, and correct it."


def read_deployments(workspace: Path) -> list[RunnerDeployment]:
    """Read the deployments that prefect.yaml declares.

    Raises:
        GraphError: The file is missing or is not YAML.
        ParamError: A deployment has a wrong key, schedule or entrypoint.
    """
    declared = load_yaml(workspace / FILE).get("deployments") or []
    if not declared:
        raise ParamError("expected deployments, found none", where=FILE, fix=FIX)
    return [_deployment(i, body) for i, body in enumerate(declared)]


def _deployment(position: int, body: Mapping[str, Any]) -> RunnerDeployment:
    where = f"{FILE}: deployments[{position}]"
    try:
        where = f"{FILE}: deployments.{body['name']}"
        return RunnerDeployment.from_entrypoint(
            _as_module(body["entrypoint"]),
            name=body["name"],
            schedules=[_schedule(**schedule) for schedule in body.get("schedules", [])],
            concurrency_limit=ConcurrencyLimitConfig(**body["concurrency_limit"]),
            parameters=body["parameters"],
            triggers=body.get("triggers"),
            description=body["description"],
            tags=body["tags"],
        )
    except KeyError as error:
        raise ParamError(f"the key {error} is missing", where=where, fix=FIX) from None
    except (ValueError, TypeError, OSError, ImportError, PrefectException) as error:
        raise ParamError(" ".join(str(error).split()), where=where, fix=FIX) from None


def _as_module(entrypoint: str) -> str:
    """Return ``flows/curate.py:curate`` as ``flows.curate.curate``.

    Before it loads a flow from a file, Prefect copies the folder that the deployment names into the
    current one. That folder may belong to another workspace on the same Prefect server.
    """
    return entrypoint.replace(".py:", ".").replace("/", ".")


def _schedule(slug: str, *, active: bool, **when: Any) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(schedule=construct_schedule(**when), active=active, slug=slug)


def main() -> int:
    """Serve all deployments until a signal arrives; return the exit status of `selectllm`."""
    try:
        workspace = find_workspace(Path.cwd())
        deployments = read_deployments(workspace)
        if not prefect_urls().api:
            raise ParamError(
                "schedules need a Prefect server that keeps running",
                where="PREFECT_API_URL",
                fix="Run `prefect server start` in another terminal, then "
                "`export PREFECT_API_URL=http://127.0.0.1:4200/api`.",
            )
        require_surroundings(workspace)
    except CurationError as error:
        console.failed(error)
        return error.exit_code
    signal.signal(signal.SIGINT, _interrupt)
    end_with_supervisor(END_RUN_WITHIN_S + STOP_WITHIN_S)
    serve(*deployments, limit=1)  # two runs cannot work in one workspace
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """End the flow run in progress, so that it reports its end to Prefect, and then this process.

    Prefect's `serve` itself would leave the run to be killed, and Prefect would show it as Running.
    """
    runs = psutil.Process().children()
    for run in runs:
        with suppress(psutil.NoSuchProcess):
            run.terminate()
    psutil.wait_procs(runs, timeout=END_RUN_WITHIN_S)
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
