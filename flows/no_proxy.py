"""Keep a network's proxy from being used for the servers on this machine."""

from collections.abc import Mapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def proxied_loopback(env: Mapping[str, str]) -> list[str]:
    """Return the names of this machine that an environment would reach through a proxy."""
    if not any(env.get(name) or env.get(name.upper()) for name in PROXIES):
        return []
    direct = _direct(env)
    return [] if "*" in direct else [name for name in LOOPBACK if name not in direct]


def with_direct_loopback(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with NO_PROXY for this machine, where Prefect and local models listen.

    Through a proxy, Prefect's client would wait minutes for a server that the proxy cannot reach.
    """
    missing = proxied_loopback(env)
    if not missing:
        return dict(env)
    names = ",".join([*_direct(env), *missing])
    return {**env, "NO_PROXY": names, "no_proxy": names}


def _direct(env: Mapping[str, str]) -> list[str]:
    text = env.get("no_proxy") or env.get("NO_PROXY") or ""
    return [name.strip() for name in text.split(",") if name.strip()]
