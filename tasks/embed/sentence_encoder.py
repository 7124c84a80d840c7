"""Sentence embeddings by sentence-transformers. Importing this takes seconds."""

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

from tasks.embed.batches import Reading, padded_length
from tasks.embed.model_source import Source, digest, model_folder
from tasks.embed.precision import Precision
from tasks.lib.core.errors import DataError
from tasks.lib.core.params import PARAMS_FILE

N_THREADS = torch.get_num_threads()  # what the environment allows, before we change it


class SentenceEncoder:
    """A loaded model.

    On a CPU a batch is computed by one thread, and several batches at a time: the bytes do not
    depend on how many threads there are, and none waits for another after each operation, which
    takes many times longer when the machine has other work.

    Attributes:
        dim: Length of a vector.
        max_tokens: How much of a text it reads.
        device: ``cuda`` where there is such a processor, else ``cpu``.
        precision: What it computes in; never ``auto``.
        n_threads: How many threads should call `encode` at a time.
        identity: All that a vector depends on beside its text.
    """

    def __init__(
        self, source: Source, precision: Precision, max_tokens: int, batch_tokens: int
    ) -> None:
        """Load the model, fetching what of it is not on this machine.

        Raises:
            DataError: It is no model, or cannot be fetched.
        """
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.n_threads = 1 if self.device == "cuda" else N_THREADS
        self.precision = precision.on(self.device)
        self._model = _load(source, self.device).to(dtype=getattr(torch, self.precision)).eval()
        own_max = self._model.max_seq_length or max_tokens
        self._model.max_seq_length = self.max_tokens = min(max_tokens, own_max)
        self._batch_tokens = batch_tokens
        self._can_pad = _can_pad(self._model)
        self.dim = self.encode(self.read([""])).shape[1]  # not every kind of model states it
        self.identity: dict[str, Any] = {
            "model": digest(model_folder(source)),
            "precision": str(self.precision),
            "max_tokens": self.max_tokens,
            "batch_tokens": batch_tokens,
            "processor": _processor(self.device),
            **{name: version(name) for name in ("torch", "transformers", "sentence-transformers")},
        }

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What the model reads of each text, `max_tokens` at most."""
        if not self._can_pad:
            return [Reading(0, text) for text in texts]
        columns = self._model.tokenizer(list(texts), truncation=True)
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        counts = [len(row["input_ids"]) for row in rows]
        return [
            Reading(padded_length(n, self.max_tokens), row, n == self.max_tokens)
            for n, row in zip(counts, rows, strict=True)
        ]

    def n_rows(self, length: int) -> int:
        """How many texts of one padded length make a batch."""
        return max(1, self._batch_tokens // length) if length else 1

    def encode(self, readings: Sequence[Reading]) -> NDArray[np.float32]:
        """One vector a reading, of any length: float32, shape (n, `dim`).

        One batch: readings of one length, `n_rows` of it at most. Fewer are computed in the same
        shape, so that the bytes of a vector depend on its own reading alone.
        """
        torch.set_num_threads(1)  # of the thread that calls
        length = readings[0].length
        if not length:
            alone: NDArray[np.float32] = self._model.encode(
                [reading.tokens for reading in readings], show_progress_bar=False
            )
            return alone.astype(np.float32, copy=False)
        rows = [reading.tokens for reading in readings]
        rows += rows[:1] * (self.n_rows(length) - len(rows))
        features = self._model.tokenizer.pad(
            rows,
            padding="max_length",
            max_length=length,
            return_tensors="pt",
        )
        with torch.inference_mode():
            vectors = self._model(dict(features.to(self.device)))["sentence_embedding"]
            found: NDArray[np.float32] = vectors[: len(readings)].float().cpu().numpy()
        return found


def _can_pad(model: SentenceTransformer) -> bool:
    """Whether a text is nothing but its tokens to the model, and we can pad them to any length.

    Models of another kind (of word vectors, or with prompts or chat templates of their own) get
    one text at a time.
    """
    first, tokenizer = model[0], model.tokenizer
    if not isinstance(first, Transformer) or not isinstance(tokenizer, PreTrainedTokenizerBase):
        return False
    tokenizer.deprecation_warnings["Asking-to-pad-a-fast-tokenizer"] = True  # as its own collators
    is_plain = model.default_prompt_name is None and "message" not in first.modality_config
    return is_plain and tokenizer.pad_token is not None


def _processor(device: str) -> str:
    """The kind of processor, as far as its arithmetic may differ from that of others."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


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
