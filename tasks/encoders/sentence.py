"""Sentence embeddings by sentence-transformers. Importing this takes seconds."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from transformers import PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from tasks.core.errors import DataError
from tasks.core.params import PARAMS_FILE
from tasks.encoders.precision import Precision
from tasks.encoders.source import Source

TOKENIZED_AT_ONCE = 1_000  # texts


class SentenceEncoder:
    """A loaded model.

    Attributes:
        dim: Length of a vector.
        max_tokens: How much of a text it reads.
        device: ``cuda`` where there is such a processor, else ``cpu``.
        precision: What it computes in; never ``auto``.
    """

    def __init__(self, source: Source, precision: Precision, max_tokens: int) -> None:
        """Load the model, fetching what of it is not on this machine.

        Raises:
            DataError: It is no model, or cannot be fetched.
        """
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.precision = precision.on(self.device)
        self._model = _load(source, self.device).to(dtype=getattr(torch, self.precision))
        own_max = self._model.max_seq_length or max_tokens
        self._model.max_seq_length = self.max_tokens = min(max_tokens, own_max)
        self.dim = self.encode([""]).shape[1]  # not every kind of model states it

    def n_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, also beyond `max_tokens`; characters if none can tell."""
        tokenizer = self._model.tokenizer
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            return list(map(len, texts))
        counts: list[int] = []
        for start in range(0, len(texts), TOKENIZED_AT_ONCE):
            some = list(texts[start : start + TOKENIZED_AT_ONCE])
            counts += map(len, tokenizer(some, verbose=False)["input_ids"])
        return counts

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector a text: float32, shape (n texts, `dim`), of any length; one batch."""
        vectors: NDArray[np.float32] = self._model.encode(
            list(texts), batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True
        )
        return vectors.astype(np.float32, copy=False)


def _load(source: Source, device: str) -> SentenceTransformer:
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return SentenceTransformer(
            source.name_or_folder, device=device, local_files_only=source.is_local
        )
    except Exception as error:  # a model's files can be wrong in ways of a dozen libraries
        reason = str(error).strip().partition("\n")[0]
        raise DataError(
            f"{source.name_or_folder} cannot be loaded: {type(error).__name__}: {reason}",
            where=f"{PARAMS_FILE}: embed.model",
            fix="Choose a sentence-transformers model, or remove its broken copy.",
        ) from error
