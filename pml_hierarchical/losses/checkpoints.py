"""Checkpoints: those of the base loss are taken, and those of another loss are explained."""

from typing import Any

import torch

from ..core import hierarchical_proxy_loss as core
from ..core.superclasses import SuperclassState, from_signs


class CheckpointMixin(core.HierarchicalProxyLoss):
    """Loading a ``state_dict``."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        flat, stored = prefix + self.layout.attribute, self._stored_proxies(prefix)
        if flat in state_dict and flat not in stored:  # from the base loss: no hierarchy yet
            fine, *coarse = stored
            state_dict[fine] = state_dict.pop(flat)
            state_dict.update({key: torch.zeros_like(stored[key]) for key in coarse})
            fresh = SuperclassState(self._given_table(), self.sizes).state_dict()
            state_dict.update({f"{prefix}superclasses.{key}": one for key, one in fresh.items()})
        for key in (f"{prefix}superclasses.steps", f"{prefix}superclasses.updates"):
            if key in state_dict and state_dict[key].is_floating_point():  # cast, or averaged
                state_dict[key] = state_dict[key].nan_to_num().round().long()
        self._check_checkpoint(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _stored_proxies(self, prefix: str) -> dict[str, torch.Tensor]:
        """The proxies of each level by their key in a state dict."""
        stored = core.HierarchicalProxyLoss.proxies_in_use(self, len(self.sizes))
        attribute = self.layout.attribute
        return {f"{prefix}level_losses.level{n}.{attribute}": one for n, one in enumerate(stored)}

    def _check_checkpoint(self, state_dict: Any, prefix: str) -> None:
        """Raise, saying what differs, for a checkpoint of a loss with other levels or classes."""
        stored, attribute = self._stored_proxies(prefix), self.layout.attribute
        others = {f"{prefix}level_losses.level{level}.{attribute}" for level in range(1, 64)}
        if not (found := {*stored, *others} & {*state_dict}):
            return
        if (f"{prefix}class_numbers" in state_dict) != ("class_numbers" in self._buffers):
            raise ValueError(
                "the classes are divided among processes either here or in the checkpoint: load it "
                "into a loss of its own kind, and call from_unsharded(loss) or to_unsharded()"
            )
        if len(found) != len(stored):
            wrong = f"the checkpoint is of a loss with {len(found)} levels"
            wrong += f", and this one has {len(stored)} (sizes {self.sizes})"
            hint = "construct it with the same hierarchy or num_superclasses"
            raise ValueError(f"{wrong}: {hint}")
        for level, (key, ours) in enumerate(stored.items()):
            is_divided, theirs = key == f"{prefix}proxies", state_dict[key]
            dim = 0 if is_divided else self.layout.class_dim
            if theirs.shape != ours.shape:
                counted = "proxies" if (has_centres := self.layout.centers > 1) else "classes"
                of_classes = "num_superclasses (or hierarchy)" if level else "num_classes"
                of_classes += " or centres per class" if has_centres else ""
                size = "embedding_size" if theirs.shape[dim] == ours.shape[dim] else of_classes
                raise ValueError(
                    f"the checkpoint's proxies of level {level} have shape {tuple(theirs.shape)}, "
                    f"and those of this loss {tuple(ours.shape)}: construct it with the {size} of "
                    f"the checkpoint, which has {theirs.shape[dim]} {counted} at this level"
                )
        signs = state_dict.get(f"{prefix}superclasses.class_signs")
        if signs is not None and signs.shape == self.superclasses.class_signs.shape:
            theirs, ours = from_signs(signs, self.sizes).cpu(), self._given_table()
            other = (theirs != ours) & (ours >= 0)
            if other.any():
                row, level = other.nonzero()[0].tolist()
                number, none = theirs[row, level], "no class yet (it was to be discovered)"
                raise ValueError(
                    f"the checkpoint was made with another given hierarchy: at level {level} class "
                    f"{row} belongs to {none if number < 0 else f'class {number}'} there, and to "
                    f"class {ours[row, level]} here"
                )

    def _given_table(self) -> torch.Tensor:
        """The class labels of the levels that are given; -1 where a level is discovered."""
        table = self.superclasses.initial.cpu().clone()
        table[:, ~torch.tensor(self.is_given)] = -1
        return table
