"""Check, before any work begins, that a run's routes can judge its prompts."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

from tasks.estimate.endpoint_models import Listing, ask_listing
from tasks.estimate.longest_prompt import Sizes
from tasks.estimate.model_facts import SOON_DAYS, alternatives, facts_of
from tasks.estimate.quote_ratings import rating_route
from tasks.lib.core.errors import ParamError, nearest
from tasks.lib.core.params import PARAMS_FILE, load_section
from tasks.lib.gateway.deployment_settings import Deployment
from tasks.lib.gateway.endpoint import Endpoint
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.local_server_process import CONTEXT_TOKENS
from tasks.lib.gateway.ollama_context import context_size
from tasks.lib.gateway.routes import Route, load_chain, load_routes, require_usable
from tasks.lib.gateway.thinking import max_completion_tokens
from tasks.llm_select.params import LlmSelect

MAX_LISTED = 5  # models of an endpoint in a message
SKIP = "\n  `dvc repro` runs without this check."


class RouteFinding(NamedTuple):
    """Something about a route that a user should know before a run."""

    is_fatal: bool
    what: str
    where: str
    fix: str

    @property
    def error(self) -> ParamError:
        """The finding as the error that stops a run."""
        return ParamError(self.what, where=self.where, fix=self.fix)


class Readiness:
    """The routes of a run, checked for everything that would stop it later.

    Only endpoints are contacted, to list their models; no call is made or paid for.

    Args:
        values: All of params.yaml.
        today: The date with which the models' retirement dates are compared.
    """

    def __init__(self, values: Mapping[str, Any], today: date) -> None:
        self._params = load_section(values, "llm_select", LlmSelect)
        chain = load_chain(values, self._params.route, self._params.fallback_routes)
        rating = rating_route(values)
        self.routes = [*chain, *([rating] if rating and rating not in chain else [])]
        self._others = [r for r in load_routes(values).values() if r not in self.routes]
        self._today, self._n_judges = today, len(chain)
        self._listings: dict[str, Listing] = {}

    @property
    def has_models(self) -> bool:
        """Whether any route is a model rather than the offline judge."""
        return not all(route.is_offline for route in self.routes)

    def findings(self, sizes: Sizes | None) -> list[RouteFinding]:
        """Return the problems with the routes, in order."""
        found = [finding for route in self.routes for finding in self._usable(route)]
        if not any(finding.is_fatal for finding in found):
            found += self._ends(self.routes)
            found += self._reachable()
            found += self.size_findings(sizes)
        return found

    def size_findings(self, sizes: Sizes | None) -> list[RouteFinding]:
        """Return a finding for each route that cannot read the longest prompt at once."""
        judges = self.routes[: self._n_judges]
        return (
            [finding for route in judges for finding in self._fits(route, sizes)] if sizes else []
        )

    def endings_of_others(self) -> list[RouteFinding]:
        """Return a finding for each unused route with a model that is retired or will be soon."""
        return list(self._ends(self._others))

    def _usable(self, route: Route) -> Iterator[RouteFinding]:
        """Yield a finding if a route has no key or price, or if LiteLLM lacks its provider."""
        try:
            require_usable(route)
            for deployment in route.deployments:
                if not _is_ours(deployment):
                    Endpoint(deployment, route.where, 1.0).prepare()
        except ParamError as error:
            yield RouteFinding(True, error.what, error.where, error.fix)

    def _ends(self, routes: Iterable[Route]) -> Iterator[RouteFinding]:
        """Yield a finding for each model that is retired or will be soon."""
        for route in routes:
            for deployment in route.deployments:
                yield from _ending(deployment, f"{PARAMS_FILE}: {route.where}", self._today)

    def _reachable(self) -> Iterator[RouteFinding]:
        """Yield the endpoints' findings; a dead endpoint is fatal if no other judge is alive."""
        found = [(route, list(self._listed(route))) for route in self.routes]
        judges = [findings for _, findings in found[: self._n_judges]]
        is_dead = all(any(finding.is_fatal for finding in findings) for findings in judges)
        for route, findings in found:
            is_judge = route in self.routes[: self._n_judges]
            for finding in findings:
                yield finding._replace(is_fatal=finding.is_fatal and (is_dead or not is_judge))

    def _listed(self, route: Route) -> Iterator[RouteFinding]:
        listings = [self._listing(deployment) for deployment in route.deployments]
        where = f"{PARAMS_FILE}: {route.where}"
        n_down = sum(bool(listing.problem) for listing in listings)
        for deployment, listing in zip(route.deployments, listings, strict=True):
            if listing.problem:
                is_own = bool(deployment.api_base)
                fix = (
                    "Start it, or correct api_base." if is_own else "Check this machine's network."
                )
                what = f"the endpoint cannot be reached: {listing.problem}"
                yield RouteFinding(n_down == len(listings), what, where, fix + SKIP)
            elif listing.is_key_refused:
                what = f"{deployment.endpoint} does not accept the key"
                yield RouteFinding(True, what, where, "Set the variable to a key of this provider.")
            else:
                yield from self._served(deployment, listing, where)

    def _served(
        self, deployment: Deployment, listing: Listing, where: str
    ) -> Iterator[RouteFinding]:
        """Yield a finding if an endpoint lists models, but not this one."""
        name = deployment.model.partition("/")[2]
        if not listing.models or {name, f"{name}:latest"} & set(listing.models):
            return
        is_ollama = deployment.provider.startswith("ollama")
        facts = facts_of(deployment, load_litellm())
        names = ", ".join(listing.models[:MAX_LISTED])
        more = len(listing.models) - MAX_LISTED
        yield RouteFinding(
            is_ollama or bool(facts.ends and facts.ends < self._today),
            f"{deployment.endpoint} does not list {name}{nearest(name, listing.models)}",
            where,
            (f"Run `ollama pull {name}`, or name" if is_ollama else "Name")
            + f" a model that it has: {names}{f' and {more} more' if more > 0 else ''}.",
        )

    def _fits(self, route: Route, sizes: Sizes) -> Iterator[RouteFinding]:
        for deployment in route.deployments:
            context = self._context(deployment)
            answer = max_completion_tokens(
                deployment, self._params.max_answer_tokens, load_litellm()
            )
            room = (context or 0) - answer
            if context is None or sizes.longest <= room:
                continue
            n = sizes.n_fitting(room)
            kind = "has" if sizes.is_exact else "may have"
            yield RouteFinding(
                n == 0,
                f"the model reads {context:,} tokens at once, but the longest prompt {kind} about "
                f"{sizes.longest:,}, with {answer:,} more for the reply"
                + (": not even one candidate fits" if n == 0 else ": it would be sent in halves"),
                f"{PARAMS_FILE}: {route.where}",
                _size_fix(deployment, sizes.longest + answer, n),
            )

    def _context(self, deployment: Deployment) -> int | None:
        if deployment.is_offline:
            return None
        if deployment.is_local:
            return CONTEXT_TOKENS
        stated = deployment.num_ctx or self._listing(deployment).context
        return stated or facts_of(deployment, load_litellm()).max_input_tokens

    def _listing(self, deployment: Deployment) -> Listing:
        if _is_ours(deployment):
            return Listing()
        name = deployment.model_dump_json()
        if name not in self._listings:
            self._listings[name] = ask_listing(deployment, load_litellm())
        return self._listings[name]


def _ending(deployment: Deployment, where: str, today: date) -> Iterator[RouteFinding]:
    """Yield a finding if a model is retired or will be soon."""
    if _is_ours(deployment):
        return
    litellm = load_litellm()
    ends = facts_of(deployment, litellm).ends
    if ends is None or (ends - today).days > SOON_DAYS:
        return
    living = alternatives(deployment, litellm, today)
    when = f"ended on {ends}" if ends < today else f"ends on {ends}"
    yield RouteFinding(
        False,
        f"the provider's service for this model {when}",
        where,
        f"Available models at a similar price: {', '.join(living)}."
        if living
        else "Choose another one.",
    )


def _size_fix(deployment: Deployment, needed: int, n_fitting: int) -> str:
    if deployment.num_ctx:
        return f"Set num_ctx to {context_size(needed)}, or remove it to have it computed."
    if n_fitting:
        return (
            f"Set cluster.candidates_per_prompt to {n_fitting} or lower, lower "
            "llm_select.max_candidate_chars, or choose a model with a larger context."
        )
    return "Lower llm_select.max_candidate_chars, or choose a model with a larger context."


def _is_ours(deployment: Deployment) -> bool:
    return deployment.is_offline or deployment.is_local
