"""The ideas of the study, against formulas written out in float64."""

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as pml_losses

from benchmarks.ablation.courses import FALLING, RISING, Course
from benchmarks.ablation.ideas import IDEAS, Idea
from benchmarks.ablation.ideas.experimental_loss import ExperimentalLoss
from benchmarks.ablation.ideas.spec import IdeaSpec
from benchmarks.losses import find_loss
from pml_hierarchical import Hierarchy
from pml_hierarchical.losses import HierarchicalProxyLoss

CLASSES, SIZE = 12, 6
TREE = Hierarchy.from_labels(
    np.stack([np.arange(CLASSES), np.arange(CLASSES) // 3, np.arange(CLASSES) // 6], axis=1)
)
BASES = {
    "proxy_nca": (pml_losses.ProxyNCALoss, {"softmax_scale": 8.0}),
    "normalized_softmax": (pml_losses.NormalizedSoftmaxLoss, {"temperature": 0.1}),
    "proxy_anchor": (pml_losses.ProxyAnchorLoss, {"margin": 0.2, "alpha": 16}),
}


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(20, SIZE, generator=generator, dtype=torch.float64)
    return embeddings.requires_grad_(), torch.randint(CLASSES, (20,), generator=generator)


def made(loss_class, *first, base="proxy_nca", **settings):
    base_class, arguments = BASES[base]
    torch.manual_seed(3)
    settings = {"hierarchy": TREE, "warmup": 0, "coarse_proxies": "learned", **settings}
    return loss_class(
        *first, CLASSES, SIZE, base_class, level_weights=0.5, **settings, **arguments
    ).double()


def with_idea(name, amount, **settings):
    return made(ExperimentalLoss, IDEAS[name](amount), **settings)


def unit(vectors):
    return vectors / vectors.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("base", BASES)
def test_without_a_change_it_is_hpl(base):
    found = []
    for loss_class, first in ((HierarchicalProxyLoss, ()), (ExperimentalLoss, (Idea(0.0),))):
        loss_func = made(loss_class, *first, base=base)
        embeddings, labels = batch()
        for _ in range(2):
            loss = loss_func(embeddings, labels)
        loss.backward()
        gradients = [parameter.grad for parameter in loss_func.parameters()]
        found.append((loss.detach(), embeddings.grad, gradients, loss_func.loss_level1))
        assert loss_func.step == 2
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.filterwarnings("ignore:a HierarchicalProxyLoss was trained for 1 of the")
@pytest.mark.parametrize("name", IDEAS)
def test_before_the_end_of_the_warmup_it_is_the_base_loss(name):
    loss_func = with_idea(name, 1.0, warmup=1)
    embeddings, labels = batch()
    value = loss_func(embeddings, labels)
    torch.testing.assert_close(value, loss_func.level_loss(0)(embeddings, labels))


def test_relative_to_gradient_gives_every_level_its_share():
    loss_func = with_idea("relative_to_gradient", 0.3, base="proxy_anchor")
    embeddings, labels = batch()
    total = loss_func(embeddings, labels)
    table = loss_func.class_labels[labels]
    parts = [loss_func.level_loss(level)(embeddings, table[:, level]) for level in range(3)]
    norms = [torch.autograd.grad(part, embeddings, retain_graph=True)[0].norm() for part in parts]
    expected = parts[0] + sum(0.3 * norms[0] / norms[level] * parts[level] for level in (1, 2))
    torch.testing.assert_close(total, expected)


def test_relative_to_loss_averages_over_the_steps():
    loss_func = with_idea("relative_to_loss", 2.0, hierarchy=None, num_superclasses=4)
    sizes = []
    for seed in range(3):
        embeddings, labels = batch(seed)
        total = loss_func(embeddings, labels)
        sizes.append((loss_func.loss_level0, loss_func.loss_level1))
    mean = torch.tensor(sizes[0])
    for later in sizes[1:]:
        mean = 0.99 * mean + 0.01 * torch.tensor(later)
    expected = sizes[2][0] + 2.0 * mean[0] / mean[1] * sizes[2][1]
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    loss_func.eval()  # no step, and no change to the means
    before = loss_func.idea.sizes.clone()
    with torch.no_grad():
        loss_func(*batch(9))
    assert torch.equal(loss_func.idea.sizes, before)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("name", "of_siblings"), [("repel_siblings_more", True),
                                                   ("repel_others_more", False)])  # fmt: skip
def test_tree_margin_against_its_formula(base, name, of_siblings):
    loss_func = with_idea(name, 0.2, base=base)
    embeddings, labels = batch()
    loss_func(embeddings, labels)
    value = loss_func.loss_level0
    proxies = loss_func.layout.rows(loss_func.proxies_in_use(1)[0]).detach()
    cosines = unit(embeddings.detach()) @ unit(proxies).T
    for row, label in enumerate(labels.tolist()):
        for other in range(CLASSES):
            is_sibling = other // 3 == label // 3 and other != label
            is_chosen = is_sibling if of_siblings else other // 3 != label // 3
            cosines[row, other] += 0.2 * is_chosen
    positive = torch.nn.functional.one_hot(labels, CLASSES).bool()
    if base == "proxy_anchor":
        pos = torch.exp(-16 * (cosines - 0.2)).where(positive, 0).sum(0)
        neg = torch.exp(16 * (cosines + 0.2)).where(~positive, 0).sum(0)
        expected = torch.log1p(pos).sum() / positive.any(0).sum() + torch.log1p(neg).mean()
    else:
        scale = 16.0 if base == "proxy_nca" else 10.0  # 8 x (2 - 2 cos), 1 / 0.1
        expected = -torch.log_softmax(scale * cosines, 1)[positive].mean()
    torch.testing.assert_close(value, expected)
    assert not loss_func.level_loss(0).distance._forward_hooks


def test_only_stable_superclasses_count():
    loss_func = with_idea("only_stable", 0.6, hierarchy=None, num_superclasses=3)
    embeddings, labels = batch()
    loss_func(embeddings, labels)
    assert loss_func.idea.stable.all()
    before = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    after = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
    for number, expected in enumerate((4 / 5, 2 / 4, 4 / 5)):
        old, new = ({*np.flatnonzero(one == number)} for one in (before, after))
        assert len(old & new) / len(old | new) == expected
    fine = torch.arange(CLASSES)
    loss_func.idea.after_update(torch.stack([fine, before], 1), torch.stack([fine, after], 1))
    assert loss_func.idea.stable[:, 1].tolist() == (after != 1).tolist()
    table = torch.stack([fine, after], 1)
    counted = after[labels] != 1
    coarse = loss_func.level_loss(1)
    torch.testing.assert_close(
        loss_func.idea.coarse_loss(coarse, embeddings, labels, table, 1),
        coarse(embeddings[counted], after[labels][counted]),
    )
    loss_func.idea.stable[:] = False
    nothing = loss_func.idea.coarse_loss(coarse, embeddings, labels, table, 1)
    assert nothing.item() == 0
    assert nothing.requires_grad


def test_pulled_back_goes_a_share_of_the_way_to_the_mean():
    loss_func = with_idea("pulled_back", 0.25)
    embeddings, labels = batch()
    loss_func(embeddings, labels)
    start = loss_func.level_loss(1).proxies.detach().clone()
    with torch.no_grad():
        loss_func.level_loss(0).proxies.add_(torch.randn(CLASSES, SIZE))
    loss_func(embeddings, labels)
    fine = unit(loss_func.level_loss(0).proxies.detach())
    means = fine.reshape(4, 3, SIZE).mean(1)
    moved = loss_func.level_loss(1).proxies.detach()
    torch.testing.assert_close(moved, start + 0.25 * (means - start))


def test_projection_starts_as_the_identity_and_has_the_rate_of_the_network():
    loss_func = with_idea("projected", 1.0)
    embeddings, labels = batch()
    plain = made(HierarchicalProxyLoss)
    torch.testing.assert_close(loss_func(embeddings, labels), plain(embeddings, labels))
    spec = IdeaSpec.of(find_loss("hpl:proxy_nca"), "projected", 1.0, 0.007)
    groups = spec.parameter_groups(loss_func)
    assert [group["lr"] for group in groups] == [spec.proxy_learning_rate, 0.007]
    assert [[tuple(one.shape) for one in group["params"]] for group in groups] == [
        [(CLASSES, SIZE), (4, SIZE), (2, SIZE)],
        [(SIZE, SIZE)],
    ]
    with pytest.raises(ValueError, match="only 1 is possible"):
        with_idea("projected", 2.0)


def test_an_idea_is_part_of_the_settings_and_of_the_state():
    spec = IdeaSpec.of(find_loss("hpl_given:proxy_nca"), "relative_to_loss", 0.3, 0.1)
    assert spec.settings() == {
        **find_loss("hpl_given:proxy_nca").settings(),
        "idea": "relative_to_loss",
        "amount": 0.3,
    }
    built = spec.build(CLASSES, SIZE, TREE, seed=0)
    assert isinstance(built, ExperimentalLoss)
    assert "idea.sizes" in built.state_dict()


@pytest.mark.parametrize(
    ("kind", "weights"), [(RISING, [0, 0, 0.2, 0.4, 0.4]), (FALLING, [0.4, 0.4, 0.2, 0, 0])]
)
def test_course(kind, weights):
    course = Course(kind, 0.4, start=10, end=30)
    assert [course(step) for step in (0, 10, 20, 30, 40)] == pytest.approx(weights)


def test_coarse_proxies_have_their_own_rate():
    spec = find_loss("hpl:proxy_nca").with_settings({"coarse_rate": 0.1})
    assert spec.settings()["coarse_rate"] == 0.1
    spec = spec.with_settings({"coarse_proxies": "learned"})
    loss_func = spec.build(CLASSES, SIZE, TREE, seed=0)
    fine, coarse = spec.parameter_groups(loss_func)
    assert coarse["lr"] == pytest.approx(0.1 * fine["lr"])
    assert [one.shape[0] for one in (*fine["params"], *coarse["params"])] == [12, 3]
