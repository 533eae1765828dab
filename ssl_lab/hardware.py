"""What the machine can do."""

import logging
import warnings

import torch


def precision(asked: str | int, accelerator: str) -> str | int:
    """"auto" is bfloat16 with float32 weights where the hardware computes in it, else float32."""
    if asked != "auto":
        return asked
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    capabilities = torch.cpu.get_capabilities()
    fast = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
    return "bf16-mixed" if fast else "32-true"


def quiet() -> None:
    """Only what a user can act on."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for text in (".*does not have many workers.*", ".*smaller than the logging interval.*", ".*LeafSpec.*", ".*overridden `on_after_batch_transfer`.*"):
        warnings.filterwarnings("ignore", text)
