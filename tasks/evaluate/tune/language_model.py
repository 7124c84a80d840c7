"""Load the model to fine-tune, and identify its weights."""

import gc
import hashlib
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from tasks.evaluate.params import TuningPrecision
from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE


class Machine(NamedTuple):
    """Where a model computes: the device ``cpu`` or ``cuda``, and whether it uses bfloat16."""

    device: str
    is_bfloat16: bool

    @classmethod
    def find(cls, precision: TuningPrecision) -> "Machine":
        """Return this machine's first GPU, or its processor if it has none.

        The precision `auto` is bfloat16 where the hardware supports it; emulation is slower than
        float32.
        """
        import torch  # noqa: PLC0415  takes seconds

        device = "cuda" if torch.cuda.is_available() else "cpu"
        if precision is not TuningPrecision.AUTO:
            return cls(device, precision is TuningPrecision.BFLOAT16)
        if device == "cuda":
            return cls(device, torch.cuda.is_bf16_supported(including_emulation=False))
        features = torch.cpu.get_capabilities()
        return cls(device, any(features.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")))

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which a model computes in this precision."""
        import torch  # noqa: PLC0415

        return torch.autocast(self.device, torch.bfloat16) if self.is_bfloat16 else nullcontext()


def load_tokenizer(name: str) -> Any:
    """Return the tokenizer of a model, with a padding token.

    Raises:
        ParamError: It cannot be loaded.
    """
    from transformers import AutoTokenizer  # noqa: PLC0415  takes seconds

    tokenizer = _loaded(AutoTokenizer, name)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(name: str, machine: Machine) -> Any:
    """Return a causal language model on the machine's device.

    On a GPU its weights are in bfloat16 if the machine uses it, which halves their memory. On a
    processor they stay in float32, where bfloat16 weights are no faster.

    Raises:
        ParamError: It cannot be loaded.
    """
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    is_half = machine.is_bfloat16 and machine.device == "cuda"
    dtype = torch.bfloat16 if is_half else torch.float32
    return _loaded(AutoModelForCausalLM, name, dtype=dtype).to(machine.device)


def free_memory() -> None:
    """Release the device memory of models that are no longer in use."""
    import torch  # noqa: PLC0415

    gc.collect()  # a trainer and its callbacks refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def adapter_bytes(model: Any, lora_rank: int) -> int:
    """Return the size of an adapter for all linear layers except the last one, in float32."""
    import torch  # noqa: PLC0415

    last = model.get_output_embeddings()
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not last]
    return sum(4 * lora_rank * (layer.in_features + layer.out_features) for layer in layers)


def weights_digest(model: Any) -> str:
    """Return a hash of the names and values of a model's weights: 32 hex digits.

    The model's name is not enough: a folder may change, and a name on the hub has many revisions.
    """
    import torch  # noqa: PLC0415

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _loaded(factory: Any, name: str, **options: Any) -> Any:
    try:
        # Explicit, since otherwise transformers would ask on the terminal.
        return factory.from_pretrained(name, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), "unknown model")
        fix = "Set evaluate.model to the folder of a causal language model, or to its name on the "
        fix += "hub, which needs a network."
        if "trust_remote_code" in str(error):
            reason = "it needs code from its repository, which is never run here"
            fix = "Use a model whose architecture is part of transformers."
        raise ParamError(
            f"evaluate.model: {name} cannot be loaded: {reason}", where=PARAMS_FILE, fix=fix
        ) from None
