"""Routes: the aliases under `models` in params.yaml, and the deployments they stand for."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field

from tasks.core.errors import ParamError, nearest
from tasks.core.params import PARAMS_FILE, Params, load_section
from tasks.llm.keys import NO_KEY, key_name, missing_key

RUBRIC_MODEL = "offline/rubric"
EMBEDDED_MODEL = "local/gemma-3-270m"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Schema(StrEnum):
    """Whether to ask for an answer by a JSON schema."""

    AUTO = "auto"
    """Where LiteLLM says that the model takes one, until its endpoint refuses."""
    ALWAYS = "always"
    NEVER = "never"


class Deployment(Params):
    """A model at an endpoint, in the words of LiteLLM's ``litellm_params``."""

    model: Annotated[str, Field(pattern=r"^[^/\s]+/\S+$")]  # provider/name
    schema_use: Annotated[Schema, Field(alias="schema", strict=False)]
    api_base: str | None = None
    api_key: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    input_cost_per_token: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    output_cost_per_token: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    rpm: Annotated[int, Field(ge=1)] | None = None
    tpm: Annotated[int, Field(ge=1)] | None = None

    @property
    def provider(self) -> str:
        """The part of the model's name that tells LiteLLM whose it is."""
        return self.model.partition("/")[0]

    @property
    def is_rubric(self) -> bool:
        """Whether it is the offline rubric, which is no language model."""
        return self.model == RUBRIC_MODEL

    @property
    def is_embedded(self) -> bool:
        """Whether it is the model that runs in a child process of ours."""
        return self.model == EMBEDDED_MODEL

    @property
    def is_free(self) -> bool:
        """Whether nobody sends a bill: it runs on this machine, by its very name."""
        host = urlsplit(self.api_base).hostname if self.api_base else None
        is_own_ollama = self.provider.startswith("ollama") and host in LOOPBACK
        return self.is_rubric or self.is_embedded or is_own_ollama

    @property
    def endpoint(self) -> str:
        """Where it is reached, for a message."""
        return self.api_base or f"{self.provider}'s own address"


class Route(NamedTuple):
    """An alias, and one model at one endpoint or several."""

    alias: str
    deployments: tuple[Deployment, ...]  # alike in what changes an answer

    @property
    def model(self) -> str:
        """The model's name, as the first deployment gives it."""
        return self.deployments[0].model

    @property
    def temperature(self) -> float:
        """The sampling temperature."""
        return self.deployments[0].temperature or 0.0

    @property
    def schema_use(self) -> Schema:
        """Whether to ask by a JSON schema."""
        return self.deployments[0].schema_use

    @property
    def is_rubric(self) -> bool:
        """Whether it is the offline rubric, which is no language model."""
        return self.deployments[0].is_rubric

    @property
    def where(self) -> str:
        """The route's place in params.yaml and its model, for a message."""
        return f"models.{self.alias} ({self.model})"


def load_routes(values: Mapping[str, Any]) -> dict[str, Route]:
    """All routes under `models`, by alias, in their order.

    Raises:
        ParamError: One is not as it should be. A key that was written into the file is refused
            and not repeated.
    """
    models = values.get("models")
    if not isinstance(models, dict) or not models:
        raise ParamError(
            "section models has to map aliases to models",
            where=PARAMS_FILE,
            fix="Restore it from Git.",
        )
    return {str(name): _load_route(str(name), given) for name, given in models.items()}


def load_route(values: Mapping[str, Any], alias: str, key: str = "llm_select.route") -> Route:
    """The route `alias` that the parameter `key` names, once all of `models` is found sound.

    Raises:
        ParamError: No such route (the nearest one is offered), or any route is not as it should
            be.
    """
    routes = load_routes(values)
    if alias not in routes:
        raise ParamError(
            f"{key}: models has no {alias}{nearest(alias, routes)}",
            where=PARAMS_FILE,
            fix=f"Name one of {', '.join(routes)}, or add it under models.",
        )
    return routes[alias]


def load_chain(
    values: Mapping[str, Any], route: str, fallback_routes: Sequence[str]
) -> list[Route]:
    """The route and those that stand in for it, in the order in which they are asked.

    Raises:
        ParamError: One is unknown, named twice, or cannot stand in for another.
    """
    chain = [load_route(values, route)]
    for alias in fallback_routes:
        other = load_route(values, alias, "llm_select.fallback_routes")
        if other.is_rubric or chain[0].is_rubric or other in chain:
            raise ParamError(
                f"llm_select.fallback_routes: {alias} cannot stand in for {route}",
                where=PARAMS_FILE,
                fix="Name each route once, and never offline: where no route gives an answer, the "
                "offline rubric picks anyway, and says so.",
            )
        chain.append(other)
    return chain


