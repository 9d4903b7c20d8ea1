from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from benchmarks.losses import ALL_LOSSES, DEFAULT_LOSSES, find_loss, hierarchical_bases
from benchmarks.settings import SETTINGS
from benchmarks.tuning.proposals import COUNT, first_trials, near
from benchmarks.tuning.space import (
    DISCOVERY,
    HIERARCHICAL,
    LOSSES,
    PROXIES,
    SCALE,
    TRAINING,
    TRUNK,
    Choice,
    Range,
    has_own_space,
    space_of,
)
from benchmarks.tuning.suggesting import (
    Extent,
    bounded_space,
    default_values,
    extent_of,
    rounded,
    run_settings,
    suggest,
)
from benchmarks.tuning.trials import keep_trial, next_trial, quiet_optuna

EXTENT = Extent(iterations=500, num_classes=100, has_tree=True)
EVERY_LOSS = [
    *ALL_LOSSES,
    *(f"{prefix}:{base}" for prefix in ("hpl", "hpl_given") for base in hierarchical_bases()),
]


def planned(loss, dataset="glyphs", extent=EXTENT):
    settings = SETTINGS[dataset]
    spec = find_loss(loss, settings.loss_overrides)
    return spec, settings, bounded_space(spec, settings, extent)


def random_trials(space, count):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(count)]
    return [suggest(trial, space) for trial in trials]


@pytest.mark.parametrize("dataset", ["glyphs", "grocery"])
@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_every_suggestion_is_within_bounds_and_makes_a_loss(loss, dataset):
    spec, settings, space = planned(loss, dataset)
    by_name = {parameter.name: parameter for parameter in space}
    with quiet_optuna():
        for values in random_trials(space, 5):
            changed, training = run_settings(spec, settings, space, values)
            flat = changed.settings() | {
                "learning_rate": training.learning_rate,
                "weight_decay": training.weight_decay,
                "trunk_factor": training.trunk_factor,
            }
            for name, value in values.items():
                parameter = by_name[name]
                if isinstance(parameter, Choice):
                    assert value in parameter.values
                else:
                    assert parameter.low <= value <= parameter.high
                    assert isinstance(value, int) == parameter.integer
                    assert rounded(value) == value or parameter.integer
                assert flat[name] == value
                for other in getattr(parameter, "also", ()):
                    assert flat[other] == value


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_first_trial_is_the_loss_without_a_search(loss):
    for dataset in ("glyphs", "grocery", "inaturalist"):
        for epochs in (1, SETTINGS[dataset].epochs):
            settings = SETTINGS[dataset].with_epochs(epochs)
            iterations = epochs * settings.iterations_per_epoch
            extent = replace(EXTENT, iterations=iterations)
            spec = find_loss(loss, settings.loss_overrides)
            space = bounded_space(spec, settings, extent)
            defaults = default_values(spec, settings, extent)
            changed, training = run_settings(spec, settings, space, defaults)
            assert training == settings
            # with an explicit value for what the constructor would have chosen by itself
            assert spec.settings().items() <= changed.settings().items()
            for parameter in space:
                if isinstance(parameter, Range) and parameter.name in defaults:
                    assert parameter.low <= defaults[parameter.name] <= parameter.high


def test_bounds_go_with_the_data_set():
    _, _, space = planned("hpl:proxy_nca")
    bounds = {p.name: (p.low, p.high) for p in space if isinstance(p, Range)}
    assert bounds["learning_rate"] == (3e-4, 0.03)
    assert bounds["weight_decay"] == (0.001, 1)
    assert bounds["trunk_factor"] == (0.1, 10)
    assert bounds["proxy_learning_rate"] == (1e-3, 3)
    assert bounds["softmax_scale"] == (2, 64)
    assert bounds["warmup"] == (25, 3456)  # widened to the default, 30% of 192 epochs
    assert bounds["recluster_every"] == (10, 200)
    assert bounds["num_superclasses"] == (2, 50)
    grocery = {p.name: p for p in planned("hpl:proxy_nca", "grocery")[2]}
    assert (grocery["num_superclasses"].low, grocery["num_superclasses"].high) == (2, 50)


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "trunk_factor"])
def test_0_is_no_first_value_of_a_logarithmic_scale(name):
    settings = replace(SETTINGS["glyphs"], **{name: 0.0})
    with pytest.raises(ValueError, match=f"{name} is searched on a logarithmic scale.* got 0: "):
        bounded_space(find_loss("proxy_nca"), settings, EXTENT)


