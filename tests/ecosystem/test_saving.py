"""What writes a state and reads it again: files, copies, casts and devices."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from small_models import (
    DIM,
    EVERY,
    LOSSES,
    NUM_CLASSES,
    SOME,
    TREE,
    WARMUP,
    Net,
    assert_active_with_tree_of,
    assert_same,
    assert_trains_alike,
    assert_usable,
    batches,
    facts,
    make,
    ours,
    train,
    value,
)

from pml_hierarchical import Hierarchy

#: in the warm-up, and after two updates
STEPS = [WARMUP - 1, WARMUP + EVERY + 2]


def through_safetensors(loss, fresh, folder):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_model(loss, str(folder / "model.safetensors"))
    missing, unexpected = safetensors.load_model(fresh, str(folder / "model.safetensors"))
    assert not missing
    assert not unexpected
    return fresh


def through_distributed_checkpoint(loss, fresh, folder):
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict

    dcp.save({"loss": get_model_state_dict(loss)}, checkpoint_id=folder, no_dist=True)
    state = {"loss": get_model_state_dict(fresh)}
    dcp.load(state, checkpoint_id=folder, no_dist=True)
    set_model_state_dict(fresh, state["loss"])
    return fresh


def through_distributed_checkpoint_in_place(loss, fresh, folder):
    """Written into the module's own tensors, without load_state_dict."""
    import torch.distributed.checkpoint as dcp

    facts(fresh)  # was looked at before
    dcp.save(loss.state_dict(), checkpoint_id=folder, no_dist=True)
    dcp.load(fresh.state_dict(), checkpoint_id=folder, no_dist=True)
    return fresh


def through_torch_save_of_state(loss, fresh, folder):
    torch.save(loss.state_dict(), folder / "state.pt")
    fresh.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    return fresh


def through_torch_save_of_module(loss, fresh, folder):
    torch.save(loss, folder / "module.pt")
    return torch.load(folder / "module.pt", weights_only=False)


def through_cpu_copies(loss, fresh, folder):
    fresh.load_state_dict({key: value.cpu() for key, value in loss.state_dict().items()})
    return fresh


def through_assign(loss, fresh, folder):
    state = {key: value.clone() for key, value in loss.state_dict().items()}
    fresh.load_state_dict(state, assign=True)
    return fresh


def through_deepcopy(loss, fresh, folder):
    return copy.deepcopy(loss)


def through_pickle(loss, fresh, folder):
    return pickle.loads(pickle.dumps(loss))


WAYS = [
    through_safetensors,
    through_distributed_checkpoint,
    through_distributed_checkpoint_in_place,
    through_torch_save_of_state,
    through_torch_save_of_module,
    through_cpu_copies,
    through_assign,
    through_deepcopy,
    through_pickle,
]


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_is_saved_and_loaded_trains_on_alike(name, way, steps, tmp_path):
    loss = train(make(name), steps)
    assert_trains_alike(way(loss, make(name, seed=1), tmp_path), loss)


@pytest.mark.parametrize("steps", STEPS)
def test_a_used_loss_that_loads_is_as_a_new_one(name, steps):
    """The tensors alone decide: a loss with another history goes on as the one that was saved."""
    loss = train(make(name), steps)
    used = train(make(name, seed=1), WARMUP + 2 * EVERY + 1, seed=1)
    used.load_state_dict(loss.state_dict())
    assert_trains_alike(used, loss)


def test_state_is_tensors_in_buffers_and_parameters_alone(name):
    loss = train(make(name), STEPS[1])
    state = loss.state_dict()
    assert not [key for key in state if "_extra_state" in key]
    own = {**dict(loss.named_parameters()), **dict(loss.named_buffers())}
    assert state.keys() == own.keys(), "a buffer that is not saved, or something else that is"
    assert all(isinstance(value, torch.Tensor) for value in state.values())


#: what may differ between a trained loss and a new one outside of tensors, beside the numbers of
#: the last call that are logged: a cache, and what decides whether a warning is due
NOT_STATE = {
    "_checks_left",
    "_last_vectors",
    "_seen",  # the buffers' contents as Python values, read again when they change
    "_seen_progress",
    "_updates_without_change",
    "_warned",
}


