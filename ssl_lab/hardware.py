"""What the machine can do."""

import functools
import logging
import warnings

import torch


def precision(chosen: str | int, accelerator: str) -> str | int:
    """ "auto" is bfloat16 with float32 weights where that is faster: on GPUs that have it and on CPUs with AMX.

    On a CPU with avx512_bf16 but no AMX training is slower in bfloat16: 0.7 times as fast for ResNet-18, 0.55 for a
    ViT-Ti (2 cores, torch 2.13).
    """
    if chosen != "auto":
        return chosen
    device = "cuda" if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"
    return "bf16-mixed" if fast_bfloat16(device) else "32-true"


@functools.cache
def fast_bfloat16(device: str) -> bool:
    """Whether products in bfloat16 are faster than in float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


def quiet() -> None:
    """Only what a user can act on."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # the table of trainer.profiler
    for text in (
        ".*does not have many workers.*",
        ".*smaller than the logging interval.*",
        ".*LeafSpec.*",
        ".*Total length of `range` across ranks is zero.*",
        ".*in eval mode at the start of training.*",
        ".*overridden `on_after_batch_transfer`.*",
        ".*torch.distributed.nn.functional.* is deprecated.*",
    ):
        warnings.filterwarnings("ignore", text)
