import json
from dataclasses import replace

import numpy as np
import pytest
from made_up_runs import MAP, made_up_result
from rich.console import Console
from small_data import small_request

from benchmarks import suite, training
from benchmarks.ablation import runs
from benchmarks.ablation.differences import collect_validation, compare
from benchmarks.ablation.runs import AblationOutcome, lay_out, plan_ablation, run_ablation
from benchmarks.ablation.table import write_tables
from benchmarks.ablation.variants import REFERENCES, WHAT
from benchmarks.command_line import main
from benchmarks.datasets import DATASETS
from benchmarks.given_settings import given_settings
from benchmarks.losses import hierarchical_bases
from benchmarks.settings import SETTINGS
from pml_hierarchical import Hierarchy

pytestmark = pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")


@pytest.fixture
def make_ablation(small_dataset, tmp_path, monkeypatch):
    losses = {prefix: {"recluster_every": 2} for prefix in REFERENCES}
    monkeypatch.setitem(SETTINGS, "small", replace(SETTINGS["small"], losses=losses))

    def make(**changes):
        what = changes.pop("what", WHAT)
        losses = changes.pop("bases", ["proxy_anchor"])
        return plan_ablation(small_request(tmp_path / "runs", losses, **changes), what)

    return make


def test_factors_that_a_base_does_not_have_are_left_out(make_ablation, small_dataset):
    what = ["coarse_margin"]
    planned = make_ablation(bases=["soft_triple", "proxy_anchor"], what=what)
    names = [config.loss.name for config in lay_out(planned, small_dataset)]
    assert [n for n in names if "soft_triple" in n] == [
        "soft_triple", "hpl:soft_triple", "hpl_given:soft_triple"
    ]  # fmt: skip
    assert sum("coarse_margin" in n for n in names) == 4


def test_superclasses_follow_the_training_classes_of_the_fold(make_ablation, small_dataset):
    planned = make_ablation(bases=hierarchical_bases(), what=["num_superclasses"], folds=(0, 1))
    configs = lay_out(planned, small_dataset)
    chosen = [config.loss.hpl_arguments.get("num_superclasses") for config in configs[2:7]]
    assert chosen == [2, 7, 6, 11, (3, 2)]  # of 12 classes, but for 3, which the reference has
    count = len(hierarchical_bases()) * 2 * (2 + len(chosen))
    assert len(configs) == len({config.name for config in configs}) == count


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_as_many_flat_runs_as_jobs_come_before_their_variants(make_ablation, small_dataset, jobs):
    planned = make_ablation(bases=["proxy_nca"], what=["hpl"], seeds=(0, 1, 2), jobs=jobs)
    order = [(config.loss.name, config.seed) for config in lay_out(planned, small_dataset)]
    flat, variant = "proxy_nca", "hpl:proxy_nca"
    assert (
        order
        == {
            1: [(flat, 0), (variant, 0), (flat, 1), (variant, 1), (flat, 2), (variant, 2)],
            2: [(flat, 0), (flat, 1), (variant, 0), (variant, 1), (flat, 2), (variant, 2)],
            3: [(flat, 0), (flat, 1), (flat, 2), (variant, 0), (variant, 1), (variant, 2)],
        }[jobs]
    )


