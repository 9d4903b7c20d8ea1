"""Trainers and hubs that save a module of trunk and loss, and go on from there."""

from __future__ import annotations

import warnings

import pytest
import torch
from small_models import (
    BATCH,
    EVERY,
    SOME,
    WARMUP,
    Net,
    assert_same,
    assert_trains_alike,
    batches,
    facts,
)


@pytest.fixture(params=SOME)
def name(request):
    return request.param


EPOCH = WARMUP + EVERY + 2  # a checkpoint after two updates
SAMPLES = [
    {"x": x, "labels": label}
    for xs, labels in batches(2 * EPOCH, dim=4)
    for x, label in zip(xs, labels, strict=True)
]


def assert_same_net(one, other):
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)
    assert_same(one.loss_func, other.loss_func)


@pytest.mark.parametrize(
    ("save_at", "num_steps"), [(WARMUP - 1, WARMUP + 2), (EPOCH, EPOCH + EVERY)]
)
def test_hugging_face_trainer(name, save_at, num_steps, tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    def trainer(net, folder):
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / folder),
            per_device_train_batch_size=BATCH,
            max_steps=num_steps,
            save_steps=save_at,
            learning_rate=0.1,
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        return transformers.Trainer(model=net, args=arguments, train_dataset=SAMPLES)

    whole, resumed = Net(name), Net(name, seed=1)
    trainer(whole, "whole").train()
    checkpoint = tmp_path / "whole" / f"checkpoint-{save_at}"
    trainer(resumed, "resumed").train(resume_from_checkpoint=str(checkpoint))
    assert_same_net(resumed, whole)
    if facts(whole.loss_func) and len(whole.loss_func.sizes) > 1:
        assert whole.loss_func.step == num_steps
        assert whole.loss_func.num_updates == 1 + (num_steps - 1 - WARMUP) // EVERY


def test_accelerate(name, tmp_path):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)

    def run(net, optimizer, steps, seed):
        for x, labels in batches(steps, dim=4, seed=seed):
            optimizer.zero_grad()
            accelerator.backward(net(x, labels)["loss"])
            optimizer.step()

    def prepared(seed):
        net = Net(name, seed)
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
        return accelerator.prepare(net, optimizer)

    net, optimizer = prepared(seed=0)
    run(net, optimizer, EPOCH, seed=0)
    accelerator.save_state(str(tmp_path / "state"))
    accelerator.save_model(net, str(tmp_path / "model"))
    saved = {key: value.clone() for key, value in net.state_dict().items()}
    run(net, optimizer, EPOCH, seed=1)
    end = {key: value.clone() for key, value in net.state_dict().items()}
    for _ in range(2):  # back to where it was saved, twice
        accelerator.load_state(str(tmp_path / "state"))
        assert all(torch.equal(saved[key], value) for key, value in net.state_dict().items())
        run(net, optimizer, EPOCH, seed=1)
        assert all(torch.equal(end[key], value) for key, value in net.state_dict().items())
    accelerator.free_memory()

    with accelerate.init_empty_weights(include_buffers=True):
        empty = Net(name)
    accelerate.load_checkpoint_in_model(empty, str(tmp_path / "model"))
    other = Net(name)
    other.load_state_dict(saved)
    assert_same(empty.loss_func, other.loss_func)


def test_hub_mixin(name, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    pytest.importorskip("safetensors")

    class HubNet(Net, hub.PyTorchModelHubMixin):
        pass

    net = HubNet(name, seed=0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, labels in batches(EPOCH, dim=4):
        optimizer.zero_grad()
        net(x, labels)["loss"].backward()
        optimizer.step()
    net.save_pretrained(tmp_path)
    loaded = HubNet.from_pretrained(tmp_path)
    assert_same_net(loaded, net)
    assert_trains_alike(loaded.loss_func, net.loss_func)


def test_lightning(name, tmp_path):
    """With a validation after every epoch, which counts no steps."""
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self, seed):
            super().__init__()
            self.net = Net(name, seed)

        def training_step(self, batch, _):
            return self.net(batch["x"], batch["labels"])["loss"]

        def validation_step(self, batch, _):
            assert not torch.is_grad_enabled()
            self.net(batch["x"], batch["labels"])

        def configure_optimizers(self):
            return torch.optim.AdamW(self.net.parameters(), lr=0.1)

    def fit(module, folder, max_epochs, checkpoint=None):
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=max_epochs,
            default_root_dir=tmp_path / folder,
            callbacks=lightning.callbacks.ModelCheckpoint(
                dirpath=tmp_path / folder, filename="{epoch}", save_top_k=-1
            ),
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        loader = torch.utils.data.DataLoader(SAMPLES[: len(SAMPLES) // 2], batch_size=BATCH)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the number of workers
            trainer.fit(module, loader, loader, ckpt_path=checkpoint)
        return module

    whole = fit(Module(0), "whole", 2)
    checkpoint = str(tmp_path / "whole" / "epoch=0.ckpt")
    resumed = fit(Module(1), "resumed", 2, checkpoint)
    assert_same_net(resumed.net, whole.net)
    if facts(whole.net.loss_func) and len(whole.net.loss_func.sizes) > 1:
        assert whole.net.loss_func.step == 2 * EPOCH
