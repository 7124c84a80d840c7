"""Routes: the aliases under `models` in params.yaml, and their deployments."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tasks.lib.core.errors import ParamError, nearest
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.gateway.credentials import missing_key, missing_variables
from tasks.lib.gateway.deployment_settings import FIELDS_OF_REQUEST, Deployment, Schema
from tasks.lib.gateway.load_deployment import HOW, load_deployment
from tasks.lib.gateway.local_server import require_local


class Route(NamedTuple):
    """An alias for one model at one or more endpoints."""

    alias: str
    deployments: tuple[Deployment, ...]  # equal in everything that changes an answer

    @property
    def model(self) -> str:
        """The model's name, from the first deployment."""
        return self.deployments[0].model

    @property
    def temperature(self) -> float:
        """The sampling temperature."""
        return self.deployments[0].temperature or 0.0

    @property
    def options(self) -> dict[str, Any]:
        """The other keys of the route that can change an answer, by name."""
        return self.deployments[0].options

    @property
    def own_settings(self) -> dict[str, Any]:
        """The options and the room for an answer, if set: all that a selection's name needs."""
        room = self.max_answer_tokens
        return self.options | ({} if room is None else {"max_answer_tokens": room})

    @property
    def max_answer_tokens(self) -> int | None:
        """The room for an answer; None for the step's own."""
        return self.deployments[0].max_answer_tokens

    @property
    def schema_use(self) -> Schema:
        """Whether to send a JSON schema."""
        return self.deployments[0].schema_use

    @property
    def logprobs(self) -> bool:
        """Whether llm_select reads log-probabilities of one token instead of a list of slots."""
        return self.deployments[0].logprobs

    @property
    def is_offline(self) -> bool:
        """Whether the route is the offline judge, which is not a language model."""
        return self.deployments[0].is_offline

    @property
    def where(self) -> str:
        """The route's location in params.yaml and its model, for messages."""
        return f"models.{self.alias} ({self.model})"


def load_routes(values: Mapping[str, Any]) -> dict[str, Route]:
    """Return all routes under `models`, by alias, in file order.

    Raises:
        ParamError: A route is invalid. The error never repeats an API key.
    """
    models = values.get("models")
    if not isinstance(models, dict) or not models:
        raise ParamError(
            "the models section must map aliases to models",
            where=PARAMS_FILE,
            fix="Restore it from Git.",
        )
    return {str(name): _load_route(str(name), given) for name, given in models.items()}


def load_route(values: Mapping[str, Any], alias: str, key: str = "llm_select.route") -> Route:
    """Return the route `alias`, which the parameter `key` names; check all of `models`.

    Raises:
        ParamError: The route does not exist (the error suggests the nearest), or one is invalid.
    """
    routes = load_routes(values)
    if alias not in routes:
        raise ParamError(
            f"{key}: there is no route {alias}{nearest(alias, routes)}",
            where=PARAMS_FILE,
            fix=f"Name one of {', '.join(routes)}, or add it under models.",
        )
    return routes[alias]


def load_chain(
    values: Mapping[str, Any], route: str, fallback_routes: Sequence[str]
) -> list[Route]:
    """Return the route and its fallbacks, in the order in which they are tried.

    Raises:
        ParamError: A route is unknown, named twice, or cannot be a fallback.
    """
    chain = [load_route(values, route)]
    for alias in fallback_routes:
        other = load_route(values, alias, "llm_select.fallback_routes")
        if other.is_offline or chain[0].is_offline or other in chain:
            raise ParamError(
                f"llm_select.fallback_routes: {alias} cannot be a fallback for {route}",
                where=PARAMS_FILE,
                fix="Name each route once, and never offline: if no route gives an answer, the "
                "offline judge picks anyway, and the receipt says so.",
            )
        chain.append(other)
    return chain


def require_usable(route: Route) -> None:
    """Raise an error if a route cannot be called, before any call is made.

    Raises:
        ParamError: The environment variable that the route names or its provider needs is not set,
            or the route is the local model, which is not installed.
    """
    if route.deployments[0].is_local:
        require_local()
    for deployment in route.deployments:
        key = missing_key(deployment.provider, deployment.api_key, deployment.api_base)
        for name in [key] if key else missing_variables(deployment.header_variables.values()):
            raise missing_key_error(route.where, name)


def missing_key_error(where: str, name: str) -> ParamError:
    """Return the error for a route whose key is not in the environment."""
    return ParamError(
        f"the environment variable {name} is not set, so no call was made",
        where=f"{PARAMS_FILE}: {where}",
        fix=f"Set {name}, or choose another route; the offline route needs no key. If your own "
        "endpoint needs no key, set its api_key to none.",
    )


def _load_route(alias: str, given: Any) -> Route:
    name = f"models.{alias}"
    several = given if isinstance(given, list) else [given]
    deployments = tuple(
        load_deployment(name if several is not given else f"{name}[{i}]", values)
        for i, values in enumerate(several)
    )
    if not deployments:
        raise ParamError(f"{name} is an empty list", where=PARAMS_FILE, fix=HOW)
    for deployment in deployments[1:]:
        _check_alike(name, deployments[0], deployment)
    return Route(alias, deployments)


def _check_alike(name: str, first: Deployment, other: Deployment) -> None:
    """Raise an error if the deployments of a route differ in how they are called or answer."""
    same = {*FIELDS_OF_REQUEST, *first.options, *other.options} - {"model"}  # names may differ
    for key in sorted(same):
        if getattr(first, key) != getattr(other, key):
            raise ParamError(
                f"{name}: its deployments differ in {key.removesuffix('_use')}",
                where=PARAMS_FILE,
                fix="Deployments of one route are one model at several endpoints. Make them "
                "identical, or split them into two routes.",
            )
    if first.is_offline or first.is_local:
        raise ParamError(
            f"{name}: {first.model} runs on this machine, so it can have only one deployment",
            where=PARAMS_FILE,
            fix="List it once.",
        )
