"""The ablations of several data sets together, from made-up runs."""

import json
import shutil

import pytest
from made_up_runs import made_up_result
from scipy import stats

from benchmarks.ablation.differences import TOGETHER
from benchmarks.ablation.earlier import continued, read_earlier
from benchmarks.ablation.picture import forest
from benchmarks.ablation.study import read_study, variants_of, write_study
from benchmarks.ablation.table import FINEST
from benchmarks.command_line import main
from benchmarks.files import DamagedFileError

VARIANTS = ("hpl:proxy_nca", "hpl:proxy_nca:warmup=0", "hpl_given:proxy_nca")
# the difference from the flat loss, a share
GAINS = {"hpl:proxy_nca": 0.01, "hpl:proxy_nca:warmup=0": -0.02, "hpl_given:proxy_nca": 0.0}


def write_run(folder, loss, seed, fold, value, epochs=8):
    result = made_up_result(loss, seed, fold, [value] * 2)
    training = {"epochs": epochs, "iterations_per_epoch": 60, "batch_size": 128}
    result["config"]["training"] = {**training, "learning_rate": 0.1}
    path = folder / loss.replace(":", "-") / f"seed{seed}_fold{fold}"
    path.mkdir(parents=True)
    (path / "result.json").write_text(json.dumps(result))


@pytest.fixture
def out(tmp_path):
    for name in ("glyphs", "omniglot"):
        folder = tmp_path / "runs/ablation" / name
        for seed in (0, 1):
            write_run(folder, "proxy_nca", seed, 0, 0.5 + 0.1 * seed)
            for loss in VARIANTS[: 3 if name == "glyphs" else 1]:
                write_run(folder, loss, seed, 0, 0.5 + 0.1 * seed + GAINS[loss])
        about = {
            "name": name,
            "level_names": ["class", "group"],
            "class_names": [["a", "b"], ["x"]],
            "untrained_name": "raw pixels",
        }
        (folder / "images.json").write_text(json.dumps(about))
    return tmp_path / "runs"


def test_all_data_sets_in_one_table(out, tmp_path):
    paths = write_study(read_study(out), tmp_path / "study", "the command")
    text = paths[0].read_text()
    lines = {line.split("|")[1].strip(): line for line in text.split("\n###")[1].splitlines()
             if line.startswith("|")}  # fmt: skip
    assert lines["discovered"].count("▲ **+1.00 ±0.00**") == 2
    assert lines["discovered"].split("|")[-2].strip() == "2 / 0"
    changed = [cell.strip() for cell in lines["discovered, warmup=0"].split("|")]
    assert changed[2:5] == ["▼ **-2.00 ±0.00**", "–", "0 / 1"]
    assert "+0.00 ±0.00" in lines["given"]
    assert lines["given"].split("|")[-2].strip() == "0 / 0"
    assert "8 epochs of 60 batches of 128" in text
    rows = json.loads(paths[1].read_text())["glyphs"]["rows"]
    assert [row["loss"] for row in rows] == ["proxy_nca", *VARIANTS[::2], VARIANTS[1]]
    assert paths[2].read_bytes().startswith(b"\x89PNG")


def test_references_alone_have_no_list_of_factors(out, tmp_path):
    study = read_study(out)
    assert "The factors:\n\n- `warmup`: " in write_study(study, tmp_path, "command")[0].read_text()
    shutil.rmtree(out / "ablation/glyphs" / VARIANTS[1].replace(":", "-"))
    text = write_study(read_study(out), tmp_path, "command")[0].read_text()
    assert "The factors" not in text


def test_every_variant_has_a_line_in_the_picture(out):
    studies = read_study(out)
    assert len(variants_of(studies)) == 3
    discovered, given = forest(studies).axes
    assert [label.get_text() for label in discovered.get_yticklabels()] == [
        "reference",
        "warmup = 0",
    ]
    assert [label.get_text() for label in given.get_yticklabels()] == ["reference"]
    left, right = discovered.get_xlim()
    assert left < -2 < 1 < right
    means = [bars[0].get_xdata().tolist() for bars in discovered.containers]
    assert means == [pytest.approx([1.0, -2.0]), pytest.approx([1.0])]


