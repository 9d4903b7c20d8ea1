"""PML's trainer in several processes, with the results of one."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from pytorch_metric_learning.trainers import MetricLossOnly
from torch.nn.parallel import DistributedDataParallel

from pml_hierarchical.losses import HierarchicalProxyLoss

from ..distributed import from_first, is_helper, with_whole_batches
from .seeding import share_random_state


class TogetherTrainer(MetricLossOnly):
    """Every process embeds its part of each batch and computes the loss of the whole batch.

    All have the same sampler and draw the same random numbers, so that all know the whole batch.
    The embeddings of the parts are exchanged and put in the order of the batch. Miner, memory and
    loss then see what they see in a single process, in the same order, and need no wrapper: those
    of PML put each process's own part first, which is a different batch for a loss with a memory
    or one that draws samples.

    ``models`` and ``loss_funcs`` are plain modules that hold the same in all processes; the first
    process alone can evaluate and save them.

    Arguments:
        settings: of ``MetricLossOnly``. Only the first process's ``end_of_epoch_hook`` is called,
            and all stop when it says so.

    Raises:
        ValueError: if the batch cannot be divided; in training, if the network draws random
            numbers.
    """

    def __init__(self, **settings: Any) -> None:
        size = dist.get_world_size()
        if settings["batch_size"] % size:
            raise ValueError(
                f"{size} processes cannot have equal parts of a batch of "
                f"{settings['batch_size']}: start a number of them that divides it "
                "(--nproc-per-node)"
            )
        self._hook_of_first = settings["end_of_epoch_hook"]
        super().__init__(**{**settings, "end_of_epoch_hook": self._end_of_epoch})
        share = self.batch_size // size
        self._part = slice(dist.get_rank() * share, (dist.get_rank() + 1) * share)
        with torch.no_grad():
            loss = self.loss_funcs["metric_loss"]
            for tensor in (*loss.parameters(), *loss.buffers()):
                dist.broadcast(tensor.detach(), src=0)
        self._parallel: dict[str, torch.nn.Module] = {}
        for name, model in self.models.items():
            self.models[name] = with_whole_batches(model, self.data_device.type == "cuda")
            learns = any(parameter.requires_grad for parameter in model.parameters())
            self._parallel[name] = (
                DistributedDataParallel(self.models[name]) if learns else self.models[name]
            )

    def train(self, start_epoch: int = 1, num_epochs: int = 1) -> None:
        """See PML's; all processes draw the random numbers of the first."""
        share_random_state(self.data_device)
        super().train(start_epoch, num_epochs)

    def get_batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """This process's part of the inputs, and the labels of the whole batch."""
        # The rest is loaded for the random numbers that loading it draws.
        inputs, labels = super().get_batch()
        return inputs[self._part], labels

    def compute_embeddings(self, inputs: torch.Tensor) -> torch.Tensor:
        """The embeddings of the whole batch, of which this process's part has a gradient."""
        before = _generator_state(self.data_device)
        features = self._parallel["trunk"](inputs.to(self.data_device))
        part = self._parallel["embedder"](features)
        if not torch.equal(before, _generator_state(self.data_device)):
            raise ValueError(
                "the network draws random numbers in training (dropout, for instance), and several "
                "processes cannot draw those of one. Train it without torchrun"
            )
        size = dist.get_world_size()
        if part.requires_grad:
            # DistributedDataParallel takes the mean of the parts' gradients, and theirs is the sum
            part.register_hook(lambda gradient: gradient * size)
        return whole_batch(part)

    def backward(self) -> None:
        """The gradients of one process."""
        super().backward()
        loss = self.loss_funcs["metric_loss"]
        if isinstance(loss, HierarchicalProxyLoss) and not loss.is_active:
            # In processes, unused proxies get a gradient of zeros, whose steps AdamW would count.
            for level in range(1, len(loss.sizes)):
                loss.level_loss(level).zero_grad(set_to_none=True)
        # Equal already, except for the order in which a GPU adds: processes must not drift apart.
        for parameter in loss.parameters():
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= dist.get_world_size()

    def _end_of_epoch(self, trainer: Any) -> bool:
        goes_on = from_first(True if is_helper() else self._hook_of_first(trainer))
        share_random_state(self.data_device)  # validation has drawn some in the first process
        return goes_on is not False


def whole_batch(part: torch.Tensor) -> torch.Tensor:
    """The parts of all processes in the order of the batch; only this process's has a gradient."""
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, part.detach().contiguous())
    parts[dist.get_rank()] = part
    return torch.cat(parts)


def _generator_state(device: torch.device) -> torch.Tensor:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.get_rng_state()
