"""Have Prefect's server call a webhook when a run fails or reaches its spending cap.

This is an example of an automation, and can be run again to change the address:

    SELECTLLM_WEBHOOK=https://chat.example/hooks/abc python -m flows.notify

The address may contain a secret, so it comes from the environment and is never printed.
"""

import os

from prefect import get_client
from prefect.automations import AutomationCore, EventTrigger, Posture
from prefect.blocks.webhook import Webhook
from prefect.events.actions import CallWebhook
from prefect.types import SecretDict
from pydantic import SecretStr

from flows.cli import console
from flows.prefect_pages import Announcement
from tasks.lib.core.errors import CurationError, ParamError

ADDRESS = "SELECTLLM_WEBHOOK"
NAME = "selectllm-notify"
# Not check.failed, since a failed check also fails the run, whose message gives the reason.
EVENTS = (Announcement.CAP_REACHED.value, "prefect.flow-run.Failed", "prefect.flow-run.Crashed")
FLOWS = ["curate", "compare"]
TEXT = (
    '{"text": {{ ("SelectLLM: " ~ event.event ~ " in " ~ event.resource.name ~ "\\n" '
    '~ (event.payload.reason or (event.payload.validated_state or {}).message or "")) | tojson }}}'
)


def notify(url: str) -> None:
    """Create or replace the block with the address and the automation that uses it."""
    headers = SecretDict({"Content-Type": "application/json"})
    block = Webhook(method="POST", url=SecretStr(url), headers=headers)
    block_id = block.save(NAME, overwrite=True)
    related = {"prefect.resource.role": "flow", "prefect.resource.name": FLOWS}
    trigger = EventTrigger(
        expect=set(EVENTS), match_related=related, posture=Posture.Reactive, threshold=1
    )
    automation = AutomationCore(
        name=NAME,
        description="Call a webhook when a run fails or reaches its spending cap",
        trigger=trigger,
        actions=[CallWebhook(block_document_id=block_id, payload=TEXT)],
    )
    with get_client(sync_client=True) as client:
        for known in client.read_automations_by_name(NAME):
            client.delete_automation(known.id)
        client.create_automation(automation)


def main() -> int:
    """Set up the automation with the address in the environment; return the exit status."""
    try:
        url = os.environ.get(ADDRESS, "")
        if not url.startswith(("http://", "https://")):
            raise ParamError(
                "expected the URL of a webhook",
                where=ADDRESS,
                fix=f"Set it in the environment, such as {ADDRESS}=https://chat.example/hooks/abc.",
            )
        notify(url)
        console.out.print(f"{NAME}: Prefect posts to the webhook if a run fails or reaches its cap")
    except CurationError as error:
        console.failed(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
