"""N processes compute what one would with the whole batch: embeddings and batch statistics of all, with gradients.

With one process, nothing happens.
"""

from typing import Any, TypeVar

import torch
from lightning.pytorch.plugins.layer_sync import LayerSync
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_gather, all_reduce

Value = TypeVar("Value")


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    return distributed.get_rank() if _is_distributed() else 0


def world() -> int:
    return distributed.get_world_size() if _is_distributed() else 1


def gather(x: Tensor) -> Tensor:
    """Every process's rows, (n, d) → (n · processes, d), in rank order, with gradients to all of them."""
    return torch.cat(all_gather(x.contiguous())) if world() > 1 else x


def average(x: Tensor | float) -> Tensor | float:
    """The mean over the processes, without gradients; a plain number is the same in all of them."""
    if world() == 1 or not isinstance(x, Tensor):
        return x
    total = x.detach().clone()
    distributed.all_reduce(total)
    return total / world()


def share() -> slice:
    """Which batches of many are for this process."""
    return slice(rank(), None, world())


def at_first(value: Value) -> list[Value]:
    """The values of all processes, in rank order; in every process but the first there are none."""
    if world() == 1:
        return [value]
    values: list[Any] | None = [None] * world() if rank() == 0 else None
    distributed.gather_object(value, values)
    return values or []


def from_first(value: Value) -> Value:
    """That of the first process, in all of them."""
    if world() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]


def take_first_buffers(net: nn.Module) -> None:
    """The buffers of the first process in all of them, as DDP does before a step: after one, batch norms that are not
    shared have counted in each process what it has seen."""
    for buffer in net.buffers() if world() > 1 else ():
        distributed.broadcast(buffer, 0)


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm with the statistics of all processes on any device; torch's own SyncBatchNorm refuses the CPU.

    Every process must have as many rows.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or world() == 1:
            return super().forward(x)
        dims = [0, *range(2, x.ndim)]
        shape = [1, -1] + [1] * (x.ndim - 2)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = all_reduce(wide.mean(dims)) / world()
        variance = all_reduce((wide - mean.view(shape)).square().mean(dims)) / world()
        with torch.no_grad():
            n = x.numel() // x.shape[1] * world()
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n / (n - 1), self.momentum)
            self.num_batches_tracked.add_(1)
        normed = (wide - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normed = normed * self.weight.view(shape) + self.bias.view(shape)
        return normed.to(x.dtype)


class SharedBatchNorms(LayerSync):
    """Puts `SharedBatchNorm` where a model has batch norms; Lightning's plugin for strategies of several processes."""

    def apply(self, model: nn.Module) -> nn.Module:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.__class__ = SharedBatchNorm
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        return model  # with one process it is an ordinary batch norm
