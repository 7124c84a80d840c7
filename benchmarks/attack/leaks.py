"""F: secrets in every place and encoding, and the modes of the files that a run creates."""

import codecs
import html
import json
import os
import random
import stat
import string
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.attack import trial
from benchmarks.attack.trial import Finding, broken
from tests.behaviours import fails, honest, says
from tests.exchange import Call, Response
from tests.fake_provider import FakeProvider
from tests.money_desk import MoneyDesk
from tests.workspaces import free_port

PIECE = 12  # consecutive characters of a secret or of an encoding of it
PRIVATE = ("journal.sqlite", "vectors", "prefect.db", "mlflow.db")


def _secret(rng: random.Random, alphabet: str = string.ascii_letters + string.digits) -> str:
    special = rng.choice(("", "+/=", "-_.", "!$&'()*,;", "%?#@ ", "äß"))
    return "".join(rng.choices(alphabet + special * 3, k=rng.choice((20, 33, 64))))


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "percent": lambda text: quote(text, safe=""),
    "every byte as percent": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64 of a login": lambda text: b64encode(f"joe:{text}".encode()).decode(),
    "base64 of a header": lambda text: b64encode(f"Bearer {text}\n".encode()).decode(),
    "base64 for URLs": lambda text: urlsafe_b64encode(f"x{text}".encode()).decode().rstrip("="),
    "hex": lambda text: text.encode().hex(),
    "hex in capitals": lambda text: text.encode().hex().upper(),
    "JSON escapes": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "HTML entities": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "HTML": html.escape,
    "Python's repr": repr,
    "backwards": lambda text: text[::-1],
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "in capitals": str.upper,
    "base64 twice": lambda text: b64encode(b64encode(text.encode())).decode(),
}
PROMISED = list(ENCODINGS)[:14]
"""The encodings in which servers and libraries write what they got; no list has all the others."""


def attack(rng: random.Random, root: Path, patience: float) -> tuple[str, list[Finding]]:
    """Put a secret somewhere, run a command, and look for the secret everywhere."""
    os.umask(0o022)
    place = rng.choice(PLACES)
    return place(rng, root, patience)


def found_in(
    root: Path, output: str, echoes: dict[str, str], given: tuple[Path, ...] = ()
) -> list[Finding]:
    """Return the places, except the given files, with a part of a secret in any encoding."""
    places = {"the output": output.encode(errors="replace")}
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path not in given:
            places[str(path.relative_to(root))] = path.read_bytes()
    found = []
    for encoding, echo in echoes.items():
        pieces = {echo[i : i + PIECE].encode() for i in range(len(echo) - PIECE + 1)}
        pieces = {piece for piece in pieces if b"Bearer" not in piece}
        for name, content in places.items():
            if any(piece in content for piece in pieces):
                found.append(broken(f"a secret, {encoding}, is in {name}"))
    return found + _modes(root)


def _modes(root: Path) -> list[Finding]:
    return [
        broken(f"{path.relative_to(root)} has the mode {stat.S_IMODE(path.stat().st_mode):o}")
        for path in (root / ".selectllm").rglob("*")
        if path.is_file()
        and any(part.startswith(PRIVATE) for part in path.relative_to(root).parts)
        and stat.S_IMODE(path.stat().st_mode) & 0o077
        and path.stat().st_size
    ]


def echoed(rng: random.Random, root: Path, patience: float) -> tuple[str, list[Finding]]:
    """Let the provider echo the key that it got, in some encoding, in some part of its replies."""
    secret = _secret(rng)
    secret = "".join(char for char in secret if char.isascii() and char not in " ") or "x" * 20
    encoding = rng.choice(PROMISED)
    echo = ENCODINGS[encoding](secret)
    words = rng.choice(
        ("your key {} is wrong", "{}", "a{}b", "Authorization: Bearer {}", "('{}',)")
    )
    text = words.format(echo)
    parts: dict[str, Callable[[Call], Response]] = {
        "an error": fails(rng.choice((400, 403, 429, 500, 503)), text, code=echo, param=echo),
        "a refused key": fails(401, text),
        "the answer": says(text),
        "the name of the model": says('{"picks": [1]}', model=text),
        "a refusal": says(None, message={"refusal": text}),
        "thinking": says(None, message={"reasoning_content": text}),
        "a finish reason": says("x", finish_reason=text),
        "an error of a choice": says("", "error", choice={"error": {"message": text}}),
        "the id": says('{"picks": [1]}', id=text, system_fingerprint=text),
        "a rationale": says(json.dumps({"picks": [{"slot": 1, "reason": echo}]})),
        "a header": lambda call: replace(
            honest(call),
            headers={"x-request-id": text.encode("latin-1", "replace").decode("latin-1")},
        ),
        "an error page": lambda call: Response(502, f"<html>{text}</html>".encode()),
        "a redirect": lambda call: Response(
            302, headers={"Location": f"http://{quote(echo)}.example/"}
        ),
        "a retry": fails(
            429, text, retry_after=echo.encode("latin-1", "replace").decode("latin-1")
        ),
    }
    part = rng.choice(list(parts))
    share, seed = rng.choice((0.4, 1.0)), rng.random()

    def behave(call: Call) -> Response:
        is_hit = random.Random(f"{seed}/{call.n}").random() < share
        return parts[part](call) if is_hit else honest(call)

    desk = MoneyDesk(root, 6)
    variable = rng.choice(("MY_ACCESS", "SOME_API_KEY", "A_TOKEN"))
    is_header = rng.random() < 0.3
    route = {"extra_headers": {"X-Access": f"os.environ/{variable}"}} if is_header else {}
    route |= {} if is_header else {"api_key": f"os.environ/{variable}"}
    with FakeProvider(behave) as provider:
        desk.set(provider.deployment(**route), max_attempts=2, timeout_s=25.0,
                 rationale=part == "a rationale", batch=rng.random() < 0.1)  # fmt: skip
        ran = trial.run("benchmarks.attack.quick_step", cwd=root, patience=patience,
                        env={variable: secret, "DVC_ROOT": trial.UNSET})  # fmt: skip
        n_calls = len(provider.calls) + len(provider.batches.requests)
    missed = [] if n_calls else [broken(f"the attack made no call: {ran.output[-300:]}")]
    echoes = {"plain": secret, encoding: echo}
    title = f"echo of {variable} in {encoding} in {part} at {share}"
    return title, missed + list(trial.ending(ran)) + found_in(root, ran.output, echoes)