def test_nothing_beside_the_tensors_changes_in_training(name):
    loss, new = train(make(name), STEPS[1]), make(name)
    logged = set(getattr(loss, "_record_these", ()))
    if hasattr(loss, "record_names"):
        logged |= set(loss.record_names)
    containers = {"_parameters", "_buffers", "_modules"}
    for (path, trained), (_, fresh) in zip(loss.named_modules(), new.named_modules(), strict=True):
        # divisor: logged by PML's reducers
        assert trained.__dict__.keys() - {"divisor"} == fresh.__dict__.keys() - {"divisor"}
        for key in fresh.__dict__.keys() - containers - NOT_STATE - logged:
            before, after = fresh.__dict__[key], trained.__dict__[key]
            if isinstance(after, (bool, int, float, str, tuple, dict, list, type(None))):
                assert before == after, f"{path}.{key} is state outside of tensors"
            elif isinstance(after, torch.Tensor):
                assert torch.equal(before, after), f"{path}.{key} is a tensor that is not saved"
            else:
                assert type(before) is type(after)


def test_diagnostics_do_not_change_what_is_computed(name):
    """The attributes of NOT_STATE and the log, set back to those of a new loss."""
    loss = train(make(name), STEPS[1])
    other, new = copy.deepcopy(loss), make(name)
    for trained, fresh in zip(other.modules(), new.modules(), strict=True):
        for key, fresh_value in fresh.__dict__.items():
            if key not in ("_parameters", "_buffers", "_modules", "_seen"):
                trained.__dict__[key] = copy.deepcopy(fresh_value)
    assert_trains_alike(other, loss)


# ------------------------------------------------------------ casts
@pytest.mark.parametrize("cast", ["half", "bfloat16", "double"])
def test_casting_the_module_keeps_tree_and_counters(name, cast):
    loss = train(make(name), STEPS[1])
    before = facts(loss)
    getattr(loss, cast)()
    assert facts(loss) == before
    assert next(loss.parameters()).dtype == getattr(torch, cast)
    assert value(loss).isfinite()
    train(loss, 2 * EVERY, seed=3)
    if before:
        assert loss.step == before["step"] + (2 * EVERY if len(loss.sizes) > 1 else 0)
    assert value(loss.float()).isfinite()


