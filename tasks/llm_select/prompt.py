"""The prompt: the question about a list of candidates, in a system part and a user part."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from string import Template, ascii_uppercase
from typing import NamedTuple

from tasks.lib.core.errors import ParamError, nearest
from tasks.lib.gateway.prompt_fence import BLOCK_HEADER, fence_word, render_block
from tasks.lib.gateway.request import USER_MARK, Messages, read_words
from tasks.lib.journal.legacy import former_texts

PLACEHOLDERS = ("candidates", "n_picks", "n_candidates")
HERE = Path(__file__).parent
LETTER_REASK_WORDS = read_words(HERE / "letter_reask.txt")
FRAME = "tasks/llm_select/frame.txt"  # our prompt around the criteria, which a user may replace


class Prompt(NamedTuple):
    """A prompt with checked placeholders: all are present, and all are known."""

    system: Template
    user: Template
    rationale_words: str
    block_header: str
    former: "Prompt | None" = None  # as worded up to journal version 2
    is_whole: bool = False  # it asks for a list of slots in its own words

    def messages(self, texts: Sequence[str], n_picks: int, *, rationale: bool = False) -> Messages:
        """Return the question about these candidates; their texts are only in the user part.

        With `rationale` it also asks for a sentence about each pick.
        """
        block = render_block(texts, n_picks, self.block_header)
        user = block.join(_around_candidates(self.user, n_picks, len(texts)))
        if rationale:
            user += f"\n{self.rationale_words}"
        return [
            {"role": "system", "content": _with_numbers(self.system, n_picks, len(texts))},
            {"role": "user", "content": user},
        ]

    def letter_messages(self, texts: Sequence[str]) -> Messages:
        """Return the question about the best candidate, and the start of its reply.

        With the start, even a model that does not follow instructions continues with a letter.
        """
        n = len(texts)
        block = render_block(texts, 1, self.block_header, ascii_uppercase[:n])
        user = Template(read_words(HERE / "letter.txt")).substitute(
            n_candidates=n, candidates=block
        )
        return [
            {"role": "system", "content": _with_numbers(self.system, 1, n)},
            {"role": "user", "content": user},
            {"role": "assistant", "content": read_words(HERE / "letter_start.txt")},
        ]


@lru_cache(maxsize=256)  # a run's prompts have few sizes
def _with_numbers(template: Template, n_picks: int, n: int, candidates: str = "") -> str:
    return template.substitute(n_picks=n_picks, n_candidates=n, candidates=candidates)


@lru_cache(maxsize=256)
def _around_candidates(template: Template, n_picks: int, n: int) -> list[str]:
    """Return the parts of a text before, between and after its placeholders for candidates."""
    mark = fence_word([template.template])  # it occurs nowhere in the template
    return _with_numbers(template, n_picks, n, mark).split(mark)


def read_prompt(path: Path) -> Prompt:
    """Return the prompt in the file at `path`, or our own prompt with the criteria in the file.

    A file with the line that separates the system and user parts is a whole prompt.

    Raises:
        ParamError: The file is missing, empty or not text, has that line twice, lacks a
            placeholder, has an unknown one, or shows candidates in the system part.
    """
    text, former = _read(path), former_texts()
    is_whole = f"\n{USER_MARK}\n" in f"\n{text}\n"
    if is_whole:
        parts = former_parts = _parts(path, text)
    else:
        _check_criteria(path, text)
        is_ours = text.strip() == read_words(HERE / "criteria.txt")
        parts = _around(read_words(HERE / "frame.txt"), text)
        former_parts = _around(former["frame"], former["criteria"] if is_ours else text)
    old = Prompt(*former_parts, former["rationale"], former["block_header"])
    return Prompt(*parts, read_words(HERE / "rationale.txt"), BLOCK_HEADER, old, is_whole)


def _parts(path: Path, text: str) -> tuple[Template, Template]:
    """Return the checked system and user parts of a whole prompt."""
    parts = f"\n{text}\n".split(f"\n{USER_MARK}\n")
    if len(parts) != 2:
        raise ParamError(
            f"expected exactly one line {USER_MARK!r}, found {len(parts) - 1}",
            where=str(path),
            fix=f"Keep only the one between the system part and the user part, as in {FRAME}.",
        )
    system, user = (Template(part.strip()) for part in parts)
    _check(path, system, user)
    return system, user


def _check_criteria(path: Path, criteria: str) -> None:
    placeholder = next((name for name in PLACEHOLDERS if f"${name}" in criteria), None)
    if placeholder or not criteria.strip():
        raise ParamError(
            "the file is empty"
            if not placeholder
            else f"the file contains ${placeholder} but no line {USER_MARK!r}",
            where=str(path),
            fix="Write criteria alone, as in tasks/llm_select/criteria.txt, or a whole prompt "
            f"with a line {USER_MARK!r} between its system part and its user part.",
        )


def _around(frame: str, criteria: str) -> tuple[Template, Template]:
    """Return the system and user parts of a frame with the criteria inserted."""
    system, user = frame.split(f"\n{USER_MARK}\n")
    system = Template(system).safe_substitute(criteria=criteria.strip().replace("$", "$$"))
    return Template(system.strip()), Template(user.strip())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ParamError(
            f"llm_select.prompt names a file that cannot be read: {reason}",
            where=str(path),
            fix="Name a file with criteria or a whole prompt, such as the default "
            "tasks/llm_select/criteria.txt.",
        ) from None


def _check(path: Path, system: Template, user: Template) -> None:
    for part in (system, user):
        if not part.is_valid():
            raise ParamError(
                "a $ is followed by something that is not a placeholder",
                where=str(path),
                fix="Write $$ for a dollar sign.",
            )
    names = [*system.get_identifiers(), *user.get_identifiers()]
    for name in names:
        if name not in PLACEHOLDERS:
            raise ParamError(
                f"placeholder ${name} is unknown{nearest(name, PLACEHOLDERS)}",
                where=str(path),
                fix="Known: $candidates, $n_picks and $n_candidates. Write $$ for a dollar sign.",
            )
    for name in PLACEHOLDERS:
        if name not in names:
            raise ParamError(
                f"placeholder ${name} is missing",
                where=str(path),
                fix=f"Write ${name} where it belongs, as in {FRAME}.",
            )
    if "candidates" in system.get_identifiers():
        raise ParamError(
            "$candidates is in the system part, where a model would obey untrusted text",
            where=str(path),
            fix=f"Move it below the line {USER_MARK!r}.",
        )
