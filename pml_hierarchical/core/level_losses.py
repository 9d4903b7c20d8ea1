"""One loss of PML per level: where its proxies are, how it is made and called, and the sum."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from typing import Any

import torch
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning.reducers import ClassWeightedReducer


def _is_of_fine_level(name: str, value: Any) -> bool:
    modules = value.modules() if isinstance(value, torch.nn.Module) else ()
    is_weighted = any(isinstance(module, ClassWeightedReducer) for module in modules)
    return is_weighted or name.startswith(("weight_reg", "embedding_reg"))


@dataclass(frozen=True)
class ProxyLayout:
    """How a class of losses keeps its proxies."""

    attribute: str  # the name of the parameter
    class_dim: int = 0  # 0 for the shape (num_classes, embedding_size), 1 for its transpose
    centers: Any = 1  # proxies per class, adjacent in class_dim; or the attribute with that number
    direction_only: bool | None = None  # lengths do not matter; None: if the distance normalises
    size_argument: str = "embedding_size"  # what the constructor calls the embedding size
    needs_norm: bool = False  # a vector of length zero is an error, or makes the loss NaN
    scale: str = ""  # the attribute that similarities are multiplied by; "1/...": divided by

    def of(self, loss: Any, num_classes: int) -> "ProxyLayout":
        """The layout with one loss's values; ``TypeError`` if its proxies have another layout."""
        shape = tuple(getattr(getattr(loss, self.attribute, None), "shape", ()))
        centers = getattr(loss, self.centers) if isinstance(self.centers, str) else self.centers
        if len(shape) != 2 or shape[self.class_dim] != num_classes * centers:
            raise TypeError(
                f"base_loss made a {type(loss).__name__} whose {self.attribute!r} has shape "
                f"{shape}, expected {num_classes * centers} proxies in dimension {self.class_dim}"
            )
        only = loss.distance.normalize_embeddings if self.direction_only is None else None
        return replace(self, centers=centers, direction_only=bool(only or self.direction_only))

    def rows(self, stored: torch.Tensor) -> torch.Tensor:
        """Stored proxies as rows ``(num_classes * centers, embedding_size)``, and the reverse."""
        return stored if self.class_dim == 0 else stored.t()

    def class_vectors(self, stored: torch.Tensor) -> torch.Tensor:
        """One vector per class, the mean of its centres, or of their directions; differentiable."""
        rows = self.rows(stored).contiguous()  # norms of a transposed view take ten times as long
        rows = torch.nn.functional.normalize(rows) if self.direction_only else rows
        return rows if self.centers == 1 else rows.unflatten(0, (-1, self.centers)).mean(dim=1)

    def stored_form(self, vectors: torch.Tensor) -> torch.Tensor:
        """One vector per class in the loss's layout; P2SGrad needs a direction even for zeros."""
        if self.needs_norm:
            is_zero = vectors.norm(dim=1, keepdim=True) < 1e-12
            vectors = torch.nn.functional.normalize(vectors.masked_fill(is_zero, 1))
        return self.rows(vectors.repeat_interleave(self.centers, dim=0))


# Subclasses inherit. Those with direction_only=True normalise W, whatever their distance does.
_SOFTMAX = ProxyLayout("W", 1, direction_only=True, scale="scale")
LAYOUTS: dict[type, ProxyLayout] = {
    pml_losses.ProxyAnchorLoss: ProxyLayout("proxies", scale="alpha"),
    pml_losses.ProxyNCALoss: ProxyLayout("proxies", scale="softmax_scale"),
    pml_losses.NormalizedSoftmaxLoss: replace(_SOFTMAX, scale="1/temperature"),
    pml_losses.CosFaceLoss: _SOFTMAX,
    pml_losses.ArcFaceLoss: _SOFTMAX,
    pml_losses.SphereFaceLoss: _SOFTMAX,
    pml_losses.LargeMarginSoftmaxLoss: replace(_SOFTMAX, direction_only=False),
    pml_losses.SubCenterArcFaceLoss: replace(_SOFTMAX, centers="sub_centers"),
    pml_losses.SoftTripleLoss: ProxyLayout("fc", 1, "centers_per_class", scale="la"),
    pml_losses.P2SGradLoss: ProxyLayout("weight", 1, 1, True, "descriptors_dim", True),
}


def layout_of(loss_class: type) -> ProxyLayout:
    """The layout of a class of losses; ``TypeError`` if it is not known to have proxies."""
    if known := [LAYOUTS[parent] for parent in loss_class.__mro__ if parent in LAYOUTS]:
        return known[0]
    names = ", ".join(sorted(one.__name__ for one in LAYOUTS))
    raise TypeError(
        f"base_loss is a {loss_class.__name__}, which is not known to have proxies: pair and "
        f"triplet losses cannot be a base. Use {names} or a subclass; register a proxy loss of "
        "your own with losses.register_proxy_loss(...)."
    )