@pytest.mark.parametrize("name", ["PML", "discovered"])
def test_a_loss_cast_before_training_counts_far(name):
    """bfloat16 holds no odd integers above 256."""
    loss = make(name).to(torch.bfloat16)
    train(loss, 262)
    if "step" in facts(loss) and len(loss.sizes) > 1:
        assert (loss.step, loss.num_updates) == (262, 1 + (261 - WARMUP) // EVERY)


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_loading_a_cast_state(name, dtype, assign):
    loss = train(make(name), STEPS[1])
    fresh = make(name, seed=1)
    state = {key: value.to(dtype) for key, value in loss.state_dict().items()}
    fresh.load_state_dict(state, assign=assign)
    assert facts(fresh) == facts(loss)
    assert value(fresh).isfinite()
    train(fresh, 2 * EVERY, seed=3)
    assert value(fresh).isfinite()
    if facts(loss) and len(loss.sizes) > 1:
        assert fresh.step == loss.step + 2 * EVERY


@pytest.mark.parametrize("step", [2049, 100_000])
def test_a_cast_state_of_a_long_training(step):
    """float16 rounds 2049 and ends at 65504; the step stays a number of steps all the same."""
    loss = train(make("discovered"), STEPS[1])
    state = loss.state_dict()
    state["superclasses.steps"].fill_(step)
    state["superclasses.updates"][1] = step
    assert loss.step == step
    fresh = make("discovered", seed=1)
    fresh.load_state_dict({key: value.half() for key, value in state.items()})
    assert 0.6 * step < fresh.step < 1.01 * step
    assert_active_with_tree_of(fresh, loss)
    updates = fresh.num_updates
    train(fresh, EVERY + 1)
    assert fresh.num_updates == updates + 1


# ------------------------------------------------------------ the meta device and inference mode
def test_meta_device_and_to_empty(name):
    loss = train(make(name), STEPS[1])
    with torch.device("meta"):
        fresh = LOSSES[name]()
    fresh.to_empty(device="cpu")
    fresh.load_state_dict(loss.state_dict())
    assert_trains_alike(fresh, loss)


def test_meta_device_and_assign(name):
    loss = train(make(name), STEPS[1])
    with torch.device("meta"):
        fresh = LOSSES[name]()
    state = {key: value.clone() for key, value in loss.state_dict().items()}
    fresh.load_state_dict(state, assign=True)
    assert not any(tensor.is_meta for tensor in fresh.state_dict().values())
    assert_trains_alike(fresh, loss)


def test_a_loss_moved_to_meta_and_back(name):
    loss = train(make(name), STEPS[1])
    state = {key: value.clone() for key, value in loss.state_dict().items()}
    moved = copy.deepcopy(loss).to("meta").to_empty(device="cpu")
    moved.load_state_dict(state)
    assert_trains_alike(moved, loss)


def test_inference_mode_leaves_a_loss_that_trains_saves_and_loads(name):
    loss = train(make(name), STEPS[1])
    with torch.inference_mode():
        if facts(loss):
            loss.recluster()
        loss(*next(batches(1)))
        value(loss)
    assert not any(tensor.is_inference() for tensor in loss.state_dict().values())
    saved = io.BytesIO()
    torch.save(loss.state_dict(), saved)
    saved.seek(0)
    fresh = make(name, seed=1)
    fresh.load_state_dict(torch.load(saved, weights_only=True))
    loss.load_state_dict(loss.state_dict())
    assert_trains_alike(fresh, loss)


def test_first_read_in_inference_mode(name):
    """Loaded, evaluated in inference mode, trained: what Lightning does."""
    loss = train(make(name), STEPS[1])
    fresh = make(name, seed=1)
    fresh.load_state_dict(loss.state_dict())
    with torch.inference_mode():
        value(fresh)
    assert_trains_alike(fresh, loss)


def test_loading_in_inference_mode(name):
    loss = train(make(name), STEPS[1])
    fresh = make(name, seed=1)
    with torch.inference_mode():
        fresh.load_state_dict(loss.state_dict())
    assert_trains_alike(fresh, loss)


def test_a_copy_made_in_inference_mode_can_be_evaluated(name):
    loss = train(make(name), STEPS[1])
    with torch.inference_mode():
        inside = copy.deepcopy(loss)
        assert torch.equal(value(inside), value(loss))
        assert facts(inside) == facts(loss)
        assert torch.equal(value(make(name)), value(make(name)))


# ------------------------------------------------------------ what may be loaded
#: as TREE, but for class 2
OTHER_TREE = Hierarchy.from_parents([[0, 0, 2, 1, 1, 1, 1, 2, 2, 2, 2, 2]])


def test_another_given_tree_is_refused_by_name():
    loss = train(make("given"), STEPS[1])
    other = ours(hierarchy=OTHER_TREE)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"another given hierarchy: .* class 2 .*class 0 .*class 2 here"
    ):
        other.load_state_dict(loss.state_dict())
    assert all(torch.equal(before[key], value) for key, value in other.state_dict().items())


@pytest.mark.parametrize("prepare", ["meta", "to_empty"])
def test_another_given_tree_is_refused_on_the_meta_device_too(prepare):
    loss = train(make("given"), STEPS[1])
    with torch.device("meta"):
        other = ours(hierarchy=OTHER_TREE)
    if prepare == "to_empty":
        other.to_empty(device="cpu")
    with pytest.raises(ValueError, match="another given hierarchy"):
        other.load_state_dict(loss.state_dict(), assign=prepare == "meta")


def test_a_tree_still_to_be_discovered_into_a_given_one_is_refused():
    loss, given = train(make("discovered"), STEPS[0]), ours(hierarchy=TREE)
    message = (
        r"another given hierarchy: at level 1 class 0 belongs to no class yet .* there, and to"
    )
    with pytest.raises(ValueError, match=message):
        given.load_state_dict(loss.state_dict())


def test_a_discovered_tree_into_a_given_one_is_refused():
    loss = train(make("discovered"), STEPS[1])
    given = ours(hierarchy=TREE)
    assert loss.hierarchy.class_labels.tolist() != TREE.class_labels.tolist()
    with pytest.raises(ValueError, match="another given hierarchy"):
        given.load_state_dict(loss.state_dict())


