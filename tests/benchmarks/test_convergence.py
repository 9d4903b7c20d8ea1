import json
import math
from dataclasses import replace

import pytest
from rich.console import Console
from scipy import stats
from small_data import SMALL_SETTINGS, small_request

from benchmarks import training
from benchmarks.command_line import main
from benchmarks.convergence import runs
from benchmarks.convergence.curves import convergence_curves
from benchmarks.convergence.gains import LossGains, all_gains
from benchmarks.convergence.runs import (
    ConvergenceOutcome,
    Length,
    plan_convergence,
    run_convergence,
)
from benchmarks.convergence.sentences import sentences
from benchmarks.convergence.table import as_plain, write_convergence
from benchmarks.given_settings import given_settings
from benchmarks.losses import DEFAULT_LOSSES
from benchmarks.settings import SETTINGS
from benchmarks.stored import VALIDATED

pytestmark = pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")

LENGTHS = (Length(1, 48), Length(2, 96))


@pytest.fixture
def make_convergence(small_dataset, tmp_path):
    def make(**changes):
        times, adapt = changes.pop("times", (1, 2)), changes.pop("adapt", None)
        losses = changes.pop("losses", ["contrastive", "hpl:proxy_nca"])
        request = small_request(tmp_path / "runs", losses, **changes)
        return plan_convergence(request, times, adapt)

    return make


def gains_of(loss, kind, scores, gains):
    """A loss whose single runs have these scores and differences."""
    return LossGains(
        loss,
        kind,
        tuple((score, math.nan) for score in scores),
        tuple((gain, math.nan) for gain in gains),
        ((1,),) * len(scores),
        (1.0,) * len(scores),
    )


# ---------------------------------------------------------------- the runs
def test_each_length_is_trained_as_a_suite_of_that_length(make_convergence, make_plan):
    convergence = make_convergence(seeds=(0, 1), folds=(1, 2), times=(4, 1))
    assert [(length.times, length.epochs) for length in convergence.lengths] == [(1, 3), (4, 12)]
    for length in convergence.lengths:
        losses = ["contrastive", "hpl:proxy_nca"]
        usual = make_plan(losses=losses, seeds=(0, 1), folds=(1, 2), epochs=length.epochs).runs
        chosen = [run for run in convergence.runs if run.loss.name.endswith(f":x{length.times}")]
        for run, other in zip(chosen, usual, strict=True):
            assert run == replace(other, loss=replace(other.loss, name=run.loss.name))
            assert run.loss.name == f"{other.loss.name}:x{length.times}"
    # 30% of the training, in steps
    warmups = {run.loss.name: run.loss.hpl_arguments.get("warmup") for run in convergence.runs}
    assert (warmups["hpl:proxy_nca:x1"], warmups["hpl:proxy_nca:x4"]) == (4, 14)
    folders = {run.folder(convergence.request.out) for run in convergence.runs}
    assert len(folders) == len(convergence.runs) == 16


def test_the_first_length_is_that_of_the_full_training(make_convergence, monkeypatch):
    monkeypatch.setitem(SETTINGS, "small", replace(SMALL_SETTINGS, short_epochs=1))
    assert make_convergence().lengths[0].epochs == 3
    assert make_convergence(regime="short").lengths[1].epochs == 2
    assert make_convergence(epochs=5).lengths[1].epochs == 10
    assert make_convergence(given=given_settings(["epochs=5"])).lengths[1].epochs == 10


def test_settings_of_a_search_and_of_the_command(make_convergence):
    def adapt(spec, settings, changes):
        assert changes["weight_decay"] == settings.weight_decay == 0.25
        return spec, replace(settings, learning_rate=settings.epochs / 1000)

    convergence = make_convergence(adapt=adapt, given=given_settings(["weight_decay=0.25"]))
    found = {(run.settings.epochs, run.settings.learning_rate) for run in convergence.runs}
    assert found == {(3, 0.003), (6, 0.006)}
    assert {run.settings.weight_decay for run in convergence.runs} == {0.25}