def test_settings_of_discovery_only_where_a_tree_is_discovered():
    _, _, space = planned("hpl:proxy_anchor")
    with quiet_optuna():
        suggested = random_trials(space, 40)
    assert {values["hierarchy"] for values in suggested} == {"given", "discovered"}
    for values in suggested:
        for name in ("num_superclasses", "recluster_every"):
            assert (name in values) == (values["hierarchy"] == "discovered")
        assert {"level_weights", "warmup", "coarse_scale"} < set(values)
    names = {parameter.name for parameter in space_of(find_loss("hpl_given:proxy_anchor"))}
    assert names.isdisjoint({"hierarchy", "num_superclasses", "recluster_every"})
    assert {parameter.name for parameter in HIERARCHICAL} < names
    assert "coarse_scale" in names
    assert "coarse_scale" not in {p.name for p in space_of(find_loss("hpl:p2s_grad"))}


def test_without_a_tree_nothing_is_given():
    _, _, space = planned("hpl:arcface", extent=replace(EXTENT, has_tree=False))
    with quiet_optuna():
        assert {v["hierarchy"] for v in random_trials(space, 20)} == {"discovered"}


def test_extent_of_the_folds(small_dataset):
    settings = SETTINGS["small"]
    assert extent_of(small_dataset, [0, 1], settings) == Extent(12, 12, True, has_trunk=False)
    flat = replace(
        small_dataset,
        labels=small_dataset.labels[:, :1],
        level_names=("class",),
        class_names=small_dataset.class_names[:1],
    )
    assert not extent_of(flat, [0], settings).has_tree


def test_losses_without_a_written_space_share_what_all_have():
    assert set(LOSSES) <= set(ALL_LOSSES)
    assert all(has_own_space(find_loss(loss)) for loss in DEFAULT_LOSSES)
    other = replace(find_loss("proxy_nca"), name="no_such_loss")
    assert space_of(other) == TRAINING + TRUNK + PROXIES
    assert space_of(other, has_trunk=False) == TRAINING + PROXIES
    assert not has_own_space(other)
    assert space_of(replace(find_loss("contrastive"), name="no_such_loss")) == TRAINING + TRUNK


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_first_trials_vary_the_loss_s_own_settings_over_their_whole_range(loss):
    spec, settings, space = planned(loss)
    defaults = default_values(spec, settings, EXTENT)
    first, *others = first_trials(space, defaults, seed=3)
    assert first == defaults
    assert len(others) == COUNT - 1
    rates = {parameter.name for parameter in TRAINING + TRUNK + PROXIES}
    own = [parameter for parameter in space if parameter.name not in rates]
    if own:
        kept = {name: value for name, value in defaults.items() if name in rates}
        assert all(kept.items() <= values.items() for values in others)
    for parameter in own or space:
        tried = [values[parameter.name] for values in others]
        if isinstance(parameter, Choice):
            assert set(tried) == set(parameter.values)
            continue
        assert all(parameter.low <= value <= parameter.high for value in tried)
        if not parameter.integer:  # of which few may lie in a fifth
            scaled = np.array([parameter.low, parameter.high, *tried])
            low, high, *tried = np.log(scaled) if parameter.log else scaled
            assert sorted(int(5 * (value - low) / (high - low)) for value in tried) == [*range(5)]


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_later_trials_are_near_the_best(loss):
    spec, settings, space = planned(loss)
    best = default_values(spec, settings, EXTENT)
    random = np.random.default_rng(0)
    tried = [near(space, best, random) for _ in range(300)]
    assert all(values != best or len(best) == 1 for values in tried if "hierarchy" not in values)
    changes = [sum(values[name] != best[name] for name in best) for values in tried]
    assert 0.3 * len(best) < np.mean(changes) < 0.7 * len(best) + 0.7
    for parameter in space:
        if isinstance(parameter, Choice) or parameter.name not in best:
            continue
        found = np.array([values[parameter.name] for values in tried])
        assert parameter.low <= found.min() < found.max() <= parameter.high
        ends = [parameter.low, parameter.high, best[parameter.name], *found]
        low, high, middle, *found = np.log(ends) if parameter.log else ends
        far = [abs(value - middle) > 0.3 * (high - low) for value in found]
        assert np.mean(far) < 0.02  # three standard deviations