@dataclass(frozen=True)
class LevelLossFactory:
    """Makes the loss of any level from ``kwargs`` (regularizers and class weights only for the
    finest), overridden by ``level_kwargs``. Coarse levels have ``coarse_scale`` times the scale,
    unless set there, and proxies that start at zero and are buffers unless ``"learned"``."""

    base_loss: Callable[..., Any]
    embedding_size: int
    kwargs: Mapping[str, Any]
    level_kwargs: Mapping[int, Mapping[str, Any]]
    coarse_proxies: str
    coarse_scale: float

    def make(self, level: int, num_classes: int) -> Any:
        """The loss of a level of ``num_classes`` classes."""
        made_by = base.func if isinstance(base := self.base_loss, partial) else base
        size = layout_of(made_by).size_argument if isinstance(made_by, type) else "embedding_size"
        kwargs = {k: v for k, v in self.kwargs.items() if not (level and _is_of_fine_level(k, v))}
        kwargs |= {**self.level_kwargs.get(level, {}), size: self.embedding_size}
        # A script draws the same random numbers whether it uses the base loss or this one.
        with torch.random.fork_rng(devices=[], enabled=level > 0):
            loss = base(num_classes=num_classes, **kwargs)
        layout = layout_of(type(loss)).of(loss, num_classes)
        if level > 0:
            attribute, (inverse, _, scale) = layout.attribute, layout.scale.rpartition("/")
            if scale and scale not in self.level_kwargs.get(level, {}):
                value = getattr(loss, scale)  # not in place: levels may share a tensor
                scaled = value * self.coarse_scale ** (-1 if inverse else 1)
                if isinstance(value, torch.nn.Parameter):
                    scaled = torch.nn.Parameter(scaled.detach(), value.requires_grad)
                setattr(loss, scale, scaled)
            proxies = torch.nn.init.zeros_(getattr(loss, attribute))
            if self.coarse_proxies != "learned":
                delattr(loss, attribute)
                loss.register_buffer(attribute, proxies.detach())
        return loss


def values_by_pml(
    losses: Sequence[Any],
    attribute: str,
    table: torch.Tensor,
    indices_tuple: Any,
    embeddings: torch.Tensor,
    proxies: Sequence[torch.Tensor],
) -> list[Any]:
    """What PML's losses return for every level. They would permanently cast their proxies to the
    type of the embeddings; here they see a cast copy. Autocast casts the embeddings instead."""
    if torch.is_autocast_enabled(embeddings.device.type):
        embeddings = embeddings.to(proxies[0].dtype)
    values = []
    for loss, labels, stored in zip(losses, table, proxies, strict=True):
        seen, inputs = stored.to(embeddings), (embeddings, labels, indices_tuple)
        is_own, call = seen is getattr(loss, attribute), torch.func.functional_call
        values.append(loss(*inputs) if is_own else call(loss, {attribute: seen}, inputs))
    return values


def checked_weights(weights: Any, num_levels: int, when: str = "") -> tuple[float, ...]:
    """A weight for each level; a number is for every coarse level, and the finest then has 1."""
    weights = weights.tolist() if hasattr(weights, "tolist") else weights  # tensors and arrays
    is_many = isinstance(weights, Iterable) and not isinstance(weights, (Mapping, Set))
    values = tuple(weights) if is_many else (1.0, *[weights] * (num_levels - 1))
    if not all(isinstance(value, Real) for value in (values if is_many else [weights])):
        raise TypeError(f"level_weights must be a number or one per level, got {weights!r}{when}")
    is_valid = all(0 <= value < math.inf for value in values) and any(values)
    if len(values) != num_levels or not is_valid or (num_levels == 1 and values != (1,)):
        raise ValueError(
            f"level_weights must hold one weight for each of the {num_levels} levels, finest "
            "first: finite, not negative and not all 0 (with a single level, 1: another weight "
            f"has no effect); got {len(values)}: {values}{when}"
        )
    return tuple(map(float, values))


def weighted_sum(values: Callable[..., Any], weights: Sequence[float], *inputs: Any) -> Any:
    """The weighted sum of the values that a function of the inputs returns for the levels."""
    return sum(weight * value for weight, value in zip(weights, values(*inputs), strict=True))


def recorded(value: torch.Tensor) -> torch.Tensor:
    """The value, detached; reshaped if compiled, because inductor merges equal outputs into one."""
    return value.detach().view(1).clone() if torch.compiler.is_compiling() else value.detach()


def elements_of_levels(values: Sequence[Any], weights: Sequence[float]) -> dict[str, Any]:
    """The ``loss_dict`` of the elements that a ``DoNothingReducer`` leaves at every level."""
    return {
        f"{name}_level{level}": {**info, "losses": weight * info["losses"]}
        for level, (value, weight) in enumerate(zip(values, weights, strict=True))
        for name, info in value.items()
    }
