"""The number format a model computes in."""

from enum import StrEnum


class Precision(StrEnum):
    """What `embed.precision` may say."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    AUTO = "auto"  # bfloat16 where the processor multiplies it natively

    def on(self, device: str) -> "Precision":
        """The format itself, `auto` decided for ``cpu`` or ``cuda``.

        Without native instructions bfloat16 is emulated, and slower than float32.
        """
        if self is not Precision.AUTO:
            return self
        import torch  # noqa: PLC0415  takes seconds

        if device == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            can = torch.cpu.get_capabilities()
            native = any(can.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        return Precision.BFLOAT16 if native else Precision.FLOAT32
