"""What each variant of the study changes."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.ablation.courses import Course
from benchmarks.ablation.factors import BOTH, DISCOVERED, FACTORS, GIVEN, Training
from benchmarks.ablation.ideas import IDEAS
from benchmarks.ablation.variants import (
    CHANGES,
    REFERENCES,
    WHAT,
    Variant,
    chosen_variants,
    variant_of,
)
from benchmarks.losses import find_loss
from pml_hierarchical import Hierarchy, losses
from pml_hierarchical.clustering import Agglomerative, KMeans, KMeansStep

CLASSES = np.arange(30)
TREE = Hierarchy.from_labels(np.stack([CLASSES, CLASSES // 5, CLASSES // 15], axis=1))
TRAINING = Training(30, num_given=2, iterations=100, learning_rate=0.01)
# the settings that a factor changes, where they have other names
CHANGED = {
    "course": {"level_weights"},
    "tree": {"hierarchy", "num_superclasses", "clusterer"},
    "scale_and_weight": {"coarse_scale", "level_weights"},
    "as_published": {"coarse_scale", "coarse_proxies"},
    "coarse_margin": {"level_kwargs"},
    **{idea: {"idea", "amount"} for idea in IDEAS},
}
# variants with a value that the reference has as well
CHANGED_LESS = {
    "hpl:level_weights=0.3": set(),
    "hpl_given:level_weights=0.1": set(),
    "hpl:num_superclasses=60": set(),  # of few classes
    "hpl:scale_and_weight=0.1x0.3": {"coarse_scale"},
    "hpl:scale_and_weight=0.5x0.3": {"coarse_scale"},
    "hpl:scale_and_weight=1x0.3": {"coarse_scale"},
    "hpl_given:scale_and_weight=1x0.1": {"coarse_scale"},
}
OVERRIDES = {
    "hpl": {"num_superclasses": 9, "level_weights": 0.2, "warmup": 7},  # the references know better
    "hpl_given": {"level_weights": 0.4, "warmup": 7},
}


@pytest.mark.parametrize("num_classes", [3, 30, 570, 5000])
def test_the_discovered_reference_has_as_many_superclasses_as_the_loss_itself(num_classes):
    training = Training(num_classes, num_given=0, iterations=100, learning_rate=0.01)
    spec = Variant("hpl").spec(find_loss("proxy_nca"), {}, training)
    tree = Hierarchy.flat(num_classes)
    wanted = losses.HierarchicalProxyLoss(num_classes, 2, losses.ProxyNCALoss)
    assert spec.build(num_classes, 2, tree, seed=0).sizes == wanted.sizes


@pytest.mark.parametrize("variant", CHANGES, ids=lambda variant: variant.name)
def test_variant_differs_from_its_reference_in_one_factor(variant):
    base = (variant.factor.bases or ("soft_triple",))[0]
    spec, reference = (
        one.spec(find_loss(base), OVERRIDES, TRAINING) for one in (variant, variant.reference)
    )
    assert (spec.arguments, spec.base) == (reference.arguments, base)
    settings, usual = spec.settings(), reference.settings()
    changed = {key for key in settings | usual if settings.get(key) != usual.get(key)}
    usually = CHANGED.get(variant.factor.name, {variant.factor.name})
    assert changed == CHANGED_LESS.get(variant.name, usually)
    built = spec.build(30, 8, TREE, seed=0)
    assert built.is_given[-1] == (variant.prefix == "hpl_given")


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("hpl", {"sizes": (30, 7), "clusterer": KMeans(), "coarse_proxies": "learned"}),
        ("hpl_given", {"sizes": (30, 6, 2), "coarse_proxies": "learned"}),
        ("hpl:coarse_proxies=fixed", {"sizes": (30, 7), "coarse_proxies": "fixed"}),
        ("hpl_given:coarse_proxies=live", {"sizes": (30, 6, 2), "coarse_proxies": "live"}),
        ("hpl:clusterer=kmeans_step", {"clusterer": KMeansStep()}),
        ("hpl:clusterer=agglomerative", {"clusterer": Agglomerative()}),
        ("hpl:num_superclasses=sqrt", {"sizes": (30, 5)}),
        ("hpl:num_superclasses=quarter_sqrt", {"sizes": (30, 2)}),
        ("hpl:num_superclasses=double_sqrt", {"sizes": (30, 11)}),
        ("hpl:num_superclasses=60", {"sizes": (30, 7)}),
        ("hpl:num_superclasses=two_levels", {"sizes": (30, 7, 3)}),
        ("hpl_given:tree=mixed", {"sizes": (30, 7, 6, 2)}),
        ("hpl:level_weights=0.03", {"level_weights": (1.0, 0.03)}),
        ("hpl_given:level_weights=1", {"level_weights": (1.0, 1.0, 1.0)}),
        ("hpl:warmup=0.5", {"warmup": 50}),
        ("hpl_given:warmup=100_steps", {"warmup": 100}),
        ("hpl:recluster_every=0.1", {"recluster_every": 10}),
        ("hpl:recluster_every=never", {"recluster_every": 100}),
        ("hpl:course=falling", {"weight_schedule": Course("falling", 0.3, 7, 100)}),
    ],
)
def test_built_losses(name, attributes):
    (variant,) = (one for one in chosen_variants([name]) if one.name == name)
    loss_func = variant.spec(find_loss("proxy_nca"), OVERRIDES, TRAINING).build(30, 8, TREE, seed=0)
    expected = {"level_weights": (1.0, *[0.3 if variant.prefix == "hpl" else 0.1] * 3), "warmup": 7}
    for key, value in (expected | attributes).items():
        found = getattr(loss_func, key)
        assert found == (value[: len(found)] if key == "level_weights" else value)


@pytest.mark.parametrize("base", ["proxy_nca", "normalized_softmax", "proxy_anchor"])
def test_scale_and_margin_of_the_coarse_levels(base):
    name = {"normalized_softmax": "temperature", "proxy_anchor": "alpha"}.get(base, "softmax_scale")

    def built(what):
        *_, variant = chosen_variants([what])
        return variant.spec(find_loss(base), {}, TRAINING).build(30, 8, TREE, seed=0)

    losses = [built("hpl_given:coarse_scale=2").level_loss(level) for level in range(3)]
    usual = getattr(losses[0], name)
    expected = usual / 2 if base == "normalized_softmax" else 2 * usual
    assert [getattr(one, name) for one in losses] == pytest.approx([usual, expected, expected])
    if base == "proxy_anchor":
        levels = built("hpl_given:coarse_margin=0.3")
        assert [levels.level_loss(level).margin for level in range(3)] == [0.1, 0.3, 0.3]


def test_the_name_of_a_run_says_which_variant_it_is():
    for variant in (*map(Variant, REFERENCES), *CHANGES):
        assert variant_of(variant.loss_name("proxy_nca")) == variant
    places = [variant.place for variant in (*map(Variant, REFERENCES), *CHANGES)]
    assert places == sorted(set(places))


def test_only_the_references_that_are_needed():
    assert [v.label for v in chosen_variants(["clusterer"])] == [
        "discovered",
        "discovered, clusterer=kmeans_step",
        "discovered, clusterer=agglomerative",
    ]
    everything = chosen_variants(WHAT)
    assert [v for v in everything if v.factor is None] == [Variant(p) for p in REFERENCES]
    assert set(CHANGES) < set(everything)


def test_single_variants_come_with_their_reference():
    names = ["hpl_given", "hpl:coarse_proxies=fixed"]
    assert [v.name for v in chosen_variants(names)] == [
        "hpl",
        "hpl:coarse_proxies=fixed",
        "hpl_given",
    ]


def factor_table() -> str:
    """All factors as a table in Markdown: what docs/study.md shows."""
    trees = {BOTH: "both", (DISCOVERED,): "discovered", (GIVEN,): "given"}
    rows = ["| factor | values | tree | what it is |", "| --- | --- | --- | --- |"]
    for factor in FACTORS:
        values = ", ".join(f"`{value}`" for value in factor.values)
        about = factor.about + (
            f" (only for {', '.join(factor.bases)})" if factor.bases is not None else ""
        )
        rows.append(f"| `{factor.name}` | {values} | {trees[factor.trees]} | {about} |")
    return "\n".join(rows)


def test_the_docs_have_all_factors():
    page = Path(__file__).parents[2] / "docs" / "study.md"
    assert factor_table() in page.read_text(encoding="utf-8")