def test_nothing_is_tested_and_a_finished_run_is_kept(make_convergence, monkeypatch):
    monkeypatch.setattr(training.testing, "test", None)
    trained = []
    original = runs.train_and_validate

    def interrupted(config, *args):
        trained.append(config.loss.name)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return original(config, *args)

    monkeypatch.setattr(runs, "train_and_validate", interrupted)
    convergence = make_convergence(epochs=1)
    with pytest.raises(KeyboardInterrupt):
        run_convergence(convergence, Console())
    outcome = run_convergence(convergence, Console())
    names = ["contrastive:x1", "hpl:proxy_nca:x1", "contrastive:x2", "hpl:proxy_nca:x2"]
    assert trained == [*names[:3], *names[2:]]
    assert [result["config"]["loss"] for result in outcome.results] == names
    assert [len(result["validation"]["epoch"]) for result in outcome.results] == [1, 1, 2, 2]
    assert all("test" not in result for result in outcome.results)
    assert run_convergence(convergence, Console()).results == outcome.results
    assert len(trained) == 5
    with pytest.raises(ValueError, match=r"other settings.*another --out"):
        make_convergence(epochs=2)


def test_no_other_command_writes_into_the_folder_during_the_report(make_convergence):
    convergence = make_convergence(epochs=1)

    def report(outcome):
        with pytest.raises(OSError, match="another command is running"):
            run_convergence(convergence, Console())
        reported.append(outcome.results)

    reported = []
    outcome = run_convergence(convergence, Console(), report)
    assert reported == [outcome.results]


