"""An encoder that counts letters, the packaged encoder, and texts for them."""

from collections.abc import Sequence

import numpy as np
import pytest

from tasks.embed.batches import TokenizedText, padded_length
from tasks.embed.encoder import encode_all
from tasks.embed.encoder_settings import Precision
from tasks.embed.model_source import find_model
from tasks.embed.pool_texts import PoolText

MODEL = "all-MiniLM-L6-v2"
TEXTS = [
    "Name three birds.",
    "Why is the sky blue?",
    "为什么天空是蓝色的？",
    "Write a letter to the editor about the price of bread. " * 4,
    "2+2",
    "Translate into French: the ferry came back. " * 9,
]


class Letters:
    """Counts letters; a text in `odd` gets a constant vector of the given value."""

    n_threads = 2

    def __init__(self, rows: int = 3, **odd: float) -> None:
        self.rows, self.odd = rows, odd
        self.batches: list[list[str]] = []

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText]:
        return [TokenizedText(padded_length(len(text), 64), text) for text in texts]

    def batch_size(self, length: int) -> int:
        return self.rows

    def encode(self, texts: Sequence[TokenizedText]) -> np.ndarray:
        batch = [text.tokens for text in texts]
        self.batches.append(batch)
        rows = [
            [self.odd[t]] * 26 if t in self.odd else [t.count(chr(97 + i)) for i in range(26)]
            for t in batch
        ]
        return np.array(rows, dtype=np.float32)


def vectors_of(texts: Sequence[str], encoder, dim: int = 384) -> np.ndarray:
    """Return all vectors in order; a row that was never yielded stays 0."""
    vectors = np.zeros((len(texts), dim), dtype=np.float32)
    for batch in encode_all((PoolText(f"r{i}", text) for i, text in enumerate(texts)), encoder):
        assert batch.vectors.dtype == np.float32
        assert not vectors[batch.rows].any()
        vectors[batch.rows] = batch.vectors
    return vectors


@pytest.fixture(scope="session")
def load():
    from tasks.embed.sentence_encoder import SentenceEncoder  # noqa: PLC0415  takes seconds

    def make(precision=Precision.FLOAT32, max_tokens=256, batch_tokens=128):
        return SentenceEncoder(find_model(MODEL), precision, max_tokens, batch_tokens)

    return make


@pytest.fixture(scope="session")
def minilm(load):
    return load()


@pytest.fixture(scope="session")
def minilm_bfloat16(load):
    return load(Precision.BFLOAT16)


@pytest.fixture(scope="session")
def plain():
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415  takes seconds

    return SentenceTransformer(find_model(MODEL).name_or_folder, device="cpu").encode(TEXTS)
