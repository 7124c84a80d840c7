"""Parse a conversation from one text, in which marks indicate the speaker.

Known marks: the special tokens of ChatML, Llama 2, Llama 3, Gemma and similar models; headings such
as ``### Human:`` or ``### Instruction:``; ``[|Human|]`` and ``[Human]:``; ``<human>``; and the
lines ``Human:`` and ``Assistant:``.
"""

import re
from typing import NamedTuple

from tasks.ingest.parse_turns import ASSISTANT, ROLES, SYSTEM, USER, Turn, role_of


class _Marks(NamedTuple):
    """One way to mark turns.

    Attributes:
        hint: A string that every text with these marks contains.
        mark: Matches a mark; the ``role`` group captures the role.
        has_opening: Whether a system prompt may come before the first mark.
        needs_both: Whether a text is a conversation only if the assistant has a mark, too.
    """

    hint: str
    mark: re.Pattern[str]
    has_opening: bool = False
    needs_both: bool = False


_NAMES = "|".join(sorted((re.escape(name).replace("_", "[_ ]") for name in ROLES), reverse=True))
_TOKENS = (
    _Marks("<|im_start|>", re.compile(r"<\|im_start\|>[ ]*(?P<role>\w+)[ ]*(?:\n|<\|im_sep\|>)")),
    _Marks(
        "header_",
        re.compile(
            r"<\|(?:start_header_id|header_start)\|>\s*(?P<role>\w+)\s*"
            r"<\|(?:end_header_id|header_end)\|>"
        ),
    ),
    _Marks("<start_of_turn>", re.compile(r"<start_of_turn>\s*(?P<role>\w+)\s*\n")),
    _Marks(
        "<|message|>",
        re.compile(r"<\|start\|>(?P<role>\w+)(?:<\|channel\|>\w+)?<\|message\|>"),
    ),
    _Marks("|>", re.compile(rf"<\|(?P<role>{_NAMES})(?:_token)?\|>:?", re.IGNORECASE)),
    _Marks("｜>", re.compile(rf"<｜(?P<role>{_NAMES})｜>", re.IGNORECASE), True, needs_both=True),
    _Marks(
        "<extra_id_",
        re.compile(rf"<extra_id_[01]>(?P<role>{_NAMES})\n", re.IGNORECASE),
        has_opening=True,
        needs_both=True,
    ),
    _Marks(
        ">",
        re.compile(r"<(?P<role>human|user|bot|assistant|system)>:?", re.IGNORECASE),
        needs_both=True,
    ),
)
_HEADINGS = (
    _Marks(
        "##",
        re.compile(rf"(?<!#)#{{2,3}} ?(?P<role>{_NAMES}|input) ?:", re.IGNORECASE),
        has_opening=True,
        needs_both=True,
    ),
    _Marks(
        "[|", re.compile(rf"\[\|(?P<role>{_NAMES})\|\]:?", re.IGNORECASE), True, needs_both=True
    ),
    _Marks("]:", re.compile(rf"\[(?P<role>{_NAMES})\]:", re.IGNORECASE), True, needs_both=True),
)
_LINES = _Marks(
    ":",
    re.compile(
        r"(?:\A|\n)[ \t]{0,8}(?P<role>human|user|assistant|ai|bot|gpt|system|function response):",
        re.IGNORECASE,
    ),
    needs_both=True,
)
_INLINE = _Marks(
    "ASSISTANT:",
    re.compile(r"(?:\A|\s|</s>)(?P<role>USER|ASSISTANT):"),
    has_opening=True,
    needs_both=True,
)
# A text may start with a beginning-of-text token.
_START = re.compile(
    r"\s*(?:<s>|<bos>|<\|begin_of_text\|>|<\|startoftext\|>|\[gMASK\]|<sop>|<BOS_TOKEN>"
    r"|<\|START_OF_TURN_TOKEN\|>|<｜begin▁of▁sentence｜>|\s)*"
)
_ENDS = (
    *("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|eot|>", "<|end_of_text|>", "<|end|>"),
    *("<|endoftext|>", "<end_of_turn>", "</s>", "<s>", "<eoh>", "<eoa>", "<eom>", "<eot>"),
    *("<|return|>", "<|start|>assistant", "<｜end▁of▁sentence｜>"),
    *("<|END_OF_TURN_TOKEN|>", "<|START_OF_TURN_TOKEN|>"),
)
_LLAMA_2 = re.compile(r"\[INST\](.*?)(?:\[/INST\](.*?))?(?=(?:<s>\s*)?\[INST\]|\Z)", re.DOTALL)
_LLAMA_2_SYSTEM = re.compile(r"\A\s*<<SYS>>(.*?)<</SYS>>", re.DOTALL)


def parse_marks(text: str, *, by_lines: bool = False) -> list[Turn] | None:
    """Return the turns in a marked text, or None if no user turn is marked.

    Args:
        text: The text.
        by_lines: Whether lines such as ``Human:`` and ``Assistant:`` are marks. They also occur in
            texts that quote a conversation.
    """
    start = _START.match(text)
    body = text[start.end() :] if start else text
    if body.startswith("[INST]"):
        return _parse_llama_2(body)
    for marks in (*_TOKENS, *_HEADINGS, *((_LINES, _INLINE) if by_lines else ())):
        if marks.hint in body:
            turns = _split(body, marks)
            if turns is not None:
                return turns
    return None


def may_be_chat(text: str) -> bool:
    """Return whether a text may contain marks other than lines, or may be JSON messages.

    This runs for every row of a pool. It is ten times as fast as searching for the marks.
    """
    return (
        "|>" in text
        or "##" in text
        or "]:" in text
        or "[|" in text
        or "[INST]" in text
        or "｜>" in text
        or "<extra_id_" in text
        or text.startswith(("[{", "<human>", "<user>", "<system>"))
        or "<start_of_turn>" in text
    )


def _split(text: str, marks: _Marks) -> list[Turn] | None:
    found = list(marks.mark.finditer(text))
    roles = [_role(match) for match in found]
    needed = {USER, ASSISTANT} if marks.needs_both else {USER}
    if not needed <= set(roles):
        return None
    opening = text[: found[0].start()].strip()
    if opening and not marks.has_opening:
        return None
    speaker = USER if roles[0] == ASSISTANT else SYSTEM
    turns = [Turn(speaker, opening)] if opening else []
    ends = [match.start() for match in found[1:]] + [len(text)]
    for match, role, end in zip(found, roles, ends, strict=True):
        content = _clean(text[match.end() : end])
        if role == "input" and turns:  # it belongs to the instruction before it
            asked = turns.pop()
            turns.append(Turn(USER, "\n\n".join(filter(None, [asked.content, content]))))
        else:
            turns.append(Turn(role, content))
    return turns


def _role(match: re.Match[str]) -> str:
    return role_of(match["role"])


def _clean(text: str) -> str:
    """Return the text without its end tokens."""
    text = text.strip()
    while end := next((end for end in _ENDS if text.endswith(end)), None):
        text = text.removesuffix(end).rstrip()
    return text


def _parse_llama_2(text: str) -> list[Turn]:
    turns: list[Turn] = []
    for question, answer in _LLAMA_2.findall(text):
        system = None if turns else _LLAMA_2_SYSTEM.match(question)
        if system:
            turns.append(Turn(SYSTEM, system[1].strip()))
        turns.append(Turn(USER, question[system.end() if system else 0 :].strip()))
        if _clean(answer):
            turns.append(Turn(ASSISTANT, _clean(answer)))
    return turns
