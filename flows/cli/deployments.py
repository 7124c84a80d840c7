"""Find deployments on a Prefect server that nothing runs, which Prefect itself never reports."""

from collections.abc import Iterator

from flows.cli.diagnosis import Diagnosis, Status
from flows.cli.machine_checks import prefect_urls
from flows.service_checks import http_fault
from tasks.lib.core.errors import DataError

TAG = "selectllm"  # in prefect.yaml


def deployments() -> Iterator[Diagnosis]:
    """Yield whether a worker or `selectllm serve` runs the deployments; nothing if there are none.

    A deployment without one keeps its schedule, but its runs never start. This happens if its work
    pool was deleted, no worker polls it, or `serve` has ended.
    """
    try:
        url = prefect_urls().api
    except DataError:
        return  # another check reports it, and also a server that does not answer
    if not url or http_fault(url):
        return
    from prefect import get_client  # noqa: PLC0415  seconds

    with get_client(sync_client=True) as client:
        found = [each for each in client.read_deployments() if TAG in each.tags]
    idle = [each for each in found if each.status == "NOT_READY"]
    if idle:
        names = ", ".join(sorted(each.name for each in idle))
        pools = sorted(each.work_pool_name for each in idle if each.work_pool_name)
        deploy = "" if pools else " and `prefect deploy --all`"
        yield Diagnosis(
            Status.WARNING,
            f"Prefect: no worker runs the deployments {names}",
            f"Run `prefect worker start --pool {pools[0] if pools else TAG}`{deploy}, "
            "or `selectllm serve`.",
        )
    elif found:
        yield Diagnosis(Status.OK, f"Prefect: {len(found)} deployments have a worker")
