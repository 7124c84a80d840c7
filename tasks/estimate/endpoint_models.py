"""Ask an endpoint which models it serves, before hours of work; this costs nothing."""

import http.client
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tasks.lib.gateway.credentials import NO_KEY, VARIABLES, key_variable, redact
from tasks.lib.gateway.deployment_settings import Deployment
from tasks.lib.gateway.reply import MAX_NAME
from tasks.lib.gateway.reply_limits import UnreadableBody, check_shape

WAIT_S = 5.0
MAX_BYTES = 4_000_000  # of a listing; the longest has hundreds of models
MAX_PARTS = 100_000

ADDRESSES = {
    "anthropic": ("ANTHROPIC_API_BASE", "https://api.anthropic.com/v1"),
    "azure": ("AZURE_API_BASE", ""),
    "gemini": ("GEMINI_API_BASE", "https://generativelanguage.googleapis.com/v1beta"),
    "hosted_vllm": ("HOSTED_VLLM_API_BASE", ""),
    "lm_studio": ("LM_STUDIO_API_BASE", ""),
    "ollama": ("OLLAMA_API_BASE", "http://127.0.0.1:11434"),
    "ollama_chat": ("OLLAMA_API_BASE", "http://127.0.0.1:11434"),
    "openai": ("OPENAI_BASE_URL", "https://api.openai.com/v1"),
    "openrouter": ("OPENROUTER_API_BASE", "https://openrouter.ai/api/v1"),
}
"""By provider: the variable that overrides its address, and its usual address."""
KEY_HEADERS = {"anthropic": "x-api-key", "gemini": "x-goog-api-key", "azure": "api-key"}
"""The header in which a provider expects the key, if it is not Authorization."""


class Listing(NamedTuple):
    """What an endpoint says about itself; None where it says nothing."""

    problem: str = ""  # why it cannot be used
    is_key_refused: bool = False
    models: list[str] | None = None
    context: int | None = None  # tokens that the deployment's model reads at once


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Treats a redirect as a response, since following it would send the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        """Follow no redirect."""


def ask_listing(deployment: Deployment, litellm: Any) -> Listing:
    """Return the listing of a deployment's endpoint; an empty one if its address is unknown.

    Any response shows that the endpoint is up, since not every endpoint has a listing. The request
    goes through the proxy in the environment, as calls do.
    """
    base = _address(deployment, litellm)
    if not base:
        return Listing()
    is_ollama = deployment.provider.startswith("ollama")
    url = f"{base.rstrip('/')}/{'api/tags' if is_ollama else 'models'}"
    request = urllib.request.Request(url, headers=_headers(deployment))
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(request, timeout=WAIT_S) as response:
            body = _read_all(response)
    except urllib.error.HTTPError as error:
        error.close()
        return Listing(is_key_refused=error.code == 401)
    except ConnectionResetError:  # something is listening, although it has no list of models
        return Listing()
    except http.client.HTTPException:
        return Listing(problem=f"{urlsplit(base).netloc}: its response is not HTTP")
    except (OSError, ValueError) as error:  # URLError is an OSError
        return Listing(problem=redact(f"{urlsplit(base).netloc}: {_why(error)}"))
    return _read(body, deployment.model.partition("/")[2])


def _read_all(response: Any) -> bytes:
    """Return a listing's body: whatever arrives within WAIT_S, up to MAX_BYTES."""
    ends_s = time.monotonic() + WAIT_S
    body = bytearray()
    while time.monotonic() < ends_s and len(body) < MAX_BYTES:
        part = response.read1(MAX_BYTES - len(body))
        if not part:
            break
        body += part
    return bytes(body)


def _address(deployment: Deployment, litellm: Any) -> str:
    if deployment.api_base:
        return deployment.api_base
    variable, usual = ADDRESSES.get(deployment.provider, ("", ""))
    if variable:
        return os.environ.get(variable) or usual
    return litellm.get_llm_provider(deployment.model)[3] or ""


def _headers(deployment: Deployment) -> Mapping[str, str]:
    """Return the headers for requesting a listing, with the key that calls would use."""
    named = deployment.api_key
    if named == NO_KEY:
        return {}
    own = key_variable(named) if named else None
    names = (own,) if own else VARIABLES.get(deployment.provider, ())
    key = next((os.environ[name] for name in names if os.environ.get(name)), "")
    if not key:
        return {}
    header = KEY_HEADERS.get(deployment.provider)
    version = {"anthropic-version": "2023-06-01"} if deployment.provider == "anthropic" else {}
    return {header: key, **version} if header else {"Authorization": f"Bearer {key}"}


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"no response within {WAIT_S:g} s"
    if isinstance(reason, socket.gaierror):
        return "the host name is unknown here"
    return getattr(reason, "strerror", None) or str(reason)


def _read(body: bytes, model: str) -> Listing:
    """Return the models in a listing in the format of OpenAI, Anthropic, Gemini or Ollama."""
    try:
        check_shape(body, MAX_PARTS)
        document = json.loads(body)
        rows = document.get("data") or document.get("models") or []
        names = {_name(row): row for row in rows}
    except (ValueError, AttributeError, KeyError, TypeError, UnreadableBody):
        return Listing()
    row = names.get(model[:MAX_NAME], {})
    meta = row.get("meta")
    context = row.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else None)
    return Listing(models=list(names) or None, context=context if _is_size(context) else None)


def _name(row: Any) -> str:
    return str(row.get("id") or row["name"]).removeprefix("models/")[:MAX_NAME]


def _is_size(value: Any) -> bool:
    return type(value) is int and value > 0
