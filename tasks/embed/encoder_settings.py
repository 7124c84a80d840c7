"""Define the settings with which any process can load the same encoder."""

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from tasks.embed.model_source import check_name, find_model

if TYPE_CHECKING:
    from tasks.embed.sentence_encoder import SentenceEncoder


class Precision(StrEnum):
    """The number format of a model's computations: `embed.precision`."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    AUTO = "auto"  # bfloat16 if the processor supports it natively

    def on(self, device: str) -> "Precision":
        """Resolve `auto` for the device ``cpu`` or ``cuda``; return any other format unchanged.

        Without native support, bfloat16 is emulated and slower than float32.
        """
        if self is not Precision.AUTO:
            return self
        import torch  # noqa: PLC0415  takes seconds

        if device == "cuda":
            is_native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            features = torch.cpu.get_capabilities()
            is_native = any(features.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        return Precision.BFLOAT16 if is_native else Precision.FLOAT32


class EncoderSpec(NamedTuple):
    """The settings of an encoder.

    Attributes:
        model: The name of a model, or the absolute path of its folder.
        precision: The number format of its computations.
        max_tokens: The maximum number of tokens that it reads from a text.
        batch_tokens: The number of tokens in a batch.
    """

    model: str
    precision: Precision
    max_tokens: int
    batch_tokens: int

    def load(self) -> "SentenceEncoder":
        """Load the encoder, which takes seconds.

        Raises:
            ParamError: The model does not exist.
            DataError: The model cannot be loaded or downloaded.
        """
        check_name(self.model)
        source = find_model(self.model)
        from tasks.embed.sentence_encoder import SentenceEncoder  # noqa: PLC0415  torch takes seconds

        return SentenceEncoder(source, self.precision, self.max_tokens, self.batch_tokens)
