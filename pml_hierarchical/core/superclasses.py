"""Superclasses: how many each level has, their discovery level by level, how they are stored."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize


def level_sizes(
    num_classes: int, given_sizes: Sequence[int], num_superclasses: Any
) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """The size of each level, finest first, and whether the level is given (the finest is).

    Levels to discover are put between the given ones by size. ``num_superclasses`` is an integer,
    decreasing integers, or ``"auto"``: a quarter of the classes, from 2 to 1,000."""
    if isinstance(num_superclasses, str) and num_superclasses == "auto":
        num_superclasses = max(2, min(num_classes // 4, 1000))
    wanted, given = np.atleast_1d(num_superclasses).tolist(), (int(num_classes), *given_sizes)
    for name, sizes in (("num_superclasses", (num_classes, *wanted)), ("hierarchy", given)):
        for level, (below, size) in enumerate(pairwise(sizes), start=1):
            if type(size) is not int:  # nor a bool
                raise TypeError(f'{name} must be integers or "auto", got {size!r}')
            if not 2 <= size < below:
                wrong = f"{name}: got {size} superclasses at level {level} for {below} classes"
                rule = "must be smaller than the level below and at least 2: leave that level out"
                raise ValueError(f"{wrong}; a coarser level {rule}")
    if both := {*wanted} & {*given}:
        wrong = f"num_superclasses={max(both)} is the size of level {given.index(max(both))}"
        raise ValueError(f"{wrong} of the given hierarchy: the sizes of levels must differ")
    levels = sorted((*wanted, *given), reverse=True)
    return tuple(levels), tuple(size in given for size in levels)


@torch.no_grad()
def discover(
    vectors: Tensor,
    table: Tensor,
    sizes: Sequence[int],
    is_given: Sequence[bool],
    clusterer: Any,
    centroids: Sequence[Tensor] | None = None,
    spherical: bool = True,
) -> Tensor:
    """Cluster the classes into the levels that are not given; return the table of all levels.

    Each level clusters the classes of the level below it, by the means of their vectors. Each given
    class above is clustered separately, into superclasses in proportion to its size. Superclasses
    keep their numbers, by the centroids or else by the largest overlap with the last update.

    Arguments:
        vectors: of the fine classes, floats of shape ``(num_classes, dimension)``.
        table: the last ``int64 (num_classes, num_levels)``; at levels never clustered, ``-1``.
        sizes, is_given: as :func:`level_sizes` returns them.
        clusterer: ``clusterer(points, num_clusters) -> labels`` as PML's ``kmeans_func``, of
            ``float32`` on the CPU; with a true attribute ``warm_start``, it gets ``centroids=``
            (or ``None``) and ``spherical=`` too.
        centroids: the proxies in use at each coarse level, ``(sizes[level], dimension)``.
        spherical: cluster by direction, so that points are unit vectors.

    Raises ``ValueError`` if vectors are not finite or the clusterer returns invalid labels.
    """
    scaled = unit_vectors if spherical else Tensor.float
    points, found = scaled(vectors.detach().float().cpu()), table.to("cpu", copy=True)
    if len(bad := (~points.isfinite().all(dim=1)).nonzero()):
        raise ValueError(f"the proxies hold NaN or infinite values (first in row {int(bad[0])})")
    for level in [level for level, given in enumerate(is_given) if not given]:
        size, below, last = sizes[level], found[:, level - 1], found[:, level].clone()
        nodes = points if level == 1 else scaled(group_means(points, below, sizes[level - 1]))
        above = [coarse for coarse in range(level, len(sizes)) if is_given[coarse]]
        group = found[:, above[0]] if above else torch.zeros_like(last)
        group_of_node = torch.zeros(len(nodes), dtype=torch.int64).index_copy_(0, below, group)
        start = None if centroids is None else centroids[level - 1].detach().float().cpu()
        labels, first = torch.empty(len(nodes), dtype=torch.int64), 0
        counts, codes = group_of_node.bincount(), (group * size + last)[last >= 0].unique()
        kept = (codes // size).bincount()
        is_kept = kept.shape == counts.shape and kept.all() and kept.sum() == size
        numbers = codes % size if is_kept else torch.arange(size)  # consecutive in each group
        last = torch.where(last < 0, last, numbers.argsort()[last])
        for number, share in enumerate(kept.tolist() if is_kept else share_out(size, counts)):
            # a slice where all are one group: copying a million proxies takes long
            members = (group_of_node == number).nonzero()[:, 0] if above else slice(None)
            fine = (group == number).nonzero()[:, 0] if above else slice(None)
            here = None if start is None else start[numbers[first : first + share]]
            labels[members], is_warm = _clusters(clusterer, nodes[members], share, here, spherical)
            new, old = labels[below[fine]], last[fine] - first
            is_warm |= bool((old < 0).all())  # or where there are no numbers to keep yet
            found[fine, level] = numbers[first + (new if is_warm else _matched(new, old, share))]
            first += share
    return found.to(table.device)


def _clusters(
    clusterer: Any, points: Tensor, num_clusters: int, centroids: Tensor | None, spherical: bool
) -> tuple[Tensor, bool]:
    """The cluster of each point, and whether clusters have the numbers of the centroids."""
    if num_clusters in (1, len(points)):
        return torch.arange(len(points)) % num_clusters, False
    is_warm = bool(getattr(clusterer, "warm_start", False))
    options = {"centroids": centroids, "spherical": spherical} if is_warm else {}
    labels = torch.as_tensor(clusterer(points, num_clusters, **options)).cpu()
    is_integer = not (labels.is_floating_point() or labels.dtype == torch.bool)
    found = labels.unique().tolist()
    if labels.shape != (len(points),) or not is_integer or found != [*range(num_clusters)]:
        name = getattr(clusterer, "__qualname__", repr(clusterer))
        rule = f"integers of shape ({len(points)},), each of 0..{num_clusters - 1} at least once"
        got = f"{labels.dtype} of shape {tuple(labels.shape)}, {found}"
        raise ValueError(f"{name} must return {rule}; it returned {got:.200}")
    return labels.long(), is_warm and centroids is not None


def _matched(labels: Tensor, before: Tensor, num_clusters: int) -> Tensor:
    """Give clusters the numbers they had before, by the largest total overlap."""
    known = (before >= 0) & (before < num_clusters)
    from scipy.optimize import linear_sum_assignment

    overlap = (labels[known] * num_clusters + before[known]).bincount(minlength=num_clusters**2)
    _, numbers = linear_sum_assignment(overlap.view(num_clusters, -1).numpy(), maximize=True)
    return torch.as_tensor(numbers)[labels]


def share_out(num_clusters: int, counts: Tensor) -> list[int]:
    """How many clusters each group gets, at least one: by the largest remainder of its points."""
    fair, total = num_clusters * counts, counts.sum()  # integers, so that ties are ties
    shares = (fair // total).clamp(min=1)
    while step := int((num_clusters - shares.sum()).sign()):
        gain = (step * (fair - shares * total)).masked_fill(shares + step < 1, -(2**63))
        shares[gain.argmax()] += step  # a positive gain means fewer clusters than points
    return shares.tolist()


def unit_vectors(points: Tensor) -> Tensor:
    """The direction of each row, whatever its length; a row of zeros stays as it is."""
    return normalize(normalize(points, torch.inf, eps=torch.finfo(points.dtype).tiny))


def group_means(points: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """The mean of the points of each group, in ``float64``: their order must not matter."""
    sums = torch.zeros(num_groups, points.shape[1], dtype=torch.float64)
    for some, theirs in zip(points.split(1024), groups.split(1024), strict=True):  # fits the cache
        sums.index_add_(0, theirs, some.double())
    return (sums / groups.bincount(minlength=num_groups)[:, None]).to(points.dtype)


def to_signs(table: Tensor, sizes: Sequence[int]) -> Tensor:
    """The coarse columns of a class table as ``float32`` of +1 and -1, ``(num_classes, digits)``,
    and 0 for a class without one (``-1``): no cast or average turns these into another class."""
    columns = zip(table.T[1:], sizes[1:], strict=True)
    signs = [_signs(labels, size) * (labels >= 0)[:, None] for labels, size in columns]
    return torch.cat([torch.zeros(len(table), 0, device=table.device), *signs], dim=1)


def from_signs(signs: Tensor, sizes: Sequence[int]) -> Tensor:
    """The table ``(num_classes, num_levels)`` of :func:`to_signs`; -1 where no class matches."""
    rest, columns = signs.sign(), [torch.arange(len(signs), device=signs.device)]
    for size in sizes[1:]:
        bits = max(1, (size - 1).bit_length())
        powers = 2 ** torch.arange(bits, device=signs.device)
        labels = ((rest[:, :bits] > 0) * powers).sum(dim=1).clamp(max=size - 1)
        own, rest = rest.tensor_split([bits + 6], dim=1)
        columns.append(torch.where((own == _signs(labels, size)).all(dim=1), labels, -1))
    return torch.stack(columns, dim=1)


def _signs(labels: Tensor, size: int) -> Tensor:
    """The binary digits of each class, the lowest first, and 6 check digits, as +1 and -1."""
    places = torch.arange(max(1, (size - 1).bit_length()), device=labels.device)
    check = labels[:, None] * 0x9E3779B1 >> torch.arange(15, 21, device=labels.device)
    return 2.0 * (torch.cat([labels[:, None] >> places, check], dim=1) & 1) - 1


class Progress(NamedTuple):
    """What the buffers of :class:`SuperclassState` say; ``last_update`` is a step."""

    step: int
    num_updates: int
    last_update: int
    is_active: bool
    is_mixed: bool  # an average of different tables that is not a tree
    class_labels: Tensor


class SuperclassState(torch.nn.Module):
    """The state of a hierarchical loss, in buffers that any tool can save, copy, cast or average.

    Neither casts nor averages of equal states change it: the class table is stored as signs, and
    "is active" as a number above 0. In an average of different tables a class has the superclass
    with more than half of the weight; if that is not a tree, the coarse levels are not active. What
    was read is kept until other code writes to the buffers, so no step waits for a GPU.
    ``class_labels`` has -1 where a superclass is not known yet; ``sizes`` are the levels' sizes."""

    steps: Tensor
    updates: Tensor  # how many, and the step of the last
    active: Tensor
    class_signs: Tensor
    _seen: Any

    def __init__(self, class_labels: Tensor, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.sizes, self.initial = sizes, class_labels
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("updates", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("active", torch.zeros(()))
        self.register_buffer("class_signs", to_signs(class_labels, sizes))
        self._apply(lambda buffer: buffer)

    def read(self) -> Progress:
        """The current state; the initial one where the buffers hold no data yet (``meta``)."""
        if self._seen is None or not torch.compiler.is_compiling():
            written = self._written()
            if self._seen is None or self._seen[0] != written or written is None:
                self._seen = (written, self._decoded(), [*self._buffers.values()])  # keeps ids
        return self._seen[1]

    def _written(self) -> list[Any] | None:
        """Values that change when a buffer does; ``None`` for inference tensors (no versions)."""
        buffers: Any = [*self._buffers.values()]
        try:  # writes to .data and by collectives change values without a new version
            values = [b.tolist() for b in buffers[:-1]] if buffers[0].is_cpu else []
            return values + [(id(b), b._version) for b in buffers]
        except RuntimeError:
            return None

    def _decoded(self) -> Progress:
        if self.steps.is_meta:
            return Progress(0, 0, 0, False, False, self.initial)
        with torch.inference_mode(False):  # training may need the table later
            table = from_signs(self.class_signs, self.sizes)
        columns, is_tree = table.clamp(min=0).unbind(1), bool((table >= 0).all())
        for below, above, size in zip(columns, columns[1:] + columns[-1:], self.sizes, strict=True):
            parents = torch.full_like(below[:size], -1).scatter_(0, below, above)
            is_tree &= bool((parents >= 0).all()) and torch.equal(parents[below], above)
        active, step, (num, last) = bool(self.active > 0), int(self.steps), self.updates.tolist()
        return Progress(step, num, last, active and is_tree, active and not is_tree, table)

    def count_step(self) -> None:
        """Count one training step."""
        now = self.read()
        self.steps.add_(1)
        if not torch.compiler.is_compiling():
            self.__dict__["_seen"] = self._written(), now._replace(step=now.step + 1), self._seen[2]

    def write(self, class_labels: Tensor) -> None:
        """Store a table as the result of an update in this step; the loss is active from now on."""
        self.class_signs.copy_(to_signs(class_labels, self.sizes))
        self.updates.copy_(torch.stack([self.updates[0] + 1, self.steps]))
        self.active.fill_(1)
        self.read()

    def _replicate_for_data_parallel(self) -> Any:
        wrong = "HierarchicalProxyLoss cannot be trained inside torch.nn.DataParallel"
        raise RuntimeError(f"{wrong}: use DistributedDataParallel, or leave the loss outside")

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self.read()  # because a compiled loss cannot

    def _apply(self, *args: Any) -> "SuperclassState":
        super()._apply(*args)
        self._seen = None
        self.read()
        return self
