"""The prompt file: what a model is told, in a system part and a user part."""

from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import NamedTuple

from tasks.core.errors import ParamError, nearest
from tasks.llm.fence import render_block

USER_MARK = "===== user ====="
PLACEHOLDERS = ("candidates", "n_picks", "n_candidates")

Messages = list[dict[str, str]]
"""Chat messages, each with ``role`` and ``content``."""


class Prompt(NamedTuple):
    """A prompt file's two parts, checked: each placeholder is there, none is unknown."""

    system: Template
    user: Template

    def messages(self, texts: Sequence[str], n_picks: int) -> Messages:
        """The question about these candidates, whose texts stand in the user's message alone."""
        numbers = {"n_picks": str(n_picks), "n_candidates": str(len(texts))}
        block = render_block(texts, n_picks)
        return [
            {"role": "system", "content": self.system.substitute(numbers)},
            {"role": "user", "content": self.user.substitute(numbers, candidates=block)},
        ]


def read_prompt(path: Path) -> Prompt:
    """The prompt file at `path`.

    Raises:
        ParamError: It is missing or not text, has not exactly one line that parts system from
            user, lacks a placeholder, has an unknown one, or shows candidates in the system part.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ParamError(
            f"llm_select.prompt names a file that cannot be read: {reason}",
            where=str(path),
            fix="Name a prompt file; the one that comes with SelectLLM is tasks/llm/select.txt.",
        ) from None
    parts = f"\n{text}\n".split(f"\n{USER_MARK}\n")
    if len(parts) != 2:
        raise ParamError(
            f"expected one line {USER_MARK!r} between system and user part, found {len(parts) - 1}",
            where=str(path),
            fix="Part the file by that line, as tasks/llm/select.txt does.",
        )
    system, user = (Template(part.strip()) for part in parts)
    _check(path, system, user)
    return Prompt(system, user)


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
                fix=f"Write ${name} where it belongs, as tasks/llm/select.txt does.",
            )
    if "candidates" in system.get_identifiers():
        raise ParamError(
            "$candidates stands in the system part, where untrusted text would be obeyed",
            where=str(path),
            fix=f"Move it below the line {USER_MARK!r}.",
        )