def test_a_later_trial_has_a_value_for_every_setting_so_that_nothing_is_left_to_chance():
    _, _, space = planned("hpl:proxy_nca")
    best = {"hierarchy": "given"}  # with which the settings of discovery mean nothing
    first, again = (near(space, best, np.random.default_rng(1)) for _ in range(2))
    assert set(first) == {parameter.name for parameter in space}
    assert first == again


def test_next_trial_depends_on_the_finished_ones_and_the_seed_alone():
    spec, settings, space = planned("hpl:proxy_nca")
    defaults = default_values(spec, settings, EXTENT)

    def search(seed, count, value):
        study = optuna.create_study(direction="maximize")
        found = []
        for _ in range(count):
            next_trial(study, space, defaults, seed)  # interrupted: it leaves nothing behind
            trial, values = next_trial(study, space, defaults, seed)
            keep_trial(study, trial, value(values), {})
            found.append(values)
        return found

    with quiet_optuna():
        first = search(0, 12, lambda values: values["warmup"])
        assert first == search(0, 12, lambda values: values["warmup"])
        other = search(1, 12, lambda values: values["warmup"])
        assert first[0] == other[0] == defaults
        assert all(a != b for a, b in zip(first[1:], other[1:], strict=True))
        downwards = search(0, 12, lambda values: -values["warmup"])
        assert first[:6] == downwards[:6]
        assert first[6:] != downwards[6:]  # they start from the best


def space_table() -> str:
    """The whole space as a table in Markdown: what docs/tuning.md shows."""
    parts = {
        "every loss": TRAINING,
        "every loss, where a trunk is trained": TRUNK,
        "losses with parameters of their own": PROXIES,
    }
    parts |= {f"`{name}`": space for name, space in LOSSES.items()}
    parts |= {"HPL": HIERARCHICAL, "HPL on a loss with a scale": SCALE}
    parts |= {"HPL, but for `hpl_given:`": DISCOVERY}
    rows = ["| loss | setting | values |", "| --- | --- | --- |"]
    for of, space in parts.items():
        for parameter in space:
            names = [parameter.name, *getattr(parameter, "also", ())]
            shown = ", ".join(f"`{name}`" for name in names)
            rows.append(f"| {of} | {shown} | {_values(parameter)} |")
    return "\n".join(rows)


def _values(parameter: Range | Choice) -> str:
    if isinstance(parameter, Choice):
        return " or ".join(parameter.values)
    low, high = (
        f"{bound:g}" if isinstance(bound, (int, float)) else str(bound)
        for bound in (parameter.low, parameter.high)
    )
    notes = ["integer"] * parameter.integer + ["logarithmic"] * parameter.log
    if parameter.only_with:
        notes.append("only with {} {}".format(*parameter.only_with))
    return ", ".join([f"{low} to {high}", *notes])


def test_documented_space_is_the_one_in_the_code():
    page = Path(__file__).parents[2] / "docs" / "tuning.md"
    assert space_table() in page.read_text(encoding="utf-8")
