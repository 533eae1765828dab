"""A net in shards, one a process: weights, gradients and the optimizer's state of a net too large for one device.

FSDP2 (`torch.distributed.fsdp.fully_shard`; Zhao et al. 2023, arXiv 2304.11277) gathers the weights of a block when it
is called, and of the rest for a whole step. A checkpoint holds whole tensors, as that of one process does.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from ssl_lab.distributed import rank
from ssl_lab.errors import UsageError
from ssl_lab.runfolder.checkpoint import read_checkpoint


def shard(net: nn.Module, blocks: Sequence[nn.Module], mesh: DeviceMesh) -> None:
    """Each of `blocks`, which are parts of `net`, by itself, and what is left of it together."""
    for parameter in net.parameters():
        parameter.data = parameter.data.contiguous()  # kernels that are channels last cannot be divided
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(net, mesh=mesh)


@contextmanager
def whole(net: nn.Module) -> Iterator[None]:
    """Each process has all weights for the time being, so that it can call any part of `net` alone.

    All processes have to come here together. A net that is not in shards stays as it is.
    """
    parts = [part for part in net.modules() if isinstance(part, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(part is not net, recurse=False)


def local(x: Tensor) -> Tensor:
    """The share of this process, where it is in shards."""
    return x.to_local() if isinstance(x, DTensor) else x


def whole_weights(net: nn.Module) -> dict[str, Any]:
    """What `state_dict` gives, with whole tensors in every process. All of them have to come here together."""
    states = net.state_dict().items()
    return {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in states}


class FullySharded(ModelParallelStrategy):
    """Lightning's strategy with all processes for data, and with checkpoints as every other strategy has them.

    Lightning's own would number the optimizer's states as another optimizer does not, and leave batch norms apart.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        if not is_overridden("configure_model", self.lightning_module):
            raise UsageError("trainer=fsdp is for pretrain alone: choose trainer=ddp")
        self._data_parallel_size = self.num_processes * self.num_nodes
        super().setup_environment()
        if self._layer_sync:
            self._layer_sync.apply(self.trained)

    @property
    def trained(self) -> nn.Module:
        return cast(nn.Module, self.lightning_module)  # there from the beginning of a training on

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return _gathered(self.trained.state_dict())

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        return _gathered(optimizer.state_dict())

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(Path(checkpoint_path), mapped=True)  # the processes share the memory

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        own = self.trained.state_dict()
        states = {name: _like(own[name], value) for name, value in checkpoint["state_dict"].items()}
        self.trained.load_state_dict(states, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, states in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            state = {
                number: {key: _like(parameters[number], value) for key, value in one.items()}
                for number, one in states["state"].items()
            }
            optimizer.load_state_dict({**states, "state": state})


def _gathered(tree: Any) -> Any:
    """The same with whole tensors, which the first process has, on the CPU. All of them have to come here together."""
    if isinstance(tree, Mapping):
        return {key: _gathered(value) for key, value in tree.items()}
    if not isinstance(tree, DTensor):
        return tree
    gathered = tree.full_tensor()
    return gathered.cpu() if rank() == 0 else None


def _like(target: Tensor, value: Any) -> Any:
    """`value`, which every process has, in shards where `target` is and has its shape."""
    if isinstance(target, DTensor) and isinstance(value, Tensor) and value.shape == target.shape:
        value = value.to(target.device)
        shards = distribute_tensor(value, target.device_mesh, target.placements, src_data_rank=None)
        return shards.clone()  # or the whole tensor would stay in memory behind its share
    return value
