"""The losses by blocks of classes: all classes, or one process's share of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from .anchor import attraction, repulsion
from .columns import Block, Columns, Share, Tile
from .directions import inverse, project_, projection
from .settings import Settings, may_overflow, numbers_of
from .softmax import softmax_terms


def block_losses(
    embeddings: Tensor,
    parts: Sequence[Tensor],
    labels: Tensor,
    needs: Sequence[bool],
    settings: Settings,
    share: Share | None = None,
) -> tuple[Tensor, list[Tensor | None]]:
    """The unweighted losses, ``(levels,)``, and the gradients of their weighted sum, ``None`` where
    none is needed. With a ``share``, losses are of all classes, gradients of those held here.

    Arguments:
        embeddings: ``(batch_size, embedding_size)``.
        parts: the proxies of each level, ``(classes, embedding_size)``.
        labels: ``int64`` of shape ``(levels, batch_size)``.
        needs: whether a gradient is needed for the embeddings, and for each tensor of proxies.
        settings: the loss.
        share: which classes the proxies belong to, if not all.
    """
    norms = torch.linalg.vector_norm(embeddings, dim=1) if settings.normalize else None
    unit = embeddings if norms is None else embeddings * inverse(norms).unsqueeze(1)
    columns = Columns(parts, labels, settings.block_size, share)
    gradients = Gradients(columns, unit, needs) if any(needs) else None
    step = _anchor if settings.kind == "proxy_anchor" else _softmax
    losses = step(columns, unit, settings, gradients)
    if gradients is None:
        return losses, [None] * len(needs)
    of_embeddings = gradients.of_embeddings
    if of_embeddings is not None and norms is not None:
        project_(of_embeddings, embeddings, projection(norms))
        of_embeddings.mul_(inverse(norms).unsqueeze(1))
    return losses, [of_embeddings, *gradients.of_proxies]


class Gradients:
    """Gradients for the unit embeddings, and for the proxies (through their normalisation)."""

    def __init__(self, columns: Columns, unit: Tensor, needs: Sequence[bool]) -> None:
        self._columns, self._unit = columns, unit
        # empty_like keeps the strides: a transposed view gets a gradient in its own layout
        self.of_proxies = [
            torch.empty_like(part) if needed else None
            for part, needed in zip(columns.parts, needs[1:], strict=True)
        ]
        self.of_embeddings = torch.zeros_like(unit) if needs[0] else None
        self._projection = projection(columns.norms) if any(needs[1:]) else columns.norms

    def add(self, block: Block, matrix: Tensor) -> None:
        r"""Take a block of :math:`\partial L / \partial\cos_{ij} / |p_j|`: one product each."""
        columns, entries_of = self._columns, matrix.split(block.widths, 1)
        for entries, (level, first, last) in zip(entries_of, block.pieces, strict=True):
            proxies = columns.parts[level][first:last]
            if self.of_embeddings is not None:
                self.of_embeddings.addmm_(entries, proxies)
            whole = self.of_proxies[level]
            if whole is not None:
                gradient = whole[first:last]
                torch.mm(entries.t(), self._unit, out=gradient)
                start = columns.starts[level]
                project_(gradient, proxies, self._projection[start + first : start + last])


# ---------------------------------------------------------------- Proxy-Anchor: a single pass
def _anchor(
    columns: Columns, unit: Tensor, settings: Settings, gradients: Gradients | None
) -> Tensor:
    """The losses of the levels; each class needs only its own block."""
    needs_shift = may_overflow(settings, unit.dtype, columns.batch_size, columns.num_columns)
    numbers = numbers_of(settings, unit.dtype, unit.device)
    cosines = columns.own_cosines(unit)
    exponents = torch.addcmul(
        numbers.offsets.unsqueeze(1), cosines, numbers.scales.unsqueeze(1), value=-1
    )
    own_terms, of_own = attraction(
        exponents.view(-1), columns.own.view(-1), columns.num_columns + 1, needs_shift
    )
    # every process has the labels of the whole batch
    counts = columns.labels.sort(1).values.diff(dim=1).ne(0).sum(1).add_(1)
    of_own = of_own.view_as(cosines) * (numbers.slopes / -counts).unsqueeze(1)
    of_own = of_own.mul_(columns.inverse_norms[columns.own]).view(-1)
    column_scales = columns.per_column(numbers.scales).mul_(columns.inverse_norms)
    column_slopes = columns.per_column(numbers.slopes / numbers.sizes).mul_(columns.inverse_norms)
    column_offsets = columns.per_column(numbers.offsets)
    terms = torch.empty_like(own_terms)
    buffer = unit.new_empty(columns.memory_size)
    for block in columns.blocks:
        here = slice(block.start, block.stop)
        tile = columns.cosines(unit, block, column_scales, buffer)
        tile.memory.index_fill_(0, tile.own, -math.inf)
        terms[here], factors = repulsion(tile.matrix, column_offsets[here], needs_shift)
        if gradients is not None:
            tile.matrix.mul_(factors.mul_(column_slopes[here]))
            tile.put_own(of_own)
            gradients.add(block, tile.matrix)
    both = torch.stack([own_terms, terms])[:, :-1].split(columns.widths, 1)
    of_present, of_all = torch.stack([level.sum(1) for level in both], 1)
    losses = of_present / counts + of_all / numbers.sizes
    if columns.share is not None:
        dist.all_reduce(losses, group=columns.share.group)
    return losses


# ------------------------------------------- softmax: a pass for the sums, one for the gradient
def _softmax(
    columns: Columns, unit: Tensor, settings: Settings, gradients: Gradients | None
) -> Tensor:
    """The losses of the levels; the exponentials are kept, or recomputed to save memory."""
    needs_shift = may_overflow(settings, unit.dtype, columns.batch_size, columns.num_columns)
    numbers = numbers_of(settings, unit.dtype, unit.device)
    scales = columns.per_column(numbers.scales).mul_(columns.inverse_norms)
    keeps = gradients is not None and not settings.save_memory
    buffer = unit.new_empty(columns.memory_size * (len(columns.blocks) if keeps else 1))
    own = unit.new_zeros(columns.own.numel())
    logs = unit.new_full(columns.own.shape, -math.inf if needs_shift else 0)
    tiles, shifts = list[Tile](), list[list[Tensor]]()
    for number, block in enumerate(columns.blocks):
        memory = buffer[number * columns.memory_size :] if keeps else buffer
        tile = columns.cosines(unit, block, scales, memory)
        own += tile.take_own(-math.inf)
        shifts.append(_add_exponentials(tile, block, needs_shift, logs))
        tiles.append(tile)
    own = own.view_as(logs)
    if not needs_shift:
        logs.log_()
    if columns.share is not None:
        logs, own = _of_all_classes(logs, own, columns.share)
    losses, of_own, of_others = softmax_terms(settings.kind, logs.t(), own.t(), numbers)
    if gradients is None:
        return losses
    of_own = (of_own.t() * columns.inverse_norms[columns.own]).view(-1)
    factors = of_others.t().log().sub_(logs).unsqueeze(2)  # to be added to the exponents
    for number, block in enumerate(columns.blocks):
        tile = tiles[number] if keeps else columns.cosines(unit, block, scales, buffer)
        pieces = tile.matrix.split(block.widths, 1)
        for index, (entries, (level, _, _)) in enumerate(zip(pieces, block.pieces, strict=True)):
            if not keeps:
                entries.add_(factors[level]).exp_()
            elif needs_shift:
                entries.mul_((factors[level] + shifts[number][index]).exp_())
            else:
                entries.mul_(factors[level].exp())
        tile.matrix.mul_(columns.inverse_norms[block.start : block.stop])
        tile.put_own(of_own)
        gradients.add(block, tile.matrix)
    return losses


def _add_exponentials(tile: Tile, block: Block, needs_shift: bool, sums: Tensor) -> list[Tensor]:
    """In place, the exponentials of a block; their sums by row are added to those of each level. If
    shifts are needed, these are logarithms, and what was subtracted from exponents is returned.
    """
    if not needs_shift:
        tile.matrix.exp_()
    shifts = []
    pieces = tile.matrix.split(block.widths, 1)
    for entries, (level, _, _) in zip(pieces, block.pieces, strict=True):
        if not needs_shift:
            sums[level].add_(entries.sum(1))
            continue
        # where all are -inf, the lowest number keeps them so
        shift = entries.amax(1, keepdim=True).clamp_min_(torch.finfo(entries.dtype).min)
        logs = entries.sub_(shift).exp_().sum(1).log_().add_(shift.squeeze(1))
        torch.logaddexp(sums[level], logs, out=sums[level])
        shifts.append(shift)
    return shifts


def _of_all_classes(logs: Tensor, own: Tensor, share: Share) -> tuple[Tensor, Tensor]:
    """The logarithm of the sum over all processes, and the cosine from the one that has it."""
    highest = logs.clone()
    dist.all_reduce(highest, op=dist.ReduceOp.MAX, group=share.group)
    highest.clamp_min_(torch.finfo(logs.dtype).min)
    sums = torch.stack([(logs - highest).exp_(), own])
    dist.all_reduce(sums, group=share.group)
    return sums[0].log_().add_(highest), sums[1]
