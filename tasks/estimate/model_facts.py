"""Look up a model's retirement date, context size and alternatives in LiteLLM's model map."""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

from tasks.lib.gateway.credentials import VARIABLES
from tasks.lib.gateway.deployment_settings import Deployment

SOON_DAYS = 60
N_ALTERNATIVES = 3
LIKE_PRICE = 2.0  # at most this many times as expensive
LEAST_PRICE = 0.1  # at least this share of the price; a cheaper model is far smaller
OUTPUT_SHARE = 0.05  # of a call's tokens: a prompt is long, an answer is a list of slots

_DATED = re.compile(r"[-@](20\d\d-?[01]\d-?[0-3]\d)$")
_OTHER_USE = re.compile(
    r"audio|realtime|search|image|vision|vl\b|ocr|tts|transcri|codex|cod(er|e)\b|guard|safe|"
    r"^together-ai|router|preview|experimental|-exp\b|latest|computer|embed|^ft:"
)
_NAME_NOISE = re.compile(r"meta|instruct|turbo|fp8|fp4|nvfp4|-it\b|v1:0|[^a-z0-9]")


class ModelFacts(NamedTuple):
    """What the map says about a model; None where it says nothing."""

    ends: date | None = None
    max_input_tokens: int | None = None


def facts_of(deployment: Deployment, litellm: Any) -> ModelFacts:
    """Return what the map says about a deployment's model; empty for a user's own server.

    If all dated versions of an undated name have an end date, the name ends with the last of them.
    """
    key = _key(deployment, litellm)
    if key is None:
        return ModelFacts()
    entry = litellm.model_cost[key]
    ends = _date(entry) or _last_version_ends(key, litellm.model_cost)
    return ModelFacts(ends, entry.get("max_input_tokens") or entry.get("max_tokens"))


def alternatives(deployment: Deployment, litellm: Any, today: date) -> list[str]:
    """Return available models: this one elsewhere, others from this provider, others in its family.

    Only the providers in `VARIABLES` are searched. Models that are far more expensive or far
    cheaper are left out.
    """
    key = _key(deployment, litellm)
    price = key and _blended(litellm.model_cost[key])
    if not key or not price:
        return []
    same, near, related = [], [], []
    family = _family(deployment.model)
    for name, entry in _living(litellm.model_cost, today):
        ratio = (_blended(entry) or 0) / price
        if name == deployment.model or not LEAST_PRICE <= ratio <= LIKE_PRICE:
            continue
        rank = (_family(name) != family, abs(math.log(ratio)), name)
        if _bare(name) == _bare(deployment.model):
            same.append(rank)
        elif name.startswith(f"{deployment.provider}/"):
            near.append(rank)
        elif _family(name) == family:
            related.append(rank)
    ranked = [*sorted(same)[:2], *sorted(near)[:2], *sorted(related)]
    return [name for _, _, name in ranked[:N_ALTERNATIVES]]


def _key(deployment: Deployment, litellm: Any) -> str | None:
    """Return the key of a deployment's model in the map, or None."""
    if deployment.api_base or deployment.provider.startswith("ollama") or deployment.is_free:
        return None
    names = (deployment.model, deployment.model.partition("/")[2])
    known = litellm.model_cost
    keys = (name for name in names if name in known)
    return next((key for key in keys if _is_of(deployment.provider, key, known[key])), None)


def _is_of(provider: str, key: str, entry: Mapping[str, Any]) -> bool:
    return key.startswith(f"{provider}/") or str(entry.get("litellm_provider")).startswith(provider)


def _date(entry: Mapping[str, Any]) -> date | None:
    try:
        return date.fromisoformat(entry.get("deprecation_date") or "")
    except ValueError:
        return None


def _last_version_ends(key: str, known: Mapping[str, Mapping[str, Any]]) -> date | None:
    """Return the end date of an undated name's last dated version; None if any version has none."""
    versions = (name for name in known if name.startswith(key) and _DATED.sub("", name) == key)
    ends = [_date(known[name]) for name in versions if name != key]
    dates = [end for end in ends if end]
    return max(dates) if dates and len(dates) == len(ends) else None


def _blended(entry: Mapping[str, Any]) -> float | None:
    """Return the price per token in a typical call, or None if it is unknown."""
    prices = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    if not prices[0] or not prices[1]:
        return None
    return float((1 - OUTPUT_SHARE) * prices[0] + OUTPUT_SHARE * prices[1])


def _living(
    known: Mapping[str, Mapping[str, Any]], today: date
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield chat models that will not be retired soon, by the name that a route would use."""
    for key, entry in known.items():
        provider = str(entry.get("litellm_provider"))
        is_chat = entry.get("mode") == "chat" and not _DATED.search(key)
        if not is_chat or provider not in VARIABLES or _OTHER_USE.search(key.lower()):
            continue
        ends = _date(entry) or _last_version_ends(key, known)
        if ends is None or (ends - today).days > SOON_DAYS:
            yield key if key.startswith(f"{provider}/") else f"{provider}/{key}", entry


def _family(name: str) -> str:
    """Return the first word of a model's name without its vendor, such as ``gemma``."""
    return re.sub(r"^(meta)?[^a-z]*|[^a-z].*$", "", name.rpartition("/")[2].lower())


def _bare(name: str) -> str:
    """Return the part of a model's name that is the same at every provider."""
    return _NAME_NOISE.sub("", name.rpartition("/")[2].lower())