def test_a_base_without_a_scale(make_ablation, small_dataset):
    planned = make_ablation(bases=["p2s_grad"], what=["coarse_scale", "coarse_proxies"])
    names = [config.loss.name for config in lay_out(planned, small_dataset)]
    assert "hpl:p2s_grad:coarse_proxies=live" in names
    assert not any("coarse_scale" in name for name in names)
    for config in lay_out(planned, small_dataset):
        config.loss.build(12, 8, Hierarchy([[c, c // 4] for c in range(12)]), seed=0)


def test_settings_of_the_base_hold_for_its_variants(make_ablation, small_dataset):
    given = given_settings(["proxy_nca.softmax_scale=5", "training.weight_decay=0.3"])
    planned = make_ablation(bases=["proxy_nca"], what=["hpl", "hpl_given"], given=given)
    configs = lay_out(planned, small_dataset)
    assert len(configs) == 3
    for config in configs:
        assert config.loss.settings()["softmax_scale"] == 5
        assert config.settings.weight_decay == 0.3
        assert config.loss.flat() == configs[0].loss


def test_a_variant_that_is_its_reference_is_left_out(make_ablation, small_dataset):
    planned = make_ablation(what=["coarse_scale", "hpl:level_weights=0.3", "scale_and_weight"])
    configs = [config for config in lay_out(planned, small_dataset) if config.loss.hierarchy]
    settings = [config.loss.settings() for config in configs]
    assert all(settings.count(one) == 1 for one in settings)
    names = [config.loss.name for config in configs]
    assert "hpl:proxy_anchor" in names
    assert "hpl:proxy_anchor:level_weights=0.3" not in names


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
    original = runs.train_after_warmup

    def interrupted(config, *args):
        trained.append(config.loss.name)
        if len(trained) == 3:
            config.folder(planned.flat.request.out).mkdir(parents=True)
            (config.folder(planned.flat.request.out) / "config.json").touch()  # half a run
            raise KeyboardInterrupt
        return original(config, *args)

    monkeypatch.setattr(runs, "train_after_warmup", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_ablation(planned, Console())
    first = run_ablation(planned, Console())
    assert trained[2] == trained[3]
    assert len(trained) == 5
    assert run_ablation(planned, Console()).results == first.results
    assert len(trained) == 5


def test_no_other_command_writes_into_the_folder_during_the_report(make_ablation):
    planned = make_ablation(what=["hpl_given"], epochs=1)

    def report(outcome):
        with pytest.raises(OSError, match="another command is running"):
            run_ablation(planned, Console())
        reported.append(outcome.results)

    reported = []
    outcome = run_ablation(planned, Console(), report)
    assert reported == [outcome.results]


def test_runs_on_other_images_do_not_come_into_one_table(make_ablation, small_dataset, monkeypatch):
    run_ablation(make_ablation(what=["hpl_given"], epochs=1), Console())
    pixels = small_dataset.untrained.copy()
    pixels[0] += 1
    other = replace(small_dataset, untrained=pixels)
    monkeypatch.setitem(DATASETS, "small", replace(DATASETS["small"], load=lambda source: other))
    monkeypatch.setattr(runs, "train_after_warmup", None)
    with pytest.raises(ValueError, match=r"on other images.*\(fingerprint differ\).*another --out"):
        run_ablation(make_ablation(what=["hpl"], epochs=1), Console())


def made_up_outcome(make_ablation, values):
    """Runs with a MAP@R that is given by (loss, seed, fold); the second of two epochs is best."""
    planned = make_ablation(what=["clusterer"], seeds=(0, 1), folds=(0, 1))
    names = ["proxy_anchor", *(v.loss_name("proxy_anchor") for v in planned.variants)]
    results = [
        made_up_result(
            name, seed, fold, [values(name, seed, fold)] * 3, 1.5 if ":" in name else 1.0
        )
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
    summary = collect_validation(outcome.results, outcome.level_names)
    assert summary.metrics == (
        "precision_at_1_level0",
        *(f"{MAP}{level}" for level in range(3)),
        "hierarchical_average_precision",
        "average_set_intersection",
        "mistake_severity",
    )
    compared = compare(summary, ["proxy_anchor"])
    assert [*compared] == ["proxy_anchor"]
    rows = compared["proxy_anchor"]
    assert [row.label for row in rows] == [
        "proxy_anchor",
        "discovered",
        "discovered, clusterer=kmeans_step",
        "discovered, clusterer=agglomerative",
    ]
    assert [row.pairs for row in rows] == [4] * 4
    assert rows[0].values[f"{MAP}0"][0] == pytest.approx(66.0)
    # to the flat loss, which has 0.01 as well: 0, 1, 2 and 5 points
    mean, half = rows[2].values[f"{MAP}1"]
    deviation = np.sqrt((2**2 + 1**2 + 0 + 3**2) / 3)
    assert (mean, half) == pytest.approx((2.0, 3.182446 * deviation / 2))
    assert rows[1].values["mistake_severity"] == pytest.approx((0.5, 0))  # not in percent
    assert rows[1].to_reference == rows[0].to_reference == {}
    assert rows[2].to_reference[f"{MAP}0"] == pytest.approx((mean, half))
    assert rows[3].to_reference[f"{MAP}0"] == pytest.approx((0.0, 0.0), abs=1e-9)
    assert rows[2].update_seconds == pytest.approx(0.004)
    assert rows[2].epochs == (2, 2, 2, 2)


def test_table_and_json_say_the_same(make_ablation):
    def values(name, seed, fold):
        return 0.5 + 0.01 * seed + (0.02 + 0.001 * fold if "=" in name else 0)

    outcome = made_up_outcome(make_ablation, values)
    text, (markdown, plain) = write_tables(outcome)
    assert markdown.read_text().endswith(text)
    assert "▲ **+2.05 ±0.09**" in text
    assert "▼ **+0.50 ±0.00**" in text  # a larger severity is worse
    assert "- `clusterer`: the paper's single k-means step" in text
    loaded = json.loads(plain.read_text())
    assert len(loaded["runs"]) == 16
    assert loaded["runs"][0]["update_seconds"] is None
    assert loaded["runs"][0]["sizes"] == [24, 5]
    flat, reference, changed, _ = loaded["comparisons"]
    assert flat["metrics"][f"{MAP}0"]["mean"] == pytest.approx(50.5)
    assert reference["loss"] == "hpl:proxy_anchor"
    for other in ("minus_flat", "minus_reference"):
        assert changed[other][f"{MAP}0"]["mean"] == pytest.approx(2.05)


def test_a_folder_of_ones_own_has_its_own_name(make_ablation, tmp_path):
    outcome = made_up_outcome(make_ablation, lambda *_: 0.5)
    flat = outcome.plan.flat
    source = replace(flat.request.source, dataset="folder", data_root=tmp_path / "herbs")
    flat = replace(flat, request=replace(flat.request, source=source))
    named = replace(outcome, plan=replace(outcome.plan, flat=flat))
    markdown = write_tables(named)[1][0]
    assert markdown.read_text().startswith("# herbs: what each setting of HPL changes\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"what": ["clusterers"]}, "--what: unknown 'clusterers'; did you mean 'clusterer'"),
        (
            {"what": ["x"]},
            "Choose from coarse_proxies, coarse_rate, .*single variants such as hpl,",
        ),
        ({"what": ["clusterer", "clusterer"]}, "--what has clusterer more than once"),
        (
            {"what": ["hpl:coarse_margin=0"], "bases": ["proxy_nca", "arcface"]},
            "--what hpl:coarse_margin=0: not varied on proxy_nca, arcface; choose --bases from "
            "proxy_anchor",
        ),
        ({"what": ["coarse_scale"], "bases": ["p2s_grad"]}, "not varied on p2s_grad.*proxy_nca"),
        ({"what": ["nosuch"]}, r"unknown 'nosuch'\. Choose from"),
        ({"bases": ["proxy_ancor"]}, "--bases: unknown 'proxy_ancor'; did you mean 'proxy_anchor'"),
        ({"bases": ["nosuch"]}, r"unknown 'nosuch'\. HPL can be built on (?!.*(contrastive|hpl:))"),
        ({"bases": ["contrastive"]}, "'contrastive' has no proxies"),
        ({"bases": ["hpl:proxy_nca"]}, "'hpl:proxy_nca'; did you mean 'proxy_nca'"),
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
    assert "discovered, num_superclasses=double_sqrt" in printed
    assert "fold 0: 3 of 12 classes" in printed
    table = [line for line in printed.splitlines() if line.startswith("|")]
    assert len({tuple(i for i, c in enumerate(line) if c == "|") for line in table}) == 1
    report = (out / "small" / "ablation.md").read_text()
    assert "±" not in report.partition("± is")[0]
    assert "A single pair has no interval" in " ".join(report.split())
    assert json.loads((out / "small" / "ablation.json").read_text())["part"] == "validation"
    assert main([*arguments[:-2], "--out", str(out), "--epochs", "2"]) == 2
    assert "other settings" in capsys.readouterr().err