def arrowheads(axes):
    """Where the arrowheads are by their direction."""
    heads = [line for line in axes.lines if line.get_marker() in ("<", ">")]
    return {line.get_marker(): line.get_xdata()[0] for line in heads if len(line.get_xdata())}


def test_an_interval_that_goes_on_beyond_the_picture_has_an_arrowhead(out):
    write_run(out / "ablation/glyphs", "proxy_nca", 2, 0, 0.5)
    write_run(out / "ablation/glyphs", "hpl:proxy_nca", 2, 0, 0.6)
    discovered, given = forest(read_study(out)).axes
    assert arrowheads(discovered) == dict(zip("<>", discovered.get_xlim(), strict=True))
    assert arrowheads(given) == {}


def test_different_trainings_do_not_come_into_one_table(out):
    write_run(out / "ablation/glyphs", "proxy_nca", 2, 0, 0.5, epochs=2)
    with pytest.raises(
        ValueError, match=r"glyphs holds .* different training settings \(epochs differ\)"
    ):
        read_study(out)


def test_different_networks_do_not_come_into_one_table(out, tmp_path, capsys):
    path = write_study(read_study(out), tmp_path / "study", "the command")[1]
    for place in (out / "ablation/glyphs").glob("*/*/result.json"):
        result = json.loads(place.read_text())
        result["config"]["backbone"] = {"name": "resnet50"}
        place.write_text(json.dumps(result))
    assert main(["study", str(out), "--out", str(tmp_path / "both"), "--earlier", str(path)]) == 2
    assert "the training runs of glyphs differ from those of the earlier" in capsys.readouterr().err
    del result["config"]["backbone"]
    place.write_text(json.dumps(result))
    with pytest.raises(ValueError, match=r"different training settings \(backbone differ\)"):
        read_study(out)


def test_runs_of_a_loss_with_different_settings_are_not_pooled(out):
    path = out / "ablation/glyphs/proxy_nca/seed1_fold0/result.json"
    result = json.loads(path.read_text())
    result["config"]["loss_settings"] = {"arguments": {"softmax_scale": 2.0}}
    path.write_text(json.dumps(result))
    wrong = r"proxy_nca on fold 0 with different settings \(loss.*softmax_scale.* differ\)"
    with pytest.raises(ValueError, match=wrong):
        read_study(out)


def test_a_variant_without_a_flat_run_is_left_out(out):
    write_run(out / "ablation/omniglot", VARIANTS[1], 7, 0, 0.5)
    (omniglot,) = [study for study in read_study(out) if study.name == "omniglot"]
    assert [row.loss for row in omniglot.rows["proxy_nca"]] == ["proxy_nca", VARIANTS[0]]


def test_bad_input(tmp_path, out, capsys):
    assert main(["study", str(tmp_path / "nothing"), "--out", str(tmp_path / "study")]) == 2
    assert "holds no ablation: expected the --out folder of" in capsys.readouterr().err
    path = out / "ablation/glyphs/proxy_nca/seed0_fold0/result.json"
    path.write_text("{")
    with pytest.raises(DamagedFileError, match="seed0_fold0"):
        read_study(out)


def test_command(out, tmp_path, capsys):
    assert main(["study", str(out), "--out", str(tmp_path / "study")]) == 0
    assert "study.png" in capsys.readouterr().out


