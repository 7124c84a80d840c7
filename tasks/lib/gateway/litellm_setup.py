"""Load LiteLLM once, only when it is needed, and quietly."""

import gc
import logging
import os
import warnings
from functools import cache
from typing import Any

from tasks.lib.core.stage import QUIET
from tasks.lib.gateway.deployment_settings import LOOPBACK


@cache
def load_litellm() -> Any:
    """Return the litellm module with telemetry, downloads, ``.env``, output and logs off."""
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    for variable in ("NO_PROXY", "no_proxy"):  # otherwise a proxy is used for this machine too
        hosts = [os.environ.get(variable, ""), *LOOPBACK]
        os.environ[variable] = ",".join(filter(None, hosts))
    for variable in ("DISABLE_AIOHTTP_TRANSPORT", "LITELLM_HTTP2"):  # would bypass our transport
        os.environ[variable] = "False"
    import litellm  # noqa: PLC0415  # 3 s
    from litellm.llms.custom_httpx import aiohttp_transport  # noqa: PLC0415

    from tasks.lib.gateway.offline_provider import OfflineJudge  # noqa: PLC0415  # imports litellm
    from tasks.lib.gateway.transport import GuardedTransport  # noqa: PLC0415  # imports litellm

    # LiteLLM makes each of its clients with this class, and has no hook below its parsers.
    aiohttp_transport.LiteLLMAiohttpTransport = GuardedTransport  # type: ignore[misc]
    gc.freeze()  # otherwise garbage collection of the loaded modules takes a fifth of each call
    # A call that is cancelled before it begins needs no warning in the terminal.
    names = r".*a(?:sync_)?completion|OpenAI(?:Files|Batches)API.*|connect_tcp.*"
    never_begun = rf"coroutine '(?:{names})' was never"
    warnings.filterwarnings("ignore", never_begun, RuntimeWarning)
    # Nor does a content that is a list of parts.
    warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)
    # The price of a reply takes LiteLLM a seventh of a call's processor time, and nobody reads it:
    # we compute our own (see `tariff`). None is LiteLLM's result for a model without a price.
    litellm.response_cost_calculator = lambda **_: None  # type: ignore[assignment]
    litellm.suppress_debug_info = True
    litellm.disable_hf_tokenizer_download = True
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).setLevel(logging.CRITICAL)
    litellm.custom_provider_map = [{"provider": "offline", "custom_handler": OfflineJudge()}]
    litellm.utils.custom_llm_setup()  # type: ignore[no-untyped-call]
    return litellm


def skip_accounting() -> None:
    """Make LiteLLM skip its success and failure logs for the calls of this task.

    They take a tenth of a call's time (`benchmarks/llm.py rate`), and nobody reads them: our ledger
    records the costs.
    """
    from litellm._internal_context import is_internal_call  # noqa: PLC0415  # see load_litellm

    is_internal_call.set(True)
