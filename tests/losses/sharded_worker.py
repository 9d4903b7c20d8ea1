"""The processes of the tests of sharded classes, first 2 and then 4: ``sharded_worker.py OUT``."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.distributed.tensor
from forked import run_in_processes
from pytorch_metric_learning import losses as pml
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from pml_hierarchical import Hierarchy
from pml_hierarchical.losses import FastPath, HierarchicalProxyLoss, ShardedHierarchicalProxyLoss

C, D, BATCH, STEPS = 13, 6, 24, 7  # shares of 7 and 6 classes, or 4, 4, 4 and 1
TREE = Hierarchy.from_parents([[0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4], [0, 0, 1, 1, 1]])
BASES = {
    "ProxyAnchorLoss": {},
    "ProxyNCALoss": {"softmax_scale": 8},
    "NormalizedSoftmaxLoss": {"temperature": 0.1},
    "CosFaceLoss": {"scale": 16},
    "ArcFaceLoss": {"margin": 20, "scale": 16},
}
OF_LEVELS = {
    "ProxyAnchorLoss": {1: {"alpha": 16}, 2: {"margin": 0.3}},
    "ProxyNCALoss": {1: {"softmax_scale": 3}},
    "NormalizedSoftmaxLoss": {2: {"temperature": 0.3}},
    "CosFaceLoss": {1: {"margin": 0.1}},
    "ArcFaceLoss": {2: {"margin": 50, "scale": 8}},
}
TREES = {"known": {"hierarchy": TREE}, "discovered": {"num_superclasses": (5, 2)}}
CASES = {
    f"{base} {tree}": {"base": base, **TREES[tree]} for base in BASES for tree in TREES
} | {
    "a process without classes": {"base": "CosFaceLoss", "num_classes": 9, "num_superclasses": 4},
    "one level": {"base": "ProxyAnchorLoss", "num_superclasses": ()},
    "schedule of weights": {
        "base": "ProxyNCALoss", "hierarchy": TREE, "level_weights": lambda s: (1.0, 0.1 * s, 0.5),
    },
}  # fmt: skip


def make(loss_class, base, **kwargs):
    torch.manual_seed(3)
    settings = {
        "num_classes": C, "embedding_size": D, "level_weights": (1.0, 0.5, 0.25), "warmup": 2,
        "recluster_every": 3, "base_loss": getattr(pml, base),
    }  # fmt: skip
    if kwargs.get("num_superclasses", (5, 2)) != (5, 2):
        settings["level_weights"] = 0.5
    return loss_class(**{**settings, **BASES[base], **kwargs})


def batches(num_classes, steps=STEPS):
    """Every other one without a sample of the classes of the last process."""
    generator = torch.Generator().manual_seed(7)
    for step in range(steps):
        labels = torch.randint(3 if step % 2 else num_classes, (BATCH,), generator=generator)
        yield torch.randn(BATCH, 5, generator=generator), labels


def own_part(rank, world_size):
    """Another number of samples in every process."""
    edges = [round(BATCH * (part / world_size) ** 1.5) for part in range(world_size + 1)]
    return slice(edges[rank], edges[rank + 1])


def train(loss_func, rank=0, world_size=1, first=0, stop=STEPS, state=None):
    """SGD, so that a gradient of another size is another result."""
    torch.manual_seed(5)
    trunk = torch.nn.Linear(5, D)
    if world_size > 1:
        trunk = DistributedDataParallel(trunk)
    optimizers = [
        torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9) for module in (trunk, loss_func)
    ]
    stateful = [trunk, loss_func, *optimizers]
    for one, saved in zip(stateful, state or [], strict=False):
        one.load_state_dict(saved)
    values = []
    for inputs, labels in list(batches(loss_func.num_classes))[first:stop]:
        part = own_part(rank, world_size)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = loss_func(trunk(inputs[part]), labels[part])
        loss.backward()
        values.append(loss.detach())
        for optimizer in optimizers:
            optimizer.step()
    return trunk, torch.stack(values), stateful


def gradients(loss_func, rank=0, world_size=1):
    """In float64, at all levels: the loss, and the gradients of embeddings and of fine proxies."""
    loss_func.double().recluster()
    generator = torch.Generator().manual_seed(11)
    embeddings = torch.randn(BATCH, D, dtype=torch.float64, generator=generator)
    labels = torch.randint(C, (BATCH,), generator=generator)
    part = own_part(rank, world_size)
    leaf = embeddings[part].clone().requires_grad_()
    loss = loss_func(leaf, labels[part])
    (2 * loss).backward()
    of_proxies = next(loss_func.parameters()).grad
    return loss.detach(), leaf.grad, of_proxies.to_local() if world_size > 1 else of_proxies


def error_of(function):
    try:
        function()
    except (TypeError, ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def errors(rank, world_size):
    loss_func = make(ShardedHierarchicalProxyLoss, "CosFaceLoss", hierarchy=TREE)
    last = rank == world_size - 1
    inputs = torch.randn(3, D)
    found = {
        "labels": error_of(lambda: loss_func(inputs, torch.tensor([0, 1, C if last else 2]))),
        "shape": error_of(lambda: loss_func(inputs[:, : D - last], torch.arange(3))),
        "few classes": error_of(
            lambda: ShardedHierarchicalProxyLoss(world_size - 1, D, num_superclasses=())
        ),
    }
    with torch.no_grad():
        loss_func.local_proxies[: int(last)] = torch.nan
    found["nan"] = error_of(loss_func.recluster)

    def no_clusters(points, num_clusters):
        raise ValueError("no clusters today")

    loss_func = make(
        ShardedHierarchicalProxyLoss, "CosFaceLoss", num_superclasses=(5, 2), clusterer=no_clusters
    )
    found["clusterer"] = error_of(loss_func.recluster)
    return found


def resumed(out, rank, world_size):
    """Stopped after 4 steps: with a file for each process, and with a distributed checkpoint."""
    case = CASES["ProxyAnchorLoss discovered"]
    first = make(ShardedHierarchicalProxyLoss, **case)
    *_, stateful = train(first, rank, world_size, stop=4)
    torch.save([one.state_dict() for one in stateful], f"{out}/resume{rank}.pt")
    dcp.save({"loss": first.state_dict()}, checkpoint_id=f"{out}/checkpoint")
    state = torch.load(f"{out}/resume{rank}.pt")
    second = make(ShardedHierarchicalProxyLoss, **case)
    train(second, rank, world_size, first=4, state=state)

    third = make(ShardedHierarchicalProxyLoss, **case)
    saved = {"loss": third.state_dict()}
    dcp.load(saved, checkpoint_id=f"{out}/checkpoint")
    third.load_state_dict(saved["loss"])
    same = all(
        torch.equal(a, b)
        for a, b in zip(third.proxies_in_use(3), first.proxies_in_use(3), strict=True)
    )
    same = same and torch.equal(third.class_labels, first.class_labels)
    dist.barrier()
    other = torch.load(f"{out}/resume{(rank + 1) % world_size}.pt")[1]
    return {
        "proxies": second.full_proxies(),
        "num_updates": second.num_updates,
        "checkpoint": same and (third.step, third.num_updates) == (first.step, first.num_updates),
        "other rank": error_of(lambda: second.load_state_dict(other)),
    }


def trained(case, rank, world_size):
    loss_func = make(ShardedHierarchicalProxyLoss, **case)
    start = loss_func.full_proxies()
    trunk, values, _ = train(loss_func, rank, world_size)
    whole = loss_func.to_unsharded()
    back = ShardedHierarchicalProxyLoss.from_unsharded(whole)
    return {
        "start": start,
        "share": len(loss_func.local_proxies),
        "values": values,
        "trunk": trunk.module.state_dict(),
        "loss": whole.state_dict(),
        "levels": [getattr(loss_func, f"loss_level{n}") for n in range(len(loss_func.sizes))],
        "num_updates": whole.num_updates,
        "back": torch.equal(back.local_proxies, loss_func.local_proxies)
        and back.hierarchy == loss_func.hierarchy,
    }


def run(out, rank, world_size):
    """Everything, in one process of several."""
    found = {}
    for base in BASES:
        for name, block_size in (("whole", 0), ("blocks", 2)):
            loss_func = make(
                ShardedHierarchicalProxyLoss, base, hierarchy=TREE, level_kwargs=OF_LEVELS[base],
                engine=FastPath(save_memory=name == "blocks"),
            )  # fmt: skip
            loss_func.block_size = block_size
            found[base, name] = gradients(loss_func, rank, world_size)
    return {
        "trained": {name: trained(case, rank, world_size) for name, case in CASES.items()},
        "gradients": found,
        "resumed": resumed(out, rank, world_size),
        "errors": errors(rank, world_size),
        "of a part": in_a_part_of_the_processes(rank, world_size),
    }


def in_a_part_of_the_processes(rank, world_size):
    """Two meshes at once, each with classes and batches of its own."""
    width = world_size // 2
    mesh = init_device_mesh("cpu", (2, width), mesh_dim_names=("copy", "classes"))["classes"]
    loss_func = make(
        ShardedHierarchicalProxyLoss, "CosFaceLoss", num_superclasses=4, device_mesh=mesh, warmup=0
    )
    generator = torch.Generator().manual_seed(rank // width)
    embeddings = torch.randn(6, D, generator=generator)
    labels = torch.randint(C, (6,), generator=generator)
    value = loss_func(embeddings, labels).detach()
    if rank >= width:  # the other processes are not waited for
        loss_func.recluster()
    return value


def reference(base, **kwargs):
    """The same loss in one process."""
    return make(HierarchicalProxyLoss, base, **{"coarse_proxies": "fixed", **kwargs})


if __name__ == "__main__":
    run_in_processes(run)