def test_a_study_is_read_again_as_it_was_written(out, tmp_path):
    studies = read_study(out)
    paths = write_study(studies, tmp_path / "study", "the command")
    again = write_study(read_earlier(paths[1]), tmp_path / "again", "the command")
    for one, other in zip(paths, again, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_rows_of_an_earlier_study_stay_unless_they_were_run_again(out, tmp_path):
    path = write_study(read_study(out), tmp_path / "study", "the command")[1]
    shutil.rmtree(out / "ablation/omniglot")
    for loss in VARIANTS[1:]:
        shutil.rmtree(out / "ablation/glyphs" / loss.replace(":", "-"))
    for seed in (0, 1):
        write_run(out / "ablation/glyphs", VARIANTS[1], seed, 0, 0.5 + 0.1 * seed - 0.03)
        write_run(out / "ablation/glyphs", "hpl:proxy_nca:warmup=0.5", seed, 0, 0.6 + 0.1 * seed)
        write_run(out / "ablation/glyphs", "proxy_anchor", seed, 0, 0.5)
    glyphs, omniglot = continued(read_earlier(path), read_study(out))
    means = {row.loss: round(row.values[FINEST][0], 9) for row in glyphs.rows["proxy_nca"]}
    assert means == {
        "proxy_nca": 55,
        "hpl:proxy_nca": 1,  # in both
        "hpl_given:proxy_nca": 0,  # earlier
        "hpl:proxy_nca:warmup=0": -3,  # again, with another result
        "hpl:proxy_nca:warmup=0.5": 10,  # now
    }
    assert [*means] == ["proxy_nca", *VARIANTS[::2], VARIANTS[1], "hpl:proxy_nca:warmup=0.5"]
    assert [row.loss for row in glyphs.rows["proxy_anchor"]] == ["proxy_anchor"]
    shutil.rmtree(out / "ablation/glyphs/hpl-proxy_nca-warmup=0/seed1_fold0")
    fewer, _ = continued(read_earlier(path), read_study(out))
    (row,) = [row for row in fewer.rows["proxy_nca"] if row.loss == VARIANTS[1]]
    assert (row.pairs, round(row.values[FINEST][0], 9)) == (2, -2)  # earlier: more pairs
    assert [row.loss for row in omniglot.rows["proxy_nca"]] == ["proxy_nca", VARIANTS[0]]


def test_an_earlier_study_of_other_trainings_is_refused(out, tmp_path, capsys):
    path = write_study(read_study(out), tmp_path / "study", "the command")[1]
    shutil.rmtree(out / "ablation/glyphs/proxy_nca")
    for folder in (out / "ablation/glyphs").glob("hpl*"):
        shutil.rmtree(folder)
    write_run(out / "ablation/glyphs", "proxy_nca", 0, 0, 0.5, epochs=2)
    command = ["study", str(out), "--out", str(tmp_path / "both"), "--earlier"]
    assert main([*command, str(path)]) == 2
    assert "the training runs of glyphs differ from those of the earlier" in capsys.readouterr().err
    content = json.loads(path.read_text())
    del content["glyphs"]["rows"][1]["minus_reference"]
    path.write_text(json.dumps(content))
    assert main([*command, str(path)]) == 2
    assert "study.json is damaged" in capsys.readouterr().err
    path.write_text(json.dumps({"glyphs": []}))
    assert main([*command, str(path)]) == 2
    assert "study.json is damaged (glyphs is a list)" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_an_earlier_study_of_other_levels_is_refused(out, tmp_path, capsys):
    path = write_study(read_study(out), tmp_path / "study", "the command")[1]
    about = json.loads((out / "ablation/glyphs/images.json").read_text())
    about |= {"level_names": ["class", "group", "kind"], "class_names": [["a"], ["x"], ["y"]]}
    (out / "ablation/glyphs/images.json").write_text(json.dumps(about))
    for result in (out / "ablation/glyphs").glob("*/*/result.json"):
        content = json.loads(result.read_text())
        of_group = content["validation"]["mean_average_precision_at_r_level1"]
        content["validation"]["mean_average_precision_at_r_level2"] = of_group
        result.write_text(json.dumps(content))
    both = tmp_path / "both"
    assert main(["study", str(out), "--out", str(both), "--earlier", str(path)]) == 2
    wanted = "the levels of glyphs differ from those of the earlier study: class, group, kind here"
    assert wanted in " ".join(capsys.readouterr().err.split())
    assert not both.exists()


def test_command_with_an_earlier_study(out, tmp_path):
    path = write_study(read_study(out), tmp_path / "study", "the command")[1]
    shutil.rmtree(out / "ablation/omniglot")
    both = tmp_path / "both"
    assert main(["study", str(out), "--earlier", str(path), "--out", str(both)]) == 0
    assert json.loads((both / "study.json").read_text()) == json.loads(path.read_text())


def test_a_variant_that_does_not_exist_any_more_is_left_out(out, tmp_path):
    path = write_study(read_study(out), tmp_path / "study", "the command")[1]
    path.write_text(path.read_text().replace("hpl:proxy_nca:warmup=0", "hpl:proxy_nca:warmup=x"))
    with pytest.warns(UserWarning, match="hpl:proxy_nca:warmup=x is not a variant"):
        glyphs, _ = read_earlier(path)
    assert [row.loss for row in glyphs.rows["proxy_nca"]] == ["proxy_nca", *VARIANTS[::2]]


def test_runs_of_another_version_are_left_out(out):
    write_run(out / "ablation/glyphs", "hpl:proxy_nca:warmup=x", 0, 0, 0.5)
    with pytest.warns(UserWarning, match="1 run in .*glyphs belongs to no variant"):
        glyphs, _ = read_study(out)
    assert [row.loss for row in glyphs.rows["proxy_nca"]] == [
        "proxy_nca",
        *VARIANTS[::2],
        VARIANTS[1],
    ]


def test_all_bases_of_an_earlier_study_are_left_out_when_there_is_one_more(out, tmp_path):
    for seed in (0, 1):
        write_run(out / "ablation/glyphs", "proxy_anchor", seed, 0, 0.3)
        write_run(out / "ablation/glyphs", "hpl:proxy_anchor", seed, 0, 0.32)
    path = write_study(read_study(out), tmp_path / "study", "the command")[1]
    shutil.rmtree(out / "ablation/glyphs")
    for seed in (0, 1):
        write_run(out / "ablation/glyphs", "arcface", seed, 0, 0.3)
        write_run(out / "ablation/glyphs", "hpl:arcface", seed, 0, 0.1)
    shutil.copy(out / "ablation/omniglot/images.json", out / "ablation/glyphs")
    glyphs, _ = continued(read_earlier(path), read_study(out))
    assert [*glyphs.rows] == ["arcface", "proxy_anchor", "proxy_nca", TOGETHER]
    # the others are of one base alone, as before
    assert [row.variant.name for row in glyphs.rows[TOGETHER]] == ["hpl_given", "hpl:warmup=0"]


def test_pairs_of_all_bases_together(out, tmp_path):
    for seed in (0, 1):
        write_run(out / "ablation/glyphs", "proxy_anchor", seed, 0, 0.3)
        write_run(out / "ablation/glyphs", "hpl:proxy_anchor", seed, 0, 0.32)
        write_run(out / "ablation/glyphs", VARIANTS[1].replace("nca", "anchor"), seed, 0, 0.3)
    glyphs, omniglot = read_study(out)
    assert [*glyphs.rows] == ["proxy_anchor", "proxy_nca", TOGETHER]
    assert [*omniglot.rows] == ["proxy_nca"]
    discovered, given, changed = glyphs.rows[TOGETHER]
    assert [row.pairs for row in (discovered, given, changed)] == [4, 2, 4]
    mean, half = discovered.values[FINEST]  # of 1, 1, 2 and 2 points
    deviation = stats.tstd([1, 1, 2, 2])
    assert (mean, half) == pytest.approx((1.5, stats.t.ppf(0.975, 3) * deviation / 2))
    assert changed.values[FINEST][0] == pytest.approx(-1)  # of -2, -2, 0 and 0
    assert changed.to_reference[FINEST][0] == pytest.approx(-2.5)
    text = write_study([glyphs, omniglot], tmp_path / "study", "the command")[0].read_text()
    assert "### All bases\n" in text
    # what counts how often a variant is surely better counts the bases alone
    (line,) = [line for line in text.split("\n###")[1].splitlines() if "| discovered " in line]
    assert line.split("|")[-2].strip() == "3 / 0"
    again = write_study(
        read_earlier(tmp_path / "study/study.json"), tmp_path / "again", "the command"
    )
    assert again[0].read_text() == text
