import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.transforms import InterpolationMode, functional
from torchvision.transforms import RandomAffine as TorchvisionAffine

from benchmarks.augmentation import (
    AugmentedBatches,
    RandomAffine,
    inverse_matrices,
    transformed,
)


def test_every_picture_is_transformed_as_by_torchvision():
    torch.manual_seed(0)
    pictures = 255 * torch.rand(30, 2, 24, 32)
    angle, shear = torch.empty(30).uniform_(-90, 90), torch.empty(30).uniform_(-40, 40)
    scale, shift = torch.empty(30).uniform_(0.5, 1.5), torch.randint(-6, 7, (2, 30)).float()
    found = transformed(pictures, inverse_matrices(angle, shift, scale, shear))
    for i, picture in enumerate(pictures):
        expected = functional.affine(
            picture,
            angle[i].item(),
            shift[:, i].int().tolist(),
            scale[i].item(),
            [shear[i].item(), 0.0],
            InterpolationMode.BILINEAR,
        )
        torch.testing.assert_close(found[i], expected, atol=0.01, rtol=0)


def test_parameters_have_the_distribution_of_torchvision(monkeypatch):
    """Mean and deviation of each over many pictures; torchvision draws its own one by one."""
    drawn = {}

    def keep(angle, shift, scale, shear):
        drawn["ours"] = torch.stack([angle, *shift, scale, shear])
        return inverse_matrices(angle, shift, scale, shear)

    monkeypatch.setattr("benchmarks.augmentation.inverse_matrices", keep)
    torch.manual_seed(0)
    RandomAffine(20, 0.3, 10, 0.2)(torch.zeros(20_000, 1, 20, 40))
    theirs = TorchvisionAffine(20, translate=(0.2, 0.2), scale=(0.7, 1.3), shear=10)
    rows = []
    for _ in range(5_000):
        angle, shift, scale, shear = theirs.get_params(
            theirs.degrees, theirs.translate, theirs.scale, theirs.shear, [40, 20]
        )
        assert shear[1] == 0
        rows.append([angle, *shift, scale, shear[0]])
    expected = torch.tensor(rows).T
    spread = expected.std(dim=1)
    assert ((drawn["ours"].mean(1) - expected.mean(1)).abs() < 0.06 * spread).all()
    assert (drawn["ours"].std(dim=1) / spread - 1).abs().max() < 0.03
    assert torch.equal(drawn["ours"].amax(1)[1:3], torch.tensor([8.0, 4.0]))  # whole pixels


def test_no_strength_leaves_the_picture_and_none_mirrors_it():
    pictures = torch.randint(256, (4, 1, 32, 32), dtype=torch.uint8)
    found = RandomAffine(0, 0, 0, 0)(pictures)
    torch.testing.assert_close(found, pictures.float(), atol=0.01, rtol=0)
    strong = RandomAffine(20, 0.2, 10, 0.2)
    torch.manual_seed(0)
    angles = torch.empty(1000).uniform_(-20, 20)
    matrices = inverse_matrices(
        angles, torch.zeros(2, 1000), torch.empty(1000).uniform_(0.8, 1.2), angles / 2
    )
    assert (torch.linalg.det(matrices[:, :, :2]) > 0).all()  # a mirror has a negative one
    assert strong(pictures).shape == pictures.shape


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_for_the_same_seed(workers):
    items = [(torch.full((1, 8, 8), i, dtype=torch.uint8), torch.tensor(i)) for i in range(12)]

    together = AugmentedBatches(RandomAffine(20, 0.2, 10, 0.2))

    def batches():
        torch.manual_seed(3)
        return list(DataLoader(items, 4, collate_fn=together, num_workers=workers))

    first, second = batches(), batches()
    for (pictures, labels), (again, _) in zip(first, second, strict=True):
        assert torch.equal(pictures, again)
        assert pictures.dtype == torch.float32
        assert torch.equal(pictures.amax((1, 2, 3)).round().int(), labels.int())
    assert not np.array_equal(first[1][0][0] / 4, first[2][0][0] / 8)
