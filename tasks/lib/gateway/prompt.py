"""The prompt: what a model is told, in a system part and a user part."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from string import Template
from typing import NamedTuple

from tasks.lib.core.errors import ParamError, nearest
from tasks.lib.gateway.fence import render_block

USER_MARK = "===== user ====="
PLACEHOLDERS = ("candidates", "n_picks", "n_candidates")
PROMPTS = Path(__file__).parent / "texts"
FRAME = "frame.txt"  # our prompt around the criteria that a user may write anew
REASK = "reask.txt"

Messages = list[dict[str, str]]
"""Chat messages, each with ``role`` and ``content``."""


class Prompt(NamedTuple):
    """A prompt's two parts, checked: each placeholder is there, none is unknown."""

    system: Template
    user: Template

    def messages(self, texts: Sequence[str], n_picks: int, *, rationale: bool = False) -> Messages:
        """The question about these candidates, whose texts stand in the user's message alone.

        With `rationale` it also asks for a sentence on each pick.
        """
        numbers = {"n_picks": str(n_picks), "n_candidates": str(len(texts))}
        user = self.user.substitute(numbers, candidates=render_block(texts, n_picks))
        if rationale:
            user += f"\n{words('rationale.txt')}"
        return [
            {"role": "system", "content": self.system.substitute(numbers)},
            {"role": "user", "content": user},
        ]


def reask(reply: str, fault: str, file: str = REASK) -> Messages:
    """What follows a question whose `reply` was no answer: the reply, and what is wrong with it."""
    return [
        {"role": "assistant", "content": reply.strip() or "(nothing)"},
        {"role": "user", "content": Template(words(file)).substitute(fault=fault)},
    ]


def read_prompt(path: Path) -> Prompt:
    """The prompt of the file at `path`: a whole one, or criteria that take ours' place in it.

    A file with the line that parts system from user is a whole prompt.

    Raises:
        ParamError: It is missing, empty or not text, has that line twice, lacks a placeholder,
            has an unknown one, or shows candidates in the system part.
    """
    text = _read(path)
    if f"\n{USER_MARK}\n" not in f"\n{text}\n":
        return _around(path, text)
    parts = f"\n{text}\n".split(f"\n{USER_MARK}\n")
    if len(parts) != 2:
        raise ParamError(
            f"expected one line {USER_MARK!r} between system and user part, found {len(parts) - 1}",
            where=str(path),
            fix="Part the file by that line once, as tasks/lib/gateway/texts/frame.txt does.",
        )
    system, user = (Template(part.strip()) for part in parts)
    _check(path, system, user)
    return Prompt(system, user)


def _around(path: Path, criteria: str) -> Prompt:
    """Our prompt with these criteria."""
    placeholder = next((name for name in PLACEHOLDERS if f"${name}" in criteria), None)
    if placeholder or not criteria.strip():
        raise ParamError(
            "the file is empty"
            if not placeholder
            else f"${placeholder} stands in it, but no line {USER_MARK!r}",
            where=str(path),
            fix="Write criteria alone, as in tasks/llm_select/criteria.txt, or a whole prompt, "
            f"with a line {USER_MARK!r} between its system part and its user part.",
        )
    system, user = words(FRAME).split(f"\n{USER_MARK}\n")
    system = Template(system).safe_substitute(criteria=criteria.strip().replace("$", "$$"))
    return Prompt(Template(system.strip()), Template(user.strip()))


@cache
def words(name: str) -> str:
    """What a file of ours among the prompts says."""
    return (PROMPTS / name).read_text(encoding="utf-8").strip()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ParamError(
            f"llm_select.prompt names a file that cannot be read: {reason}",
            where=str(path),
            fix="Name a file of criteria, or a whole prompt; the one that comes with SelectLLM is "
            "tasks/llm_select/criteria.txt.",
        ) from None


def _check(path: Path, system: Template, user: Template) -> None:
    for part in (system, user):
        if not part.is_valid():
            raise ParamError(
                "a $ stands before something that is no placeholder",
                where=str(path),
                fix="Write $$ for a dollar sign.",
            )
    found = [*system.get_identifiers(), *user.get_identifiers()]
    for name in found:
        if name not in PLACEHOLDERS:
            raise ParamError(
                f"placeholder ${name} is unknown{nearest(name, PLACEHOLDERS)}",
                where=str(path),
                fix="Known: $candidates, $n_picks and $n_candidates. Write $$ for a dollar sign.",
            )
    for name in PLACEHOLDERS:
        if name not in found:
            raise ParamError(
                f"placeholder ${name} is missing",
                where=str(path),
                fix=f"Write ${name} where it belongs, as tasks/lib/gateway/texts/frame.txt does.",
            )
    if "candidates" in system.get_identifiers():
        raise ParamError(
            "$candidates stands in the system part, where untrusted text would be obeyed",
            where=str(path),
            fix=f"Move it below the line {USER_MARK!r}.",
        )