def in_a_variable(rng: random.Random, root: Path, patience: float) -> tuple[str, list[Finding]]:
    """Put a password into a URL in the environment of a command."""
    secret = _secret(rng).replace("/", "_").replace("#", "_").replace(" ", "_").replace("?", "_")
    secret = "".join(char for char in secret if char.isascii())
    login = f"joe:{quote(secret, safe='')}"
    address = f"127.0.0.1:{free_port()}"
    variables = {
        "MLFLOW_TRACKING_URI": rng.choice(("http", "https", "postgresql", "mysql+pymysql")),
        "PREFECT_API_URL": rng.choice(("http", "https")),
        "HTTP_PROXY": "http", "HTTPS_PROXY": "http", "ALL_PROXY": rng.choice(("http", "socks5")),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg",
    }  # fmt: skip
    names = rng.sample(list(variables), rng.randint(1, 3))
    env = {name: f"{variables[name]}://{login}@{address}/x" for name in names}
    command = rng.choice(("doctor", "doctor", "plan", "estimate", "run"))
    MoneyDesk(root, 6).set()
    (root / "flows").symlink_to(Path.cwd() / "flows")
    env |= {"DVC_ROOT": trial.UNSET, "PREFECT_HOME": str(root / ".prefect"), "NO_PROXY": ""}
    ran = trial.run("flows.cli", command, cwd=root, env=env, patience=patience)
    echoes = {"plain": secret, "percent": quote(secret, safe="")}
    title = f"{command} with a password in {', '.join(names)}"
    return title, list(trial.ending(ran)) + found_in(root, ran.output, echoes)


def in_params(rng: random.Random, root: Path, patience: float) -> tuple[str, list[Finding]]:
    """Write a secret into params.yaml, where it is refused, or into a URL of a source."""
    secret = "sk-" + "".join(
        char
        for char in _secret(rng, string.ascii_letters + string.digits)
        if char.isalnum() and char.isascii()
    )
    address = f"127.0.0.1:{free_port()}"
    desk = MoneyDesk(root, 6)
    route = {
        "model": "openai/x",
        "schema": "never",
        "input_cost_per_token": 0.0,
        "output_cost_per_token": 0.0,
    }
    url = rng.choice(("http", "https"))
    login = f"{url}://joe:{secret}@{address}"
    settings: dict[str, dict[str, Any]] = {
        "api_key": {"api_key": secret},
        "api_base": {"api_base": f"{login}/v1"},
        "query of api_base": {"api_base": f"{url}://{address}/v1?key={secret}"},
        "extra_headers": {"extra_headers": {"Authorization": f"Bearer {secret}"}},
        "extra_body": {"extra_body": {"api_key": secret}},
    }
    query = {"source": "sql:SELECT 1", "database": f"postgresql+psycopg://joe:{secret}@{address}/d"}
    changes: dict[str, tuple[str, dict[str, Any]]] = {
        key: ("llm_select", {"models": {"mine": route | value}}) for key, value in settings.items()
    } | {
        "fetch.source": ("fetch", {"fetch": {"source": f"{login}/a.jsonl"}}),
        "query of fetch.source": (
            "fetch",
            {"fetch": {"source": f"{url}://{address}/a?s={secret}"}},
        ),
        "fetch.database": ("fetch", {"fetch": query}),
        "an unknown key": ("llm_select", {"llm_select": {"api_key": secret}}),
        "a wrong type": ("llm_select", {"models": {"mine": f"{secret}"}}),
    }
    name = rng.choice(list(changes))
    step, change = changes[name]
    if "fetch" in change:
        change["ingest"] = {"source": "data/fetch"}
    if "models" in change:
        change = {"models": {**change["models"]}, "llm_select": {"route": "mine"}}
    desk.set()
    desk.update(**change)
    command = rng.choice(
        ((f"tasks.{step}", ()), ("flows.cli", ("doctor",)), ("flows.cli", ("plan",)))
    )
    (root / "flows").symlink_to(Path.cwd() / "flows")
    env = {"DVC_ROOT": trial.UNSET, "PREFECT_HOME": str(root / ".prefect")}
    ran = trial.run(command[0], *command[1], cwd=root, env=env, patience=patience)
    found = found_in(root, ran.output, {"plain": secret}, (root / "params.yaml",))
    return f"{' '.join([command[0], *command[1]])} with a secret in {name}", list(
        trial.ending(ran)
    ) + found


PLACES = (echoed, echoed, echoed, in_a_variable, in_params)
