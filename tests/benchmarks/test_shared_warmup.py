"""Runs that continue the warm-up of their flat loss, beside runs from the start."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from small_data import small_request

from benchmarks.ablation.ideas.spec import IdeaSpec
from benchmarks.ablation.runs import lay_out, plan_ablation
from benchmarks.settings import SETTINGS
from benchmarks.training import shared_warmup, train_and_validate
from benchmarks.training.checkpoints import read_checkpoint
from benchmarks.training.shared_warmup import FILE, shared_epochs, train_after_warmup

pytestmark = pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")

CPU = torch.device("cpu")
EPOCHS, SHARED = 4, 2


class Progress:
    """Counts iterations."""

    def __init__(self):
        self.iterations = 0

    def describe(self, run, stage):
        """Nothing to show."""

    def advance(self, iterations=1):
        self.iterations += iterations


@pytest.fixture
def configs(small_dataset, tmp_path, monkeypatch):
    """By the name of the loss: flat, a learned HPL, and one with fixed proxies."""
    usual = {prefix: {"recluster_every": 2} for prefix in ("hpl", "hpl_given")}
    settings = replace(SETTINGS["small"], losses=usual, warmup=0.5)
    monkeypatch.setitem(SETTINGS, "small", settings)
    what = ["hpl", "hpl:coarse_proxies=fixed", "hpl:coarse_rate=0.1", "hpl:warmup=0.1"]
    planned = plan_ablation(small_request(tmp_path / "runs", ["proxy_nca"], epochs=EPOCHS), what)
    return {config.loss.name: config for config in lay_out(planned, small_dataset)}


def both(config, data, tmp_path):
    progress = Progress()
    shared = train_after_warmup(config, data, tmp_path / "shared", CPU, progress)
    assert progress.iterations == config.settings.iterations
    return shared, train_and_validate(config, data, tmp_path / "alone", CPU, Progress())


def test_the_flat_loss_has_the_numbers_of_one_training(configs, small_dataset, tmp_path):
    shared, alone = both(configs["proxy_nca"], small_dataset, tmp_path)
    assert shared["validation"] == alone["validation"]
    assert shared["validation"]["epoch"] == [1, 2, 3, 4]
    assert (shared["best_epoch"], shared["config"]) == (alone["best_epoch"], alone["config"])
    assert len(shared["epoch_seconds"]) == EPOCHS


@pytest.mark.parametrize("change", ["", ":coarse_proxies=fixed", ":coarse_rate=0.1"])
def test_hierarchical_losses_have_the_numbers_of_one_training(
    configs, small_dataset, tmp_path, change
):
    shared, alone = both(configs[f"hpl:proxy_nca{change}"], small_dataset, tmp_path)
    key = "mean_average_precision_at_r_level0"
    # the fine level is computed by another engine, which rounds differently
    assert shared["validation"][key] == pytest.approx(alone["validation"][key], abs=0.02)
    assert shared["sizes"] == alone["sizes"]
    assert shared["update_seconds"] is not None


def test_the_state_after_the_warmup_is_that_of_one_training(configs, small_dataset, tmp_path):
    config = configs["hpl:proxy_nca"]
    found = []
    for number, start in enumerate((None, "shared")):
        if start:
            start = shared_warmup.warmup_of(
                config, SHARED, small_dataset, tmp_path, CPU, Progress()
            )
        session = shared_warmup.Session(
            config, small_dataset, tmp_path / str(number), CPU, Progress(),
            stop=lambda history: len(history) == 3, start=start,
        )  # fmt: skip
        session.train()
        optimizers = session.trainer.optimizers
        rates = [group["lr"] for one in optimizers.values() for group in one.param_groups]
        steps = [int(state["step"]) for one in optimizers.values() for state in one.state.values()]
        parameters = torch.cat([p.detach().flatten() for p in session.loss.parameters()])
        now = session.loss.superclasses.read()
        found.append((rates, steps, (now.step, now.num_updates, now.last_update)))
        found.append(parameters)
        session.close()
    assert found[0][1:] == found[2][1:]
    assert found[0][0] == pytest.approx(found[2][0])
    torch.testing.assert_close(found[1], found[3], rtol=0.02, atol=0.02)


def test_the_warmup_is_trained_once(configs, small_dataset, tmp_path, monkeypatch):
    for name in ("proxy_nca", "hpl:proxy_nca"):
        train_after_warmup(configs[name], small_dataset, tmp_path, CPU, Progress())
    folder = tmp_path / "small" / "proxy_nca-warmup" / "seed0_fold0"
    kept = read_checkpoint(folder / FILE)
    assert (kept["epoch"], kept["config"]["loss"]) == (SHARED, "proxy_nca")
    assert not (folder / "result.json").exists()
    monkeypatch.setattr(shared_warmup, "Session", None)
    again = shared_warmup.warmup_of(
        configs["hpl:proxy_nca:coarse_proxies=fixed"], SHARED, small_dataset, tmp_path, CPU,
        Progress(),
    )  # fmt: skip
    assert again["epoch_seconds"] == kept["epoch_seconds"]


def test_a_damaged_warmup_is_trained_again(configs, small_dataset, tmp_path):
    arguments = configs["hpl:proxy_nca"], SHARED, small_dataset, tmp_path, CPU
    first = shared_warmup.warmup_of(*arguments, Progress())
    file = tmp_path / "small" / "proxy_nca-warmup" / "seed0_fold0" / FILE
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=r"cannot be read.*; this warm-up is trained again"):
        again = shared_warmup.warmup_of(*arguments, Progress())
    assert again["validation"] == first["validation"]


def test_an_interrupted_run_goes_on(configs, small_dataset, tmp_path, monkeypatch):
    config = configs["hpl:proxy_nca"]
    expected = train_after_warmup(config, small_dataset, tmp_path / "whole", CPU, Progress())
    write = shared_warmup.Session._end_of_epoch

    def interrupted(session, trainer):
        goes_on = write(session, trainer)
        if trainer.epoch == 3:
            raise KeyboardInterrupt
        return goes_on

    monkeypatch.setattr(shared_warmup.Session, "_end_of_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_after_warmup(config, small_dataset, tmp_path / "parts", CPU, Progress())
    monkeypatch.undo()
    found = train_after_warmup(config, small_dataset, tmp_path / "parts", CPU, Progress())
    assert found["validation"] == expected["validation"]


def test_a_shorter_warmup_shares_nothing(configs):
    shared = {name: shared_epochs(config) for name, config in configs.items()}
    assert shared == {
        "proxy_nca": SHARED,
        "hpl:proxy_nca": SHARED,
        "hpl:proxy_nca:coarse_proxies=fixed": SHARED,
        "hpl:proxy_nca:coarse_rate=0.1": SHARED,
        "hpl:proxy_nca:warmup=0.1": 0,
    }


def test_flat_loss_of_a_hierarchical_one(configs):
    flat = configs["proxy_nca"].loss
    idea = IdeaSpec.of(configs["hpl:proxy_nca"].loss, "only_stable", 0.5, 0.1)
    for spec in (*(config.loss for config in configs.values()), idea):
        assert spec.flat() == flat
        assert type(spec.flat()) is type(flat)


def test_jobs_train_a_warmup_once(configs, small_dataset, tmp_path, monkeypatch):
    """A job that needs a warm-up while another one trains it waits, and takes what it finds."""
    trained, inside = [], []
    train_warmup = shared_warmup._train_warmup

    def slowly(*args):
        assert not inside, "two jobs train the same warm-up in one folder"
        inside.append(1)
        time.sleep(0.3)
        train_warmup(*args)
        trained.append(inside.pop())

    monkeypatch.setattr(shared_warmup, "_train_warmup", slowly)
    names = ("proxy_nca", "hpl:proxy_nca", "hpl:proxy_nca:coarse_proxies=fixed")
    args = (small_dataset, tmp_path, CPU)
    with ThreadPoolExecutor(len(names)) as pool:
        jobs = [
            pool.submit(shared_warmup.warmup_of, configs[name], SHARED, *args, Progress())
            for name in names
        ]
        found = [job.result() for job in jobs]
    assert len(trained) == 1
    assert [one["epoch"] for one in found] == [SHARED] * len(names)
