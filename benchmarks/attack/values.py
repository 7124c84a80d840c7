"""Random values that no reader expects."""

import json
import random
from typing import Any

NUMBERS = (
    *(0, -1, 1, 7.5, -8, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 10**400, -(10**30)),
    *(1e308, -1e308, 5e-324, float("inf"), float("-inf"), float("nan"), True, False),
)
PARTS = (
    *("\x1b[31m", "\x1b]8;;http://evil.example\x07", "\x1b[2J", "\x9b31m", "\r", "\n", "\x00"),
    *("\u202e", "\u2066", "\u200b", "\ufeff", "\xad", "\u2028", "\U000e0041", "\x7f", "\ud800"),
    *("<script>pwned()</script>", "<img src=x onerror=pwned()>", "{{7*7}}", "${x}", "%s%n", "{0}"),
    *("[bold]", "[/]", "[link=http://evil.example]", ":skull:", "=HYPERLINK(1)", "@SUM(1)", "+1"),
    *(
        "-2+3",
        "\t=1",
        "| x |",
        "```",
        "](http://evil.example)",
        "javascript:pwned()",
        "\\",
        '"',
        "'",
    ),
    *("../../etc/passwd", "None", "null", "NaN", "é", "日本", "\U0001f600", "a" * 300, " ", ""),
)
WORDS = ("Explain", "tides", "to", "a child", "list", "three", "rivers", "why", "summarise")


def number(rng: random.Random) -> Any:
    """Return a number that is no count, or is a very large or small one."""
    if rng.random() < 0.7:
        return rng.choice(NUMBERS)
    return rng.choice((1, -1)) * rng.choice((rng.randrange(10**6), rng.expovariate(1e-3)))


def text(rng: random.Random, n_parts: int = 6) -> str:
    """Return ordinary words with parts between them that act somewhere."""
    return " ".join(
        rng.choice(PARTS if rng.random() < 0.5 else WORDS) for _ in range(rng.randint(1, n_parts))
    )


def value(rng: random.Random, depth: int = 3) -> Any:
    """Return any JSON value."""
    kind = rng.randrange(7 if depth else 4)
    if kind == 0:
        return number(rng)
    if kind == 1:
        return text(rng)
    if kind == 2:
        return rng.choice((None, True, False, "", [], {}))
    if kind == 3:
        return rng.choice(("x" * 10 ** rng.randint(2, 6), rng.randrange(10**12)))
    if kind == 4:
        return [value(rng, depth - 1) for _ in range(rng.randrange(5))]
    if kind == 5:
        return {text(rng, 2): value(rng, depth - 1) for _ in range(rng.randrange(5))}
    return nested(rng.choice((60, 70, 400)))


def nested(depth: int) -> Any:
    """Return a list in a list, and so on."""
    made: Any = []
    for _ in range(depth):
        made = [made]
    return made


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to every value in a tree, excluding the tree itself."""
    found = [path] if path else []
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            found += places(tree[key], (*path, key))
    return found


def edit(rng: random.Random, tree: Any, only: str = "") -> None:
    """Change, remove, rename or wrap a value somewhere in a tree.

    Args:
        rng: The source of chance.
        tree: A JSON object, which is changed.
        only: The top-level key below which to change something.
    """
    paths = [path for path in places(tree) if not only or path[0] == only]
    if not paths:
        return
    *above, key = rng.choice(paths)
    parent = tree
    for step in above:
        parent = parent[step]
    kind = rng.randrange(8)
    if kind < 3:
        parent[key] = number(rng)
    elif kind < 5:
        parent[key] = value(rng)
    elif kind == 5:
        del parent[key]
    elif kind == 6 and isinstance(parent, dict):
        parent[rng.choice((str(key).upper(), f"{key}s", text(rng, 1)))] = parent.pop(key)
    else:
        parent[key] = [parent[key]] * rng.choice((1, 2, 50))


def dumps(tree: Any) -> bytes:
    """Return JSON, in which a lone surrogate is an escape and a NaN is a word."""
    return json.dumps(tree).encode()