def require_key(route: Route) -> None:
    """Refuse a route whose key is known to lack, before any call.

    Raises:
        ParamError: The environment variable that it names, or that its provider wants, is unset.
    """
    for deployment in route.deployments:
        name = missing_key(deployment.provider, deployment.api_key, deployment.api_base)
        if name is not None:
            raise no_key(route.where, name)


def no_key(where: str, name: str) -> ParamError:
    """The error of a route whose key is not in the environment."""
    return ParamError(
        f"the environment variable {name} is not set, and no call was made",
        where=f"{PARAMS_FILE}: {where}",
        fix=f"Set {name}, or choose another llm_select.route; offline needs no key. For an "
        "endpoint of your own that wants none, write api_key: none.",
    )


def _load_route(alias: str, given: Any) -> Route:
    name = f"models.{alias}"
    several = given if isinstance(given, list) else [given]
    deployments = tuple(
        _load_deployment(name if several is not given else f"{name}[{i}]", each)
        for i, each in enumerate(several)
    )
    if not deployments:
        raise ParamError(f"{name} is an empty list", where=PARAMS_FILE, fix=_HOW)
    for deployment in deployments[1:]:
        _check_alike(name, deployments[0], deployment)
    return Route(alias, deployments)


_HOW = "Write it as {model: provider/name, schema: auto}, or as a list of such."


def _load_deployment(name: str, given: Any) -> Deployment:
    if not isinstance(given, dict):
        raise ParamError(
            f"{name} has to be a mapping with model and schema", where=PARAMS_FILE, fix=_HOW
        )
    _check_secrets(name, given)
    deployment = load_section({name: given}, name, Deployment)
    _check_offline(name, deployment)
    if (deployment.input_cost_per_token is None) != (deployment.output_cost_per_token is None):
        raise ParamError(
            f"{name} gives one price of two",
            where=PARAMS_FILE,
            fix="Give both input_cost_per_token and output_cost_per_token, or neither.",
        )
    return deployment


def _check_alike(name: str, first: Deployment, other: Deployment) -> None:
    """Refuse deployments of one route that would answer, or be asked, in different ways."""
    for key in ("temperature", "schema_use"):
        if getattr(first, key) != getattr(other, key):
            raise ParamError(
                f"{name}: its deployments differ in {key.removesuffix('_use')}",
                where=PARAMS_FILE,
                fix="Deployments of one route are one model at several endpoints; make them "
                "alike, or two routes.",
            )
    if first.is_rubric or first.is_embedded:
        raise ParamError(
            f"{name}: {first.model} runs on this machine, in one deployment alone",
            where=PARAMS_FILE,
            fix="Name it once.",
        )


def _check_secrets(name: str, given: Mapping[str, Any]) -> None:
    """Refuse what may hold a secret before any message could repeat it."""
    api_key, api_base = given.get("api_key"), given.get("api_base")
    is_named = isinstance(api_key, str) and (api_key == NO_KEY or key_name(api_key))
    if api_key is not None and not is_named:
        raise ParamError(
            f"{name}.api_key has to name an environment variable, not to hold a key",
            where=PARAMS_FILE,
            fix="Write os.environ/NAME and set NAME, or none for an endpoint that wants no key. "
            "If a real key stood here, revoke it: files are shared, and Git remembers.",
        )
    if api_base is not None and not _is_plain_url(api_base):
        raise ParamError(
            f"{name}.api_base has to be a plain address, without user, password or query",
            where=PARAMS_FILE,
            fix="Write it as http://127.0.0.1:8000/v1.",
        )


def _is_plain_url(api_base: Any) -> bool:
    try:
        url = urlsplit(api_base)
        is_http = url.scheme in ("http", "https") and bool(url.hostname)
        _ = url.port  # raises for what is no number
    except (ValueError, TypeError, AttributeError):
        return False
    return is_http and not (url.username or url.password or url.query or url.fragment)


def _check_offline(name: str, deployment: Deployment) -> None:
    for ours in (RUBRIC_MODEL, EMBEDDED_MODEL):
        provider = ours.partition("/")[0]
        if deployment.provider == provider and deployment.model != ours:
            raise ParamError(
                f"{name}.model: {provider} has no such model, not {deployment.model!r}",
                where=PARAMS_FILE,
                fix=f"Write {ours}.",
            )
