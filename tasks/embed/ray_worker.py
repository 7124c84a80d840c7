"""Embed texts on a worker in a Ray cluster; the vectors are byte-identical to the driver's."""

import platform
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.embed.encoder import Encoder, VectorBatch, encode_all
from tasks.embed.encoder_settings import EncoderSpec
from tasks.embed.pool_texts import PoolText
from tasks.lib.core.errors import CurationError, DataError

if TYPE_CHECKING:
    from tasks.embed.sentence_encoder import SentenceEncoder

PROBES = tuple("word " * n for n in (1, 20, 60, 250))  # their batches have different shapes

Fingerprint = dict[str, Any]


def fingerprint(encoder: Encoder) -> Fingerprint:
    """Return facts that must be equal in two processes for their vectors to be byte-identical.

    They include everything known to matter and a digest of some vectors and their norms, since
    processors with the same name may still round differently.
    """
    vectors = np.concatenate([encoder.encode(encoder.tokenize([text])) for text in PROBES])
    norms = np.linalg.norm(vectors, axis=1)
    digest = blake2b(vectors.tobytes() + norms.tobytes(), digest_size=16)
    return {**encoder.identity, "rounding": digest.hexdigest()}


def embed_shard(
    texts: Sequence[PoolText], spec: EncoderSpec, driver_fingerprint: Fingerprint
) -> VectorBatch:
    """Return the unit vectors of a shard of texts, in any order, computed by one thread.

    Raises:
        DataError: The model cannot be loaded here, its fingerprint differs from the driver's, or a
            vector is zero or not finite (the error names the record).
    """
    encoder, own = _loaded(spec)
    differing = [name for name, value in driver_fingerprint.items() if own[name] != value]
    if differing:
        raise DataError(
            f"its vectors would differ from the driver's because of differences in: "
            f"{', '.join(differing)}",
            where=_here(),
            fix="Use the same model, libraries and type of processor there, or set engine: local.",
        )
    rows, vectors, n_full = zip(*encode_all(texts, encoder), strict=True)
    return VectorBatch(np.concatenate(rows), np.concatenate(vectors), sum(n_full))


@cache  # once per process
def _loaded(spec: EncoderSpec) -> tuple["SentenceEncoder", Fingerprint]:
    try:
        encoder = spec.load()
    except CurationError as error:
        raise DataError(
            f"cannot load the driver's model: {error.what}",
            where=_here(),
            fix=f"Put {spec.model} where every worker can find it, or set engine: local.",
        ) from None
    encoder.n_threads = 1  # each shard gets one processor
    return encoder, fingerprint(encoder)


def _here() -> str:
    return f"a worker on {platform.node()}"
