"""Texts embedded by a worker of a cluster, which must compute the vectors of the driver."""

import platform
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tasks.embed.encode import Block, Encoder, blocks_of
from tasks.embed.model_source import check_name, find_model
from tasks.embed.pool_texts import Entry
from tasks.embed.precision import Precision
from tasks.lib.core.errors import CurationError, DataError

if TYPE_CHECKING:
    from tasks.embed.sentence_encoder import SentenceEncoder

PROBES = tuple("word " * n for n in (1, 20, 60, 250))  # in batches of unlike shapes

Traits = dict[str, Any]


class Recipe(NamedTuple):
    """What it takes to load an encoder in any process.

    Attributes:
        model: A name, or a folder's absolute path.
        precision: What it computes in.
        max_tokens: How much of a text it reads at most.
        batch_tokens: How much it embeds at once.
    """

    model: str
    precision: Precision
    max_tokens: int
    batch_tokens: int

    def load(self) -> "SentenceEncoder":
        """The encoder, in seconds.

        Raises:
            ParamError: There is no such model.
            DataError: It cannot be loaded or fetched.
        """
        check_name(self.model)
        source = find_model(self.model)
        from tasks.embed.sentence_encoder import SentenceEncoder  # noqa: PLC0415  torch takes seconds

        return SentenceEncoder(source, self.precision, self.max_tokens, self.batch_tokens)


def traits_of(encoder: Encoder) -> Traits:
    """What two processes must have in common for their vectors to have the same bytes.

    Beside all that is known to decide, a digest of some vectors and their norms: processors that go
    by one name may still round differently.
    """
    vectors = np.concatenate([encoder.encode(encoder.read([text])) for text in PROBES])
    norms = np.linalg.norm(vectors, axis=1)
    digest = blake2b(vectors.tobytes() + norms.tobytes(), digest_size=16)
    return {**encoder.identity, "rounding": digest.hexdigest()}


def block_of(entries: Sequence[Entry], recipe: Recipe, traits: Traits) -> Block:
    """The unit vectors of a shard of entries, in any order, by one thread of this process.

    Raises:
        DataError: The model cannot be loaded here, or has other traits than the driver's, or gives
            no direction for a record, which is named.
    """
    encoder, own = _loaded(recipe)
    unlike = [name for name in traits if own[name] != traits[name]]
    if unlike:
        raise DataError(
            f"embeds otherwise than the driver: another {' and '.join(unlike)}",
            where=_here(),
            fix="Give it the same model, libraries and kind of processor, or set engine: local.",
        )
    rows, vectors, n_full = zip(*blocks_of(entries, encoder), strict=True)
    return Block(np.concatenate(rows), np.concatenate(vectors), sum(n_full))


@cache  # once a process
def _loaded(recipe: Recipe) -> tuple["SentenceEncoder", Traits]:
    try:
        encoder = recipe.load()
    except CurationError as error:
        raise DataError(
            f"cannot load the driver's model: {error.what}",
            where=_here(),
            fix=f"Put {recipe.model} where each worker finds it, or set engine: local.",
        ) from None
    encoder.n_threads = 1  # a shard has one processor
    return encoder, traits_of(encoder)


def _here() -> str:
    return f"a worker on {platform.node()}"
