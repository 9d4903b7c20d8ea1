"""On a GPU: the numbers of the CPU, and no step that waits for it. Skipped where there is none."""

import copy

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as pml
from pytorch_metric_learning.samplers import MPerClassSampler
from pytorch_metric_learning.trainers import MetricLossOnly

from pml_hierarchical import Hierarchy
from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator
from pml_hierarchical.core import hierarchical_proxy_loss as core
from pml_hierarchical.hooks import ReclusterHook
from pml_hierarchical.kernels import small
from pml_hierarchical.losses import FastPath, HierarchicalProxyLoss
from pml_hierarchical.testers import HierarchicalTester

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

CLASSES, SIZE, BATCH = 60, 16, 48
FAST = [
    pml.ProxyAnchorLoss,
    pml.ProxyNCALoss,
    pml.NormalizedSoftmaxLoss,
    pml.CosFaceLoss,
    pml.ArcFaceLoss,
]
OTHERS = [pml.SoftTripleLoss, pml.SubCenterArcFaceLoss]
TREE = Hierarchy([[c, c // 5, c // 20] for c in range(CLASSES)])
COARSE = Hierarchy([[c, c // 20] for c in range(CLASSES)])
LEVELS = {
    "given": {"hierarchy": TREE},
    "discovered": {"num_superclasses": (12, 3)},
    "mixed": {"hierarchy": COARSE, "num_superclasses": 9},
}


@pytest.fixture
def no_waiting():
    """Makes every wait for the GPU an error, from the call of what it returns on."""
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


def make_loss(base_loss, loss_class=HierarchicalProxyLoss, **kwargs):
    torch.manual_seed(0)
    kwargs = {"warmup": 2, "recluster_every": 2, **kwargs}
    return loss_class(CLASSES, SIZE, base_loss, **kwargs)


def train(loss_func, device, num_steps=7, dtype=torch.float64):
    """The losses of some steps, on batches that do not depend on the device."""
    loss_func = loss_func.to(device, dtype)
    optimizer = torch.optim.SGD(loss_func.parameters(), lr=0.5)
    generator = torch.Generator().manual_seed(1)
    values = []
    for _ in range(num_steps):
        embeddings = torch.randn(BATCH, SIZE, generator=generator, dtype=dtype)
        labels = torch.randint(CLASSES, (BATCH,), generator=generator)
        optimizer.zero_grad()
        loss = loss_func(embeddings.to(device), labels.to(device))
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    return values


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("base_loss", [*FAST, *OTHERS])
@pytest.mark.parametrize("coarse_proxies", ["learned", "fixed", "live"])
def test_a_training_gives_the_numbers_of_the_cpu(base_loss, levels, coarse_proxies):
    settings = {"coarse_proxies": coarse_proxies, **LEVELS[levels]}
    here, there = (make_loss(base_loss, **settings) for _ in range(2))
    expected = train(here, "cpu")
    assert train(there, "cuda") == pytest.approx(expected, rel=1e-9)
    assert there.is_active
    assert there.superclasses.read().num_updates >= 2
    assert torch.equal(there.class_labels.cpu(), here.class_labels)
    for ours, theirs in zip(there.parameters(), here.parameters(), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("base_loss", FAST)
def test_the_core_gives_the_numbers_of_the_cpu(base_loss):
    losses = [make_loss(base_loss, core.HierarchicalProxyLoss, **LEVELS["given"]) for _ in range(2)]
    assert train(losses[1], "cuda") == pytest.approx(train(losses[0], "cpu"), rel=1e-9)


@pytest.mark.parametrize("loss_class", [HierarchicalProxyLoss, core.HierarchicalProxyLoss])
@pytest.mark.parametrize("base_loss", [pml.ProxyAnchorLoss, pml.CosFaceLoss])
def test_a_loss_on_the_cpu_follows_the_embeddings(base_loss, loss_class):
    """As PML's proxy losses do, and the optimizer goes on."""
    found = []
    for is_moved in (True, False):
        loss_func = make_loss(base_loss, loss_class, **LEVELS["given"])
        optimizer = torch.optim.SGD(loss_func.parameters(), lr=0.1)
        for _ in range(5):
            embeddings, labels = torch.eye(BATCH, SIZE), torch.arange(BATCH)
            value = loss_func(embeddings.cuda() if is_moved else embeddings, labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        found.append([value, *loss_func.parameters()])
        assert {one.is_cuda for one in loss_func.state_dict().values()} == {is_moved}
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("base_loss", FAST)
def test_single_precision_is_that_of_pml(base_loss):
    values = [
        train(make_loss(base_loss, engine=engine, **LEVELS["given"]), "cuda", dtype=torch.float32)
        for engine in (None, "pml")
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-4)


@pytest.mark.parametrize("base_loss", FAST)
def test_blocks_of_classes_give_the_numbers_of_the_cpu(base_loss, monkeypatch):
    monkeypatch.setattr(small, "_LARGEST_ON_GPU", 0)  # what many more classes than these take
    losses = [make_loss(base_loss, **LEVELS["given"]) for _ in range(2)]
    assert train(losses[1], "cuda") == pytest.approx(train(losses[0], "cpu"), rel=1e-9)


@pytest.mark.parametrize("largest_matrix", [0, 2**25])
@pytest.mark.parametrize("coarse_proxies", ["learned", "fixed"])
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("base_loss", FAST)
def test_a_training_step_never_waits(
    base_loss, levels, coarse_proxies, largest_matrix, no_waiting, monkeypatch
):
    monkeypatch.setattr(small, "_LARGEST_ON_GPU", largest_matrix)
    step = make_step(
        base_loss, recluster_every=1000, coarse_proxies=coarse_proxies, **LEVELS[levels]
    )
    for _ in range(15):  # the warm-up, the first update, and the calls that are checked
        step()
    no_waiting()
    for _ in range(3):
        step()


@pytest.mark.parametrize(
    "engine", [FastPath(save_memory=True), FastPath(class_share=0.5)], ids=["saving", "share"]
)
@pytest.mark.parametrize("base_loss", FAST)
def test_no_engine_waits(base_loss, engine, no_waiting):
    step = make_step(base_loss, recluster_every=1000, engine=engine, **LEVELS["given"])
    for _ in range(15):
        step()
    no_waiting()
    for _ in range(3):
        step()


def test_the_check_finds_a_step_that_waits(no_waiting):
    value = torch.ones(2, device="cuda")
    no_waiting()
    with pytest.raises(RuntimeError, match="synchronizing"):
        value.sum().item()


def make_step(base_loss, optimizer_class=torch.optim.AdamW, **kwargs):
    """A function that does a whole training step of a small network, with ``.step()`` and all."""
    loss_func = make_loss(base_loss, **kwargs).cuda()
    network = torch.nn.Linear(24, SIZE).cuda()
    optimizer = optimizer_class([*network.parameters(), *loss_func.parameters()], lr=1e-2)
    inputs = torch.randn(BATCH, 24, device="cuda")
    labels = torch.randint(CLASSES, (BATCH,), device="cuda")

    def step():
        optimizer.zero_grad()
        loss = loss_func(network(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("base_loss", [*FAST, *OTHERS])
def test_mixed_precision(base_loss, dtype):
    loss_func = make_loss(base_loss, **LEVELS["discovered"]).cuda()
    network = torch.nn.Linear(24, SIZE).cuda()
    optimizer = torch.optim.AdamW([*network.parameters(), *loss_func.parameters()], lr=1e-2)
    scaler = torch.amp.GradScaler("cuda", enabled=dtype == torch.float16)
    labels = torch.arange(CLASSES, device="cuda")
    inputs = torch.randn(CLASSES, 24, device="cuda")
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype):
            loss = loss_func(network(inputs), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        values.append(loss.item())
    assert loss_func.is_active
    assert np.isfinite(values).all()
    assert values[-1] < values[4], "the loss must fall after the warm-up"


def test_bad_labels_are_reported_in_the_first_calls():
    loss_func = make_loss(pml.ProxyAnchorLoss, **LEVELS["given"]).cuda()
    embeddings = torch.randn(4, SIZE, device="cuda")
    with pytest.raises(ValueError, match=f"{CLASSES}"):
        loss_func(embeddings, torch.tensor([0, 1, 2, CLASSES], device="cuda"))
    embeddings[0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        loss_func(embeddings, torch.tensor([0, 1, 2, 3], device="cuda"))


def test_a_checkpoint_goes_from_gpu_to_cpu_and_back(tmp_path):
    trained = make_loss(pml.ProxyNCALoss, **LEVELS["discovered"])
    train(trained, "cuda", dtype=torch.float32)
    torch.save(trained.state_dict(), tmp_path / "loss.pt")
    loaded = make_loss(pml.ProxyNCALoss, **LEVELS["discovered"])
    loaded.load_state_dict(torch.load(tmp_path / "loss.pt", map_location="cpu", weights_only=True))
    again = copy.deepcopy(loaded).cuda()
    assert loaded.is_active
    assert again.is_active
    assert torch.equal(again.class_labels, trained.class_labels)
    assert loaded.step == again.step == trained.step
    embeddings = torch.randn(5, SIZE, device="cuda")
    labels = torch.arange(5, device="cuda")
    for loss_func in (trained, again):
        loss_func.eval()
    assert again(embeddings, labels) == trained(embeddings, labels)


@pytest.mark.parametrize("with_distance", [False, True])
def test_accuracies_are_those_of_the_cpu(with_distance):
    random = np.random.default_rng(0)
    labels = TREE.class_labels[random.integers(CLASSES, size=700)]
    embeddings = random.standard_normal((700, 8)).astype(np.float64)
    embeddings += random.standard_normal((CLASSES, 8))[labels[:, 0]]
    distance = None
    if with_distance:
        from pytorch_metric_learning.distances import CosineSimilarity

        distance = CosineSimilarity()
    found = [
        HierarchicalAccuracyCalculator(device=torch.device(device), distance=distance).get_accuracy(
            torch.from_numpy(embeddings), torch.as_tensor(labels)
        )
        for device in ("cpu", "cuda")
    ]
    clustered = [name for name in found[0] if name.startswith(("AMI", "NMI"))]  # start at random
    for accuracies in found:
        for name in clustered:
            del accuracies[name]
    assert len(found[0]) > 20
    assert found[1] == pytest.approx(found[0], rel=1e-9, nan_ok=True)


def test_trainer_hook_and_tester():
    torch.manual_seed(0)
    labels = np.repeat(np.arange(CLASSES), 6)
    centres = torch.randn(CLASSES, 24)
    pictures = centres[labels] + 0.5 * torch.randn(len(labels), 24)
    dataset = torch.utils.data.TensorDataset(pictures, torch.tensor(TREE.class_labels)[labels])
    loss_func = make_loss(pml.ProxyAnchorLoss, num_superclasses=12, recluster_every=None).cuda()
    models = {"trunk": torch.nn.Linear(24, SIZE).cuda(), "embedder": torch.nn.Identity()}
    optimizers = {
        "trunk_optimizer": torch.optim.AdamW(models["trunk"].parameters(), lr=1e-2),
        "metric_loss_optimizer": torch.optim.AdamW(loss_func.parameters(), lr=1e-2),
    }
    trainer = MetricLossOnly(
        models=models,
        optimizers=optimizers,
        batch_size=32,
        loss_funcs={"metric_loss": loss_func},
        dataset=torch.utils.data.TensorDataset(pictures, torch.as_tensor(labels)),
        iterations_per_epoch=20,
        data_device=torch.device("cuda"),
        sampler=MPerClassSampler(labels, 4, 32, 640),
        dataloader_num_workers=0,
        end_of_iteration_hook=ReclusterHook(every=5),
    )
    trainer.train(num_epochs=2)
    assert loss_func.is_active
    assert loss_func.superclasses.read().num_updates >= 5
    tester = HierarchicalTester(
        data_device=torch.device("cuda"), dataloader_num_workers=0, label_hierarchy_level="all"
    )
    found = tester.test({"val": dataset}, 1, models["trunk"], models["embedder"])["val"]
    assert found["precision_at_1_level0"] > 0.5
    assert found["precision_at_1_level2"] >= found["precision_at_1_level0"]
