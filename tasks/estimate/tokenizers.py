"""How many tokens a text has at least, whoever counts."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from tasks.lib.gateway.litellm_setup import load_litellm

FEWEST_SHARE = 0.5
"""Of the tokens that the better of OpenAI's tokenizers makes of a text, what is certain elsewhere:
Gemma's makes 0.67 of them of emoji, and 0.85 to 1.16 of Thai, Chinese, English and code."""


def fewest_tokens(text: str) -> int:
    """A number of tokens that no tokenizer of today's models stays under, in any language."""
    counts = (len(each.encode(text, disallowed_special=())) for each in _encodings())
    return int(FEWEST_SHARE * min(counts))


@cache
def _encodings() -> list[Any]:
    package = Path(load_litellm().__file__).parent  # it brings both along; tiktoken would download
    os.environ["TIKTOKEN_CACHE_DIR"] = str(package / "litellm_core_utils" / "tokenizers")
    import tiktoken  # noqa: PLC0415

    return [tiktoken.get_encoding(name) for name in ("cl100k_base", "o200k_base")]