def test_a_value_that_a_loss_refuses_is_an_error_before_any_training(make_convergence, monkeypatch):
    monkeypatch.setattr(runs, "train_and_validate", None)
    given = given_settings(["level_weights=-1"])
    with pytest.raises(ValueError, match="the settings of hpl:proxy_nca: level_weights"):
        run_convergence(make_convergence(given=given), Console())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": (0, 1)}, "--times must be integers of at least 1, got 0"),
        ({"times": (1, 2, 2)}, "--times has 2 more than once"),
        ({"times": (1,)}, "--times needs at least two lengths to compare, such as 1 2; got 1"),
        ({"losses": ["contrastiv"]}, "unknown loss 'contrastiv'; did you mean 'contrastive'"),
        ({"losses": ["arcface", "arcface"]}, "--losses has arcface more than once"),
        ({"dataset": "glyfs"}, "unknown data set 'glyfs'"),
        ({"folds": (4,)}, r"in 0\.\.3, got 4"),
        ({"epochs": 0}, "at least 1, got 0"),
        ({"epochs": 2, "given": given_settings(["epochs=3"])}, "give --epochs or --set epochs"),
    ],
)
def test_bad_input_before_any_training(make_convergence, changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make_convergence(**changes)
    assert not (tmp_path / "runs").exists()


# ---------------------------------------------------------------- what they show
def made_up_outcome(convergence, score):
    """Runs whose best epoch, the last but one, has a MAP@R given by (loss, times, seed, fold)."""
    results = []
    for run in convergence.runs:
        loss, _, times = run.loss.name.rpartition(":x")
        best, epochs = score(loss, int(times), run.seed, run.fold), run.settings.epochs
        results.append(
            {
                "config": run.to_dict(),
                "environment": {
                    **{"versions": {"torch": "2"}, "python": "3", "machine": "m"},
                    **{"device": "cpu", "threads": 1},
                },
                "seconds": 10.0 * int(times) + 0.2 * run.seed,
                "best_epoch": epochs - 1,
                "validation": {
                    "epoch": list(range(1, epochs + 1)),
                    VALIDATED: [0.1] * (epochs - 2) + [best, 0.2],
                },
            }
        )
    return ConvergenceOutcome(convergence, ("class", "group", "kind"), tuple(results))


def test_gains_are_those_by_hand(make_convergence):
    def score(loss, times, seed, fold):
        own = {"contrastive": 0.5, "hpl:proxy_nca": 0.6}[loss] + 0.1 * seed + 0.05 * fold
        return own + (times - 1) * (0.01, 0.02, 0.03, 0.06)[2 * seed + fold]

    convergence = make_convergence(seeds=(0, 1), folds=(0, 1))
    first, second = all_gains(made_up_outcome(convergence, score))
    assert [(one.loss, one.kind) for one in (first, second)] == [
        ("hpl:proxy_nca", "proxy"),
        ("contrastive", "pair"),
    ]
    assert first.scores[0][0] == pytest.approx(67.5)
    assert first.scores[1][0] == pytest.approx(70.5)
    for one in (first, second):  # 1, 2, 3 and 6 points
        half = stats.t.ppf(0.975, 3) * stats.sem([1, 2, 3, 6])
        assert one.gains == (pytest.approx((3.0, half)),)
        assert one.best_epochs == ((2,) * 4, (5,) * 4)
        assert one.seconds == pytest.approx((10.1, 20.1))


def test_each_length_is_compared_with_the_one_before(make_convergence):
    convergence = make_convergence(times=(1, 2, 4), losses=["arcface"])
    outcome = made_up_outcome(convergence, lambda loss, times, *_: 0.5 + 0.01 * times)
    (gains,) = all_gains(outcome)
    assert [gain for gain, _ in gains.gains] == pytest.approx([1.0, 2.0])
    assert math.isnan(gains.gains[0][1])  # a single pair has no interval


def test_sentences_on_what_has_converged():
    gains = [
        gains_of("multi_similarity", "pair", (68.6, 68.5), (-0.1,)),
        gains_of("proxy_nca", "proxy", (66.2, 67.2), (1.0,)),
    ]
    assert list(sentences(gains, LENGTHS)) == [
        "By this measure the training runs of 48 epochs have converged: twice the epochs (96) "
        "raise the validation MAP@R of none of the 2 losses by more than 1 point; the differences "
        "range from -0.10 (Multi-Similarity) to +1.00 (Proxy-NCA) points.",
        "After 48 epochs the best proxy loss (Proxy-NCA, 66.20%) is 2.40 points below the best "
        "pair loss (Multi-Similarity, 68.60%), within 3 points of it.",
        "After 96 epochs the best proxy loss (Proxy-NCA, 67.20%) is 1.30 points below the best "
        "pair loss (Multi-Similarity, 68.50%), within 3 points of it.",
    ]


def test_sentences_on_what_still_gains():
    gains = [
        gains_of("hpl:arcface", "proxy", (70.0, 70.5), (0.5,)),
        gains_of("contrastive", "pair", (65.0, 74.0), (9.0,)),
        gains_of("cosface", "proxy", (60.0, 61.5), (1.5,)),
    ]
    first, *others = sentences(gains, (Length(2, 10), Length(3, 15)))
    assert first == (
        "By this measure not all training runs of 10 epochs have converged: 15 instead of 10 "
        "epochs raise the validation MAP@R of 2 of the 3 losses by more than 1 point: Contrastive "
        "(+9.00), CosFace (+1.50); the differences range from +0.50 (HPL on ArcFace) to +9.00 "
        "(Contrastive) points."
    )
    assert others[0].endswith("is 5.00 points above the best pair loss (Contrastive, 65.00%).")
    assert others[1].endswith("loss (Contrastive, 74.00%), not within 3 points of it.")


def test_without_numbers_nothing_has_converged():
    gains = [
        gains_of("proxy_nca", "proxy", (66.0, 66.5), (0.5,)),
        gains_of("arcface", "proxy", (math.nan, 66.5), (math.nan,)),
    ]
    first, second, _ = sentences(gains, LENGTHS)
    assert first.startswith("By this measure not all training runs of 48 epochs have converged")
    assert "none of the 2 losses" in first
    assert first.endswith(
        "the difference is +0.50 (Proxy-NCA) points; no number was measured for ArcFace."
    )
    assert second == (
        "After 48 epochs there is no pair loss in the table to compare the others with."
    )


def test_table_and_json_say_the_same(make_convergence):
    def score(loss, times, seed, fold):
        return 0.5 + 0.01 * seed + (0.02 * (times - 1) if loss == "contrastive" else 0)

    outcome = made_up_outcome(make_convergence(seeds=(0, 1)), score)
    text, (markdown, plain, picture) = write_convergence(outcome)
    assert markdown.parent == outcome.plan.report_folder
    assert text in markdown.read_text()
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()[2:4]]
    rest = ["2", "5", "10", "20"]
    assert rows == [
        ["Contrastive", "pair", "50.50 ±6.35", "52.50 ±6.35", "**+2.00 ±0.00**", *rest],
        ["HPL on Proxy-NCA", "proxy", "50.50 ±6.35", "50.50 ±6.35", "+0.00 ±0.00", *rest],
    ]
    loaded = json.loads(plain.read_text())
    assert loaded == json.loads(json.dumps(as_plain(outcome, all_gains(outcome))))
    assert loaded["converged"] == [False]
    assert [length["epochs"] for length in loaded["lengths"]] == [3, 6]
    assert loaded["lengths"][1]["best_proxy_minus_best_pair"] == pytest.approx(-2.0)
    assert [run["score"] for run in loaded["runs"][:3]] == pytest.approx([50, 50, 51])
    assert all(sentence in text for sentence in loaded["sentences"])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_every_training_has_a_line(make_convergence):
    outcome = made_up_outcome(
        make_convergence(losses=DEFAULT_LOSSES, seeds=(0, 1)),
        lambda loss, times, seed, fold: 0.5 + 0.1 * times + 0.1 * seed,
    )
    figure = convergence_curves(outcome, DEFAULT_LOSSES)
    assert len(figure.axes) == len(DEFAULT_LOSSES) == 11
    for axes in figure.axes:
        short, long = axes.lines
        assert short.get_xdata() == pytest.approx([100 / 3, 200 / 3, 100])
        assert short.get_ydata() == pytest.approx([10, 65, 20])
        assert long.get_xdata() == pytest.approx([100 * epoch / 6 for epoch in range(1, 7)])
        assert long.get_ydata() == pytest.approx([10, 10, 10, 10, 75, 20])
        assert short.get_alpha() < long.get_alpha() == 1
        assert short.get_color() == long.get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["3 epochs", "6 epochs"]


def test_command_line_end_to_end(small_dataset, tmp_path, capsys):
    out = tmp_path / "runs"
    arguments = ["converge", "small", "--losses", "proxy_nca", "triplet_margin"]
    arguments += ["--epochs", "1", "--out", str(out), "--set", "weight_decay=0.125"]
    assert main([*arguments, "--times", "1", "2"]) == 0
    printed = capsys.readouterr().out
    assert "weight_decay=0.125 for all losses" in printed
    assert "After 2 epochs the best proxy loss (Proxy-NCA, " in printed
    table = [line for line in printed.splitlines() if line.startswith("|")]
    assert " 1 epoch MAP@R |" in table[0]
    assert len({tuple(i for i, c in enumerate(line) if c == "|") for line in table}) == 1
    assert sorted(path.name for path in (out / "small").iterdir()) == [
        "convergence.json",
        "convergence.md",
        "convergence.png",
    ]
    result = out / "convergence" / "small" / "proxy_nca-x2" / "seed0_fold0" / "result.json"
    assert json.loads(result.read_text())["config"]["training"]["weight_decay"] == 0.125
    assert main([*arguments, "--times", "0", "1"]) == 2
    assert "--times must be integers of at least 1, got 0" in capsys.readouterr().err
