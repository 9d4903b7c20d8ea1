"""A network cut in two in front of one of its blocks: a lower part and an upper one."""

from __future__ import annotations

import torch
from torch import fx, nn


def split_at(network: nn.Module, block: str) -> tuple[nn.Module, nn.Module]:
    """The part of a network in front of a block, and the rest, which begins with that block.

    Both use the modules of ``network`` and keep their names, so that state dicts of the parts have
    the keys of the whole.

    Arguments:
        network: maps one tensor to one tensor, the same way in training and evaluation.
        block: the name of one of its modules.

    Raises:
        ValueError: if it cannot be cut there; says why.
    """
    traced = [_traced(network.train(mode), block) for mode in (True, False)]
    graph = traced[1]
    if str(traced[0]) != str(graph):
        raise _cannot(block, "the network takes other steps in training than in evaluation")
    call = next((n for n in graph.nodes if n.op == "call_module" and n.target == block), None)
    if call is None:
        raise _cannot(block, "the network does not call it as a whole")
    of_pictures = _made_of_pictures(graph)
    taken = [node for node in call.all_input_nodes if node in of_pictures]
    if len(taken) != 1:
        raise _cannot(block, f"it takes {len(taken)} tensors that depend on the picture")
    (cut,) = taken
    lower = fx.GraphModule(network, _graph_until(graph, cut))
    lower.graph.eliminate_dead_code()
    lower.recompile()
    below = {id(parameter) for parameter in lower.parameters()}
    if not below:
        raise _cannot(block, "no layer with weights is below it")
    upper = fx.GraphModule(network, _graph_from(graph, cut, block))
    if below & {id(parameter) for parameter in upper.parameters()}:
        raise _cannot(block, "weights are used both below and above it")
    return lower, upper


def check_split(
    network: nn.Module, lower: nn.Module, upper: nn.Module, pictures: torch.Tensor, block: str
) -> None:
    """Compare the two parts with the whole, in eval mode.

    Raises:
        ValueError: if they give something else.
    """
    with torch.no_grad():
        wanted, found = network(pictures), upper(lower(pictures))
    if found.shape != wanted.shape or not torch.allclose(found, wanted, rtol=1e-3, atol=1e-4):
        raise _cannot(block, "the two parts together give other features than the network")


class _OneInput(nn.Module):
    """A network without its optional arguments, such as masks, which would be traced as well."""

    NAME = "network"

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.network(pictures)
        return features


class _Tracer(fx.Tracer):
    """Follows the modules around a block; what is beside or inside it stays as it is.

    So almost every network can be traced, and layers that act differently in training still can.
    """

    def __init__(self, block: str) -> None:
        super().__init__()
        parts = [_OneInput.NAME, *block.split(".")]
        self._around = {".".join(parts[:end]) for end in range(1, len(parts))}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name not in self._around


def _traced(network: nn.Module, block: str) -> fx.Graph:
    try:
        graph = _Tracer(block).trace(_OneInput(network))
    except Exception as error:  # what a forward does with a proxy is not known
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise _cannot(block, f"torch.fx cannot follow the network: {reason}") from error
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            node.target = str(node.target).removeprefix(f"{_OneInput.NAME}.")
    return graph


def _made_of_pictures(graph: fx.Graph) -> set[fx.Node]:
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or any(source in found for source in node.all_input_nodes):
            found.add(node)
    return found


def _graph_until(graph: fx.Graph, cut: fx.Node) -> fx.Graph:
    lower = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        copies[node] = lower.node_copy(node, copies.__getitem__)
        if node is cut:
            break
    lower.output(copies[cut])
    return lower


def _graph_from(graph: fx.Graph, cut: fx.Node, block: str) -> fx.Graph:
    """The part that makes the output from the cut; it may read the batch size off its input."""
    (output,) = (node for node in graph.nodes if node.op == "output")
    needed, todo = {output}, [output]
    pictures = next(node for node in graph.nodes if node.op == "placeholder")
    while todo:
        node = todo.pop()
        for source in node.all_input_nodes:
            if source is pictures and not _is_batch_size(node):
                raise _cannot(block, f"{node.name}, above it, needs more than what it is given")
            if source not in (cut, pictures) and source not in needed:
                needed.add(source)
                todo.append(source)
    upper = fx.Graph()
    activations = upper.placeholder("activations")
    copies = {cut: activations, pictures: activations}
    for node in graph.nodes:
        if node in needed:
            copies[node] = upper.node_copy(node, copies.__getitem__)
    return upper


def _is_batch_size(node: fx.Node) -> bool:
    """Whether nothing but the length of the first dimension is taken from a tensor."""
    if node.op == "call_method" and node.target == "size":
        return node.args[1:] == (0,)
    if node.target is getattr and node.args[1] == "shape":
        return all(user.args[1:] == (0,) for user in node.users)
    return False


def _cannot(block: str, reason: str) -> ValueError:
    return ValueError(
        f"--train-from {block}: the network cannot be cut there ({reason}). Choose another block, "
        "or train all of it with --train-trunk"
    )
