import pytest
import torch
from pytorch_metric_learning import losses as pml_losses

from benchmarks.losses import find_loss
from benchmarks.losses.pml_fixes import DynamicSoftMarginLoss, SmoothAPLoss


def make_batch(num_classes=4, per_class=4, size=16):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(num_classes).repeat_interleave(per_class)
    centres = torch.randn(num_classes, size, generator=generator)
    return centres[labels] + torch.randn(len(labels), size, generator=generator), labels


def test_smooth_ap_is_that_of_pml_where_pml_is_right():
    batch = make_batch(4, 4)
    ours, theirs = SmoothAPLoss(0.1), pml_losses.SmoothAPLoss(0.1)
    assert ours(*batch).item() == pytest.approx(theirs(*batch).item(), abs=1e-6)
    batch = make_batch(8, 4)  # not as many classes as samples of each
    assert abs(ours(*batch) - theirs(*batch)) > 0.01


def test_smooth_ap_is_one_minus_average_precision():
    embeddings, labels = make_batch(6, 3)
    unit = torch.nn.functional.normalize(embeddings)
    similarities = unit @ unit.t()
    expected = []
    for row, label in zip(similarities, labels, strict=True):
        hits = (labels[row.argsort(descending=True)] == label).float()
        ranks = torch.arange(1, len(hits) + 1)
        expected.append((hits * hits.cumsum(0) / ranks).sum() / hits.sum())
    found = SmoothAPLoss(temperature=1e-5)(embeddings, labels)
    assert found.item() == pytest.approx(1 - torch.stack(expected).mean().item(), abs=1e-5)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    smooth = SmoothAPLoss(0.1)
    shuffled = smooth(embeddings[order], labels[order])
    assert shuffled.item() == pytest.approx(smooth(embeddings, labels).item(), abs=1e-6)


def test_dynamic_soft_margin_is_that_of_pml_and_goes_on():
    batch = make_batch()
    ours, theirs = DynamicSoftMarginLoss(), pml_losses.DynamicSoftMarginLoss()
    for _ in range(3):
        assert ours(*batch).item() == pytest.approx(theirs(*batch).item(), abs=1e-6)
    assert torch.allclose(ours.hist_[:10], theirs.hist_)
    assert set(ours.state_dict()) >= {"hist_"}
    # the positive as far, the negatives as near as can be: PML has no bin for that
    embeddings = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    labels = torch.tensor([0, 0, 1])
    assert DynamicSoftMarginLoss()(embeddings, labels).isfinite()
    with pytest.raises((RuntimeError, IndexError)):
        pml_losses.DynamicSoftMarginLoss()(embeddings, labels)


def test_intra_pair_variance_is_added_to_the_tuplet_margin():
    batch = make_batch()
    found = find_loss("intra_pair_variance").with_settings({"weight": 0.25})
    tuplet = pml_losses.TupletMarginLoss()(*batch)
    variance = pml_losses.IntraPairVarianceLoss()(*batch)
    assert found.build(4, 16, None, 0)(*batch) == pytest.approx(tuplet + 0.25 * variance)


def test_memory_goes_on_where_it_was_saved():
    spec = find_loss("contrastive_xbm").with_settings({"memory_size": 40})
    embeddings, labels = make_batch()
    stopped, resumed = (spec.build(4, 16, None, 0) for _ in range(2))
    for _ in range(3):  # 48 embeddings: the queue is full and begins anew
        stopped(embeddings, labels)
    resumed.load_state_dict(stopped.state_dict())
    assert (resumed.queue_idx, resumed.has_been_filled) == (8, True)
    assert resumed(embeddings, labels) == stopped(embeddings, labels)
    assert torch.equal(resumed.embedding_memory, stopped.embedding_memory)


def test_left_out_instance_loss_hangs_on_the_order_of_the_batch():
    embeddings, labels = make_batch()
    order = torch.arange(len(labels)).flip(0)
    loss_func = pml_losses.InstanceLoss()
    assert abs(loss_func(embeddings, labels) - loss_func(embeddings[order], labels[order])) > 0.1


@pytest.mark.parametrize("loss_func", [pml_losses.ManifoldLoss(16), pml_losses.VICRegLoss()])
def test_left_out_losses_that_take_no_labels(loss_func):
    with pytest.raises(ValueError, match="not supported"):
        loss_func(*make_batch())
