"""Compare answers with their references, using an encoder that did not choose the records."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.embed.encoder import encode_all
from tasks.embed.encoder_settings import EncoderSpec, Precision
from tasks.embed.model_source import absolute
from tasks.embed.pool_texts import PoolText
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.params import lookup

Cosine = Callable[[Sequence[str], Sequence[str]], list[float]]
"""A function that returns the cosine between each text and its reference."""


def load_cosine(values: Mapping[str, Any], encoder: str) -> Cosine:
    """Return a function that compares texts with an encoder, using the embed section's settings.

    The function embeds each text only once, however often it is compared.

    Raises:
        ParamError: The encoder does not exist.
        DataError: The encoder cannot be loaded or downloaded.
    """
    settings = [lookup(values, f"embed.{key}") for key in ("precision", "max_tokens")]
    precision, max_tokens = Precision(settings[0]), settings[1]
    spec = EncoderSpec(
        absolute(encoder), precision, max_tokens, lookup(values, "embed.batch_tokens")
    )
    try:
        model = spec.load()
    except (ParamError, DataError) as error:
        what, where, fix = (
            text.replace("embed.model", "evaluate.encoder")
            for text in (error.what, error.where, error.fix)
        )
        raise type(error)(what, where=where, fix=fix) from None
    vectors: dict[str, NDArray[np.float32]] = {}

    def cosine(texts: Sequence[str], references: Sequence[str]) -> list[float]:
        new = [text for text in dict.fromkeys([*texts, *references]) if text not in vectors]
        for rows, found, _ in encode_all(_named(new), model):
            vectors.update(zip((new[row] for row in rows), found, strict=True))
        pairs = zip(texts, references, strict=True)
        return [float(vectors[text] @ vectors[reference]) for text, reference in pairs]

    return cosine


def _named(texts: Sequence[str]) -> Iterator[PoolText]:
    for text in texts:
        yield PoolText(text[:80], text)
