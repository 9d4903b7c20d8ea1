import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from small_data import small_request

from benchmarks import suite, training, validation_runs
from benchmarks.ablation.differences import against_flat, against_reference, collect_validation
from benchmarks.ablation.runs import AblationOutcome, lay_out, plan_ablation, run_ablation
from benchmarks.ablation.table import as_plain, write_tables
from benchmarks.ablation.variants import CHANGES, REFERENCES, WHAT, Variant, chosen_variants
from benchmarks.command_line import main
from benchmarks.datasets import DATASETS
from benchmarks.losses import hierarchical_bases
from benchmarks.settings import SETTINGS
from pml_hierarchical import Hierarchy
from pml_hierarchical.clustering import Agglomerative, KMeans, KMeansStep

pytestmark = pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")

TREE = Hierarchy.from_labels(np.stack([np.arange(30), np.arange(30) // 5], axis=1))
OVERRIDES = {
    "hpl": {"num_superclasses": 9, "level_weights": 0.2, "warmup": 7},
    "hpl_given": {"level_weights": 0.4, "warmup": 7},
}
MAP = "mean_average_precision_at_r_level"


@pytest.fixture
def make_ablation(small_dataset, tmp_path, monkeypatch):
    losses = {prefix: {"recluster_every": 2} for prefix in REFERENCES}
    monkeypatch.setitem(SETTINGS, "small", replace(SETTINGS["small"], losses=losses))

    def make(**changes):
        what = changes.pop("what", WHAT)
        losses = changes.pop("bases", ["proxy_anchor"])
        return plan_ablation(small_request(tmp_path / "runs", losses, **changes), what)

    return make


@pytest.mark.parametrize("variant", CHANGES)
@pytest.mark.parametrize("base", ["proxy_anchor", "soft_triple"])
def test_variant_differs_from_its_reference_in_one_argument(variant, base):
    spec = variant.spec(base, OVERRIDES, 30)
    reference = variant.reference.spec(base, OVERRIDES, 30)
    assert (spec.arguments, spec.base, spec.hierarchy) == (
        reference.arguments,
        base,
        reference.hierarchy,
    )
    changed = {
        key
        for key in spec.hpl_arguments | reference.hpl_arguments
        if spec.hpl_arguments[key] != reference.hpl_arguments[key]
    }
    assert changed == {variant.argument}
    assert spec.settings()[variant.argument] == spec.hpl_arguments[variant.argument]


@pytest.mark.parametrize(
    ("variant", "attributes"),
    [
        (Variant("hpl"), {"sizes": (30, 9), "clusterer": KMeans(), "coarse_proxies": "learned"}),
        (Variant("hpl_given"), {"sizes": (30, 6), "coarse_proxies": "learned"}),
        (CHANGES[0], {"sizes": (30, 9), "coarse_proxies": "fixed"}),
        (CHANGES[3], {"sizes": (30, 6), "coarse_proxies": "live"}),
        (Variant("hpl", "clusterer", "kmeans_step"), {"clusterer": KMeansStep()}),
        (Variant("hpl", "clusterer", "agglomerative"), {"clusterer": Agglomerative()}),
        (Variant("hpl", "num_superclasses", "half"), {"sizes": (30, 5)}),
        (Variant("hpl", "num_superclasses", "twice"), {"sizes": (30, 18)}),
    ],
)
def test_built_losses(variant, attributes):
    loss_func = variant.spec("proxy_nca", OVERRIDES, 30).build(30, 8, TREE, seed=0)
    for name, value in attributes.items():
        assert getattr(loss_func, name) == value
    assert loss_func.is_given[1] == (variant.prefix == "hpl_given")
    assert loss_func.level_weights == (1.0, 0.2 if variant.prefix == "hpl" else 0.4)
    assert loss_func.warmup == 7


def test_twice_the_rule_stays_below_the_number_of_classes():
    twice = Variant("hpl", "num_superclasses", "twice")
    assert twice.spec("arcface", {}, 4).hpl_arguments["num_superclasses"] == 3
    with pytest.raises(ValueError, match=r"3 training .* are 2 superclasses.*no twice of that"):
        twice.spec("arcface", {}, 3)
    with pytest.raises(ValueError, match="no half of that"):
        Variant("hpl", "num_superclasses", "half").spec("arcface", {}, 4)


def test_only_the_references_that_are_needed():
    assert [v.label for v in chosen_variants(["clusterer"])] == [
        "discovered",
        "discovered, clusterer=kmeans_step",
        "discovered, clusterer=agglomerative",
    ]
    everything = chosen_variants(WHAT)
    assert [v for v in everything if v.argument is None] == [Variant(p) for p in REFERENCES]
    assert set(CHANGES) < set(everything)


def test_single_variants_come_with_their_reference():
    names = ["hpl_given", "hpl:coarse_proxies=fixed"]
    assert [v.name for v in chosen_variants(names)] == [
        "hpl",
        "hpl:coarse_proxies=fixed",
        "hpl_given",
    ]


def test_superclasses_follow_the_training_classes_of_the_fold(make_ablation, small_dataset):
    planned = make_ablation(bases=hierarchical_bases(), what=["num_superclasses"], folds=(0, 1))
    configs = lay_out(planned, small_dataset)
    assert (
        len(configs)
        == len({config.name for config in configs})
        == len(hierarchical_bases()) * 2 * (1 + 3)
    )
    chosen = [config.loss.hpl_arguments.get("num_superclasses") for config in configs[:4]]
    assert chosen == [None, None, 2, 6]  # of 12 classes


def test_nothing_is_tested_and_the_settings_are_kept(make_ablation, monkeypatch):
    monkeypatch.setattr(training.testing, "test", None)
    planned = make_ablation(what=["coarse_proxies"])
    outcome = run_ablation(planned, Console())
    assert len(outcome.results) == 7
    for result in outcome.results:
        assert "test" not in result
        assert set(result["num_images"]) == {"train", "val"}
        assert (result["update_seconds"] is None) == (result["config"]["loss"] == "proxy_anchor")
    folder = (
        planned.flat.request.out / "small" / "hpl-proxy_anchor-coarse_proxies=live" / "seed0_fold0"
    )
    settings = json.loads((folder / "config.json").read_text())["loss_settings"]
    assert (settings["coarse_proxies"], settings["warmup"]) == ("live", 4)
    assert json.loads((folder / "result.json").read_text())["sizes"] == [12, 3]
    assert not list(folder.glob("models/*"))


def test_flat_run_is_trained_as_by_the_suite(make_ablation, make_plan):
    (expected,) = suite.run(make_plan(losses=["proxy_anchor"]), Console()).results
    result = run_ablation(make_ablation(what=["clusterer"]), Console()).results[0]
    assert result["validation"] == expected["validation"]
    assert result["best_epoch"] == expected["best_epoch"]
    assert result["config"] == expected["config"]


def test_interrupted_ablation_goes_on_where_it_stopped(make_ablation, monkeypatch):
    planned = make_ablation(what=["clusterer"], epochs=1)
    trained = []
    original = validation_runs.train_and_validate

    def interrupted(config, *args):
        trained.append(config.loss.name)
        if len(trained) == 3:
            config.folder(planned.flat.request.out).mkdir(parents=True)
            (config.folder(planned.flat.request.out) / "config.json").touch()  # half a run
            raise KeyboardInterrupt
        return original(config, *args)

    monkeypatch.setattr(validation_runs, "train_and_validate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_ablation(planned, Console())
    first = run_ablation(planned, Console())
    assert trained[2] == trained[3]
    assert len(trained) == 5
    assert run_ablation(planned, Console()).results == first.results
    assert len(trained) == 5


def test_runs_on_other_images_do_not_come_into_one_table(make_ablation, small_dataset, monkeypatch):
    run_ablation(make_ablation(what=["hpl_given"], epochs=1), Console())
    pixels = small_dataset.untrained.copy()
    pixels[0] += 1
    other = replace(small_dataset, untrained=pixels)
    monkeypatch.setitem(DATASETS, "small", replace(DATASETS["small"], load=lambda source: other))
    monkeypatch.setattr(validation_runs, "train_and_validate", None)
    with pytest.raises(ValueError, match=r"on other images.*\(fingerprint differ\).*another --out"):
        run_ablation(make_ablation(what=["hpl"], epochs=1), Console())


def made_up_outcome(make_ablation, values):
    """Runs with a MAP@R that is given by (loss, seed, fold); the second of two epochs is best."""
    planned = make_ablation(what=["clusterer"], seeds=(0, 1), folds=(0, 1))
    names = ["proxy_anchor", *(v.loss_name("proxy_anchor") for v in planned.variants)]
    results = [
        {
            "config": {"loss": name, "seed": seed, "fold": fold, "loss_settings": {}},
            "seconds": 2.0,
            "update_seconds": 0.004 if ":" in name else None,
            "sizes": [24, 5],
            "best_epoch": 2,
            "validation": {
                "epoch": [1, 2],
                "precision_at_1_level0": [0.1, 0.9],
                **{f"{MAP}{level}": [0.1, values(name, seed, fold)] for level in range(3)},
            },
        }
        for name in names
        for seed in (1, 0)
        for fold in (0, 1)
    ]
    return AblationOutcome(planned, ("class", "group", "kind"), tuple(results))


def test_differences_are_those_by_hand(make_ablation):
    def values(name, seed, fold):
        extra = {"": 0.0, "kmeans_step": (0.01, 0.02, 0.03, 0.06)[2 * seed + fold]}
        return 0.5 + 0.1 * seed + 0.2 * fold + extra.get(name.rpartition("=")[2], 0.01)

    outcome = made_up_outcome(make_ablation, values)
    summary = collect_validation(outcome)
    assert summary.metrics == ("precision_at_1_level0", *(f"{MAP}{level}" for level in range(3)))
    by_loss = {row.loss: row for row in against_flat(outcome, summary, "proxy_anchor")}
    assert by_loss["proxy_anchor"].values[f"{MAP}0"][0] == pytest.approx(66.0)
    # to the flat loss, which has 0.01 as well: 0, 1, 2 and 5 points
    mean, half = by_loss["hpl:proxy_anchor:clusterer=kmeans_step"].values[f"{MAP}1"]
    deviation = np.sqrt((2**2 + 1**2 + 0 + 3**2) / 3)
    assert (mean, half) == pytest.approx((2.0, 3.182446 * deviation / 2))
    references = list(against_reference(outcome, summary, "proxy_anchor"))
    assert [row.other for row in references] == ["hpl:proxy_anchor"] * 2
    assert references[0].values[f"{MAP}0"] == pytest.approx((mean, half))
    assert references[1].values[f"{MAP}0"] == pytest.approx((0.0, 0.0), abs=1e-9)
    assert references[0].update_seconds == pytest.approx(0.004)


def test_table_and_json_say_the_same(make_ablation):
    def values(name, seed, fold):
        return 0.5 + 0.01 * seed + (0.02 + 0.001 * fold if "=" in name else 0)

    outcome = made_up_outcome(make_ablation, values)
    summary = collect_validation(outcome)
    text, (markdown, plain) = write_tables(outcome, summary)
    assert markdown.read_text().endswith(text)
    assert "**+2.05 ±0.09**" in text
    assert "| discovered − discovered" not in text
    loaded = json.loads(plain.read_text())
    assert loaded == json.loads(json.dumps(as_plain(outcome, summary)))
    assert len(loaded["runs"]) == 16
    assert loaded["runs"][0]["update_seconds"] is None
    assert loaded["runs"][0]["sizes"] == [24, 5]
    differences = {(row["loss"], row["minus"]) for row in loaded["comparisons"]}
    assert ("hpl:proxy_anchor:clusterer=agglomerative", "hpl:proxy_anchor") in differences
    (flat,) = (row for row in loaded["comparisons"] if row["minus"] is None)
    assert flat["metrics"][f"{MAP}0"]["mean"] == pytest.approx(50.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"what": ["clusterers"]}, "--what: unknown 'clusterers'; did you mean 'clusterer'"),
        ({"what": ["x"]}, "Known: coarse_proxies, clusterer, num_superclasses"),
        ({"what": ["clusterer", "clusterer"]}, "--what has clusterer more than once"),
        ({"bases": ["proxy_ancor"]}, "did you mean 'hpl:proxy_anchor'"),
        ({"bases": ["contrastive"]}, "'contrastive' has no proxies"),
        ({"bases": ["hpl:proxy_nca"]}, "unknown loss 'hpl:hpl:proxy_nca'"),
        ({"bases": ["arcface", "arcface"]}, "--bases has arcface more than once"),
        ({"dataset": "glyfs"}, "unknown data set 'glyfs'"),
        ({"folds": (4,)}, r"in 0\.\.3, got 4"),
        ({"epochs": 0}, "at least 1, got 0"),
    ],
)
def test_bad_input_before_any_training(make_ablation, changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make_ablation(**changes)
    assert not (tmp_path / "runs").exists()


def test_command_line_end_to_end(small_dataset, tmp_path, capsys):
    out = tmp_path / "runs"
    arguments = ["ablate", "small", "--bases", "proxy_nca", "--what", "num_superclasses"]
    arguments += ["--seeds", "0", "--epochs", "1", "--out", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "discovered, num_superclasses=twice" in printed
    assert "fold 0: 3 of 12 classes" in printed
    report = (out / "small" / "ablation.md").read_text()
    assert "±" not in report
    assert "One pair has no interval" in report
    assert json.loads((out / "small" / "ablation.json").read_text())["part"] == "validation"
    assert main([*arguments[:-2], "--out", str(out), "--epochs", "2"]) == 2
    assert "other settings" in capsys.readouterr().err