@pytest.mark.parametrize("path", ["", "loss_func."])
@pytest.mark.parametrize("way", ["load_state_dict", "safetensors"])
def test_a_flat_checkpoint_of_the_base_loss_starts_the_hierarchy_anew(name, path, way, tmp_path):
    """Strictly, also inside a larger module, and whatever the loss has been through."""
    if name == "transposed":
        from pytorch_metric_learning.losses import CosFaceLoss

        base = CosFaceLoss(NUM_CLASSES, DIM)
    else:
        base = make("PML", seed=3)
    if path:
        source, target = Net("PML", seed=3), Net(name)
        source.loss_func, loss = base, target.loss_func
    else:
        source, target = base, make(name)
        loss = target
    train(loss, STEPS[1])
    if way == "safetensors":
        safetensors = pytest.importorskip("safetensors.torch")
        safetensors.save_model(source, str(tmp_path / "flat.safetensors"))
        safetensors.load_model(target, str(tmp_path / "flat.safetensors"), strict=True)
    else:
        state = source.state_dict()
        target.load_state_dict(state, strict=True)
        assert state.keys() == source.state_dict().keys(), "the caller's dict was changed"
    attribute = "W" if name == "transposed" else "proxies"
    assert torch.equal(getattr(loss, attribute), getattr(base, attribute))
    if facts(loss):
        assert (loss.step, loss.num_updates, loss.is_active) == (0, 0, False)
        assert_trains_alike(_new_with(name, attribute, base), loss)


def _new_with(name, attribute, base):
    new = make(name, seed=4)
    getattr(new, attribute).data.copy_(getattr(base, attribute).data)
    return new


@pytest.mark.parametrize("flat", [False, True], ids=["hierarchical", "flat"])
def test_another_embedding_size_is_called_that(flat):
    fresh = ours(num_superclasses=3)
    if flat:
        from pytorch_metric_learning.losses import ProxyAnchorLoss

        other = ProxyAnchorLoss(NUM_CLASSES, DIM + 1)
    else:
        from pml_hierarchical.losses import HierarchicalProxyLoss

        other = HierarchicalProxyLoss(NUM_CLASSES, DIM + 1, num_superclasses=3)
    with pytest.raises(ValueError, match=r"embedding_size"):
        fresh.load_state_dict(other.state_dict())


@pytest.mark.parametrize(
    ("saved", "loading", "words"),
    [
        ({"num_superclasses": 4}, {"num_superclasses": 3}, "num_superclasses"),
        ({"num_superclasses": (5, 2)}, {"num_superclasses": 3}, "3 levels, and this one has 2"),
        ({"num_superclasses": 3}, {"num_superclasses": ()}, "2 levels, and this one has 1"),
    ],
)
def test_other_levels_are_refused_by_name(saved, loading, words):
    with pytest.raises(ValueError, match=words):
        ours(**loading).load_state_dict(ours(**saved).state_dict())


def test_a_refused_checkpoint_inside_a_larger_module():
    source, target = Net("discovered"), Net("three levels")
    with pytest.raises(ValueError, match="2 levels, and this one has 3"):
        target.load_state_dict(source.state_dict())


def test_saved_and_loaded_again_is_the_same(name):
    """A round trip of a loaded loss: nothing accumulates."""
    loss = train(make(name), STEPS[1])
    for _ in range(3):
        fresh = make(name, seed=1)
        fresh.load_state_dict(loss.state_dict())
        assert_same(fresh, loss)
        loss = fresh
    assert_usable(loss)


@pytest.mark.parametrize("coarse_proxies", ["learned", "fixed"])
def test_a_given_tree_is_continued_by_a_mixed_one(coarse_proxies):
    """The groups that it goes on from may have any numbers, and keep their proxies."""
    parents = [[3, 3, 1, 1, 2, 2, 0, 0, 3, 1, 2, 0], [1, 0, 1, 0]]  # superclass 0 and 2 are in 1
    tree = Hierarchy.from_parents(parents)
    kinds = Hierarchy(tree.class_labels[:, [0, 2]])
    given = ours(hierarchy=tree, num_superclasses=(), coarse_proxies=coarse_proxies)
    with torch.no_grad():  # superclasses that are easily found
        given.proxies.copy_(torch.eye(4, DIM)[list(parents[0])] + 0.1 * given.proxies)
    given.recluster()
    mixed = ours(hierarchy=kinds, num_superclasses=4, coarse_proxies=coarse_proxies)
    mixed.load_state_dict(given.state_dict())
    means = mixed.level_loss(1).proxies.detach().clone()
    mixed.recluster()
    assert torch.equal(mixed.class_labels, given.class_labels)
    torch.testing.assert_close(mixed.level_loss(1).proxies.detach(), means)
