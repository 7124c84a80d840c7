"""Compute sentence embeddings with sentence-transformers. Importing this module takes seconds."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from transformers import PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from tasks.embed.batches import TokenizedText, padded_length
from tasks.embed.encoder_settings import Precision
from tasks.embed.model_source import Source, digest, model_folder
from tasks.lib.core.errors import DataError
from tasks.lib.core.params import PARAMS_FILE

N_THREADS = torch.get_num_threads()  # the environment's limit, read before we change it


class SentenceEncoder:
    """A loaded model.

    On a CPU, one thread computes a batch, and several batches are computed at a time. So a vector's
    bytes do not depend on the number of threads. Threads also need not wait for each other after
    each operation, which would take many times longer on a busy machine.

    Attributes:
        dim: The number of dimensions of a vector.
        max_tokens: The maximum number of tokens that it reads from a text.
        device: ``cuda`` if available, else ``cpu``.
        precision: The number format of its computations; never ``auto``.
        n_threads: The number of threads that should call `encode` at the same time.
        identity: Everything that a vector depends on, apart from its text.
    """

    def __init__(
        self, source: Source, precision: Precision, max_tokens: int, batch_tokens: int
    ) -> None:
        """Load the model; download any of its files that are not on this machine.

        Raises:
            DataError: The model cannot be loaded or downloaded.
        """
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.n_threads = 1 if self.device == "cuda" else N_THREADS
        self.precision = precision.on(self.device)
        self._model = _load(source, self.device).to(dtype=getattr(torch, self.precision)).eval()
        own_max = self._model.max_seq_length or max_tokens
        self._model.max_seq_length = self.max_tokens = min(max_tokens, own_max)
        self._batch_tokens = batch_tokens
        self._can_pad = _can_pad(self._model)
        self.dim = self.encode(self.tokenize([""])).shape[1]  # not every kind of model reports it
        self.identity: dict[str, Any] = {
            "model": digest(model_folder(source)),
            "precision": str(self.precision),
            "max_tokens": self.max_tokens,
            "batch_tokens": batch_tokens,
            "processor": _processor(self.device),
            **{name: version(name) for name in ("torch", "transformers", "sentence-transformers")},
        }

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Return the first `max_tokens` tokens of each text."""
        if not self._can_pad:
            return [TokenizedText(0, text) for text in texts]
        columns = self._model.tokenizer(list(texts), truncation=True)
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        counts = [len(row["input_ids"]) for row in rows]
        return [
            TokenizedText(padded_length(n, self.max_tokens), row, n == self.max_tokens)
            for n, row in zip(counts, rows, strict=True)
        ]

    def batch_size(self, length: int) -> int:
        """Return the number of texts of this padded length in a full batch."""
        return max(1, self._batch_tokens // length) if length else 1

    def encode(self, texts: Sequence[TokenizedText]) -> NDArray[np.float32]:
        """Return one vector of any norm for each text in a batch: float32, shape (n, `dim`).

        The texts have the same length, and there are at most `batch_size` of them. Smaller batches
        are computed in the same shape, so that a vector's bytes depend only on its own text.
        """
        torch.set_num_threads(1)  # for the calling thread
        length, rows = texts[0].length, [text.tokens for text in texts]
        if not length:
            unpadded: NDArray[np.float32] = self._model.encode(rows, show_progress_bar=False)
            return unpadded.astype(np.float32, copy=False)
        rows += rows[:1] * (self.batch_size(length) - len(rows))
        features = self._model.tokenizer.pad(
            rows, padding="max_length", max_length=length, return_tensors="pt"
        )
        with torch.inference_mode():
            encoded = self._model(dict(features.to(self.device)))["sentence_embedding"]
            vectors: NDArray[np.float32] = encoded[: len(texts)].float().cpu().numpy()
        return vectors


def _can_pad(model: SentenceTransformer) -> bool:
    """Return whether the model's only input is a text's tokens, which may be padded.

    Other models (word vectors, or models with their own prompts or chat templates) get one text at
    a time.
    """
    first, tokenizer = model[0], model.tokenizer
    if not isinstance(first, Transformer) or not isinstance(tokenizer, PreTrainedTokenizerBase):
        return False
    # The library's own collators do the same.
    tokenizer.deprecation_warnings["Asking-to-pad-a-fast-tokenizer"] = True
    is_plain = model.default_prompt_name is None and "message" not in first.modality_config
    return is_plain and tokenizer.pad_token is not None


def _processor(device: str) -> str:
    """Return every detail of the processor that may affect its arithmetic."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _load(source: Source, device: str) -> SentenceTransformer:
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return SentenceTransformer(
            source.name_or_folder, device=device, local_files_only=source.is_local
        )
    except Exception as error:  # a dozen libraries may raise errors about a model's files
        reason = str(error).strip().partition("\n")[0]
        raise DataError(
            f"{source.name_or_folder} cannot be loaded: {type(error).__name__}: {reason}",
            where=f"{PARAMS_FILE}: embed.model",
            fix="Choose a sentence-transformers model, or delete the damaged copy of this one.",
        ) from error
