"""Lightning's Trainer as every part of this package uses it: to pretrain, to fine-tune and to embed."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ssl_lab.distributed import SharedBatchNorms
from ssl_lab.errors import UsageError
from ssl_lab.hardware import precision
from ssl_lab.runfolder.checkpoint import WholeCheckpoints
from ssl_lab.sharding import FullySharded


def make_trainer(options: Mapping[str, Any], **ours: Any) -> pl.Trainer:
    """`options`: what the user has set of the group `trainer`; `ours`: what the caller adds to it.

    Raises UsageError where Lightning refuses an option.
    """
    chosen = {"accelerator": "auto", **options}
    chosen["precision"] = precision(chosen.get("precision", "32-true"), chosen["accelerator"])
    plugins: list[Any] = [WholeCheckpoints()]
    if chosen["accelerator"] == "cpu" and chosen.get("sync_batchnorm"):  # which torch's own cannot do
        plugins, chosen["sync_batchnorm"] = [*plugins, SharedBatchNorms()], False
    if chosen.get("strategy") == "fsdp":  # which is FSDP1 to Lightning
        chosen["strategy"] = FullySharded()
    try:
        if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():  # the order in which Lightning looks
            plugins.append(SLURMEnvironment(auto_requeue=False))  # which would save in the midst of a step
        return pl.Trainer(
            **chosen,
            **ours,
            plugins=plugins,
            use_distributed_sampler=False,  # the data's own order is sliced by rank
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:  # the last of what srun has set
        raise UsageError(f"trainer: {error}") from error
