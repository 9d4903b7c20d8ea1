"""Reports from stored folders that no training wrote: small, and with numbers known beforehand."""

import json
import re
import shutil
from pathlib import Path

import html5lib
import numpy as np
import pytest

from benchmarks.command_line import main
from benchmarks.report import (
    embedding_map,
    figures,
    provenance,
    write_joint_report,
    write_report,
)
from benchmarks.report.blocks import Cell, Grid
from benchmarks.report.csv_files import results_table
from benchmarks.report.curves import curves_of
from benchmarks.report.folders import read_folders
from benchmarks.report.overview import overview_section
from benchmarks.report.section import dataset_section, result_grids
from benchmarks.results import collect, collect_concatenated, in_registry_order, metric_keys
from benchmarks.stored import read_stored
from benchmarks.thumbnails import THUMBNAILS_FILE, _encoded

LEVELS = ("species & kind", "group_<b>")
KEYS = metric_keys(len(LEVELS))
VALUES = {"proxy_anchor": 0.5, "contrastive": 0.4, "hpl:proxy_anchor": 0.52}


@pytest.fixture(autouse=True)
def quick_maps(monkeypatch):
    """UMAP takes a minute to compile; it has a test of its own."""
    monkeypatch.setattr(embedding_map, "project", lambda embeddings: embeddings[:, :2])


def make_store(folder: Path, values=VALUES, folds=range(4), dataset="small", epochs=3) -> Path:
    """A folder with the runs of some losses; fold ``f`` has ``value + f / 100`` in all metrics."""
    rng = np.random.default_rng(0)
    labels = np.stack([np.arange(30) % 6, np.arange(30) % 2], axis=1)
    for loss, value in values.items():
        for fold in folds:
            run = folder / loss.replace(":", "-") / f"seed0_fold{fold}"
            run.mkdir(parents=True)
            result = make_result(dataset, loss, fold, value + fold / 100, epochs + fold % 2)
            (run / "result.json").write_text(json.dumps(result))
            np.savez(
                run / "test.npz",
                test_embeddings=rng.normal(size=(30, 4)),
                test_labels=labels,
                test_indices=np.arange(100, 130),
            )
            pictures = np.zeros((2, 6, 8, 8, 3), np.uint8)
            np.savez(
                run / "retrievals.npz",
                neighbours=np.zeros((2, 5), int),
                query_labels=labels[:2],
                neighbour_labels=np.stack([labels[:5], labels[:5]]),
                pictures=pictures,
            )
            if ":" in loss:
                np.savez(
                    run / "tree.npz",
                    class_labels=labels[:6],
                    superclasses=np.array([[0, 1, 0, 1, 0, 2]]),
                    shown=np.array([0, 1, 2, 5]),
                    pictures=pictures[0, :4],
                    history=np.zeros((0, 1, 6), int),
                    is_given=np.array([False]),
                    counts=np.full(6, 10),
                    sample_classes=np.zeros(0, int),
                    samples=np.zeros(0, np.uint8),
                    sample_ends=np.zeros(0, int),
                )
        test = dict.fromkeys(KEYS, value + 0.1)
        content = {"loss": loss, "seed": 0, "folds": list(folds), "test": test}
        content["embedding_size"] = 16
        path = folder / loss.replace(":", "-") / "concatenated_seed0.json"
        path.write_text(json.dumps(content))
    red = _encoded(np.full((64, 64, 3), (255, 0, 0), np.uint8))
    np.savez(
        folder / THUMBNAILS_FILE,
        indices=np.arange(100, 130),
        content=np.frombuffer(red * 30, np.uint8),
        ends=len(red) * np.arange(1, 31),
    )
    about = {
        "name": dataset,
        "title": dataset,
        "level_names": LEVELS,
        "class_names": [[f"class {i}" for i in range(6)], ["even", "odd"]],
        "untrained_name": "raw features",
        "untrained": {str(fold): dict.fromkeys(KEYS, 0.3) for fold in folds},
    }
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def make_result(dataset, loss, fold, value, epochs):
    config = {
        "dataset": dataset,
        "loss": loss,
        "loss_settings": {"margin": 0.1},
        "seed": 0,
        "fold": fold,
        "training": {"epochs": 3, "iterations_per_epoch": 10, "learning_rate": 0.01},
    }
    validation = {key: list(np.linspace(0.1, value, epochs)) for key in KEYS}
    return {
        "config": config,
        "environment": {
            "commit": "abc",
            "versions": {"torch": "2"},
            "python": "3",
            "machine": "x86_64",
            "threads": 1,
            "device": "cpu",
        },
        "seconds": 2.0 * epochs,
        "epoch_seconds": [2.0 * (epoch + 1) for epoch in range(epochs)],
        "validation": {"epoch": list(range(1, epochs + 1)), **validation},
        "num_images": {"train": 100, "val": 20, "test": 30},
        "num_left_out": 0,
        "best_epoch": epochs,
        "test": dict.fromkeys(KEYS, value),
        "training_loss": {
            "~iteration~": list(range(0, 10 * epochs, 5)),
            "total_loss": [3.0] * (2 * epochs),
        },
    }


@pytest.fixture
def stored(tmp_path):
    return read_stored(make_store(tmp_path / "runs" / "small"))


def test_losses_are_shown_over_the_folds_that_all_of_them_have(tmp_path, monkeypatch):
    """In the tables, the pictures and results.csv; differences count all pairs."""
    folder = make_store(tmp_path / "small")
    for fold in (2, 3):
        shutil.rmtree(folder / "contrastive" / f"seed0_fold{fold}")
    stored = read_stored(folder)
    summary = collect(stored)
    means = {"proxy_anchor": 50.5, "contrastive": 40.5, "hpl:proxy_anchor": 52.5}
    table = results_table({"small": summary})
    rows = table[table["key"] == KEYS[0]].set_index(["loss", "minus"])
    assert rows.loc[[(loss, "") for loss in means], "runs"].tolist() == [2, 2, 2]
    assert rows.loc[("hpl:proxy_anchor", "proxy_anchor"), "runs"] == 4
    drawn = {}
    for name in ("training_curves", "accuracy_by_level"):
        monkeypatch.setattr(figures, name, lambda *given, name=name: drawn.update({name: given}))
    monkeypatch.setattr(figures, "as_pngs", lambda figure: (b"", b""))
    section = dataset_section(stored, summary, "small")
    assert "training" in [getattr(block, "name", "") for block in section.blocks]
    curves = curves_of(*drawn["training_curves"])
    assert {loss: curve.accuracy[-1] for loss, curve in curves.items()} == pytest.approx(means)
    (bars,) = drawn["accuracy_by_level"]
    assert {loss: bars.values(loss, KEYS[0]).mean() for loss in means} == pytest.approx(means)


def grids(stored):
    return {grid.title: grid for grid in result_grids(stored, collect(stored))}


def cells(row):
    return [cell.text for cell in row.cells]


def test_numbers_are_those_of_the_files_sorted_by_score(stored):
    found = grids(stored)
    rows = {row.key or row.name: cells(row) for row in found["Results"].rows}
    assert list(rows) == ["hpl:proxy_anchor", "proxy_anchor", "contrastive", "(raw features)"]
    names = [row.name for row in found["Results"].rows]
    assert names == ["HPL on Proxy-Anchor", "Proxy-Anchor", "Contrastive", "(raw features)"]
    # 40, 41, 42, 43: the mean, and 3.182 standard errors of 0.645
    assert rows["contrastive"] == ["41.5 ±2.1"] * 6 + ["7"]
    assert rows["(raw features)"] == ["30.0"] * 6 + ["–"]
    (difference,) = found["Differences to the base loss"].rows
    assert cells(difference) == ["+2.0 ±0.0"] * 6


def test_concatenated_and_separated_are_two_tables(stored):
    found = grids(stored)
    rows = {row.key: cells(row) for row in found["Concatenated"].rows}
    assert rows["contrastive"] == ["50.0"] * 6
    assert list(rows) == ["hpl:proxy_anchor", "proxy_anchor", "contrastive"]
    assert "Separated: " in found["Results"].note
    assert "Do not compare them with the separated" in found["Concatenated"].note
    assert set(collect_concatenated(stored).losses) == set(rows)


def test_without_all_folds_there_is_no_concatenated_table(tmp_path):
    folder = make_store(tmp_path / "small", folds=[0])
    for path in folder.glob("*/concatenated*"):
        path.unlink()
    found = grids(read_stored(folder))
    assert "Concatenated" not in found
    assert "±" not in "".join(text for row in found["Results"].rows for text in cells(row))
    assert "single draw" in found["Differences to the base loss"].note


def test_settings_that_differ_are_shown_and_runs_that_do_not_match_are_named(tmp_path):
    folder = make_store(tmp_path / "small")
    path = folder / "contrastive" / "seed0_fold1" / "result.json"
    result = json.loads(path.read_text())
    result["config"]["training"]["learning_rate"] = 0.5
    path.write_text(json.dumps(result))
    (folder / "proxy_anchor" / "seed0_fold3" / "result.json").unlink()
    stored = read_stored(folder)
    settings = provenance.settings_grid(stored, collect(stored))
    rows = [cells(row) for row in settings.rows if row.key == "contrastive"]
    assert [row[0] for row in rows] == ["contrastive"] * 2  # its name on the command line
    assert "learning_rate=0.5" in rows[1]
    assert "learning rate" not in settings.note
    text = provenance.warnings(stored)
    assert any("results and ranks are over those that all losses have" in line for line in text)
    assert any("same settings: Contrastive" in line for line in text)


def test_other_lengths_of_training_are_named(tmp_path):
    folder = make_store(tmp_path / "small")
    for path in (folder / "contrastive").glob("*/result.json"):
        result = json.loads(path.read_text())
        result["config"]["training"] |= {"epochs": 77, "learning_rate": 0.5}
        path.write_text(json.dumps(result))
    text = provenance.warnings(read_stored(folder))
    assert "Not all losses were trained alike (epochs)." in text


def test_models_of_the_warm_up_are_counted(tmp_path):
    folder = make_store(tmp_path / "small")
    assert not provenance.early_models(read_stored(folder))
    files = sorted(folder.glob("hpl-proxy_anchor/*/result.json"))
    for number, path in enumerate(files):
        result = json.loads(path.read_text())
        result["config"]["loss_settings"]["warmup"] = 2 * 60
        result["config"]["training"]["iterations_per_epoch"] = 60
        result["best_epoch"] = 2 if number == 0 else 3
        path.write_text(json.dumps(result))
    (line,) = provenance.early_models(read_stored(folder))
    assert line.startswith(
        f"In 1 of {len(files)} runs of HPL on Proxy-Anchor the best epoch lies in"
    )


def test_without_models_of_the_warm_up_that_is_said(tmp_path):
    folder = make_store(tmp_path / "small")
    for path in folder.glob("hpl-proxy_anchor/*/result.json"):
        result = json.loads(path.read_text())
        result["config"]["loss_settings"]["warmup"] = 2
        path.write_text(json.dumps(result))
    (line,) = provenance.early_models(read_stored(folder))
    assert line == "Selected epochs inside the warm-up of a hierarchical loss: none of 4."


@pytest.mark.parametrize(("epochs", "is_short"), [(3, True), (192, False)])
def test_what_short_trainings_cannot_show(tmp_path, epochs, is_short):
    folder = make_store(tmp_path / "glyphs", dataset="glyphs")
    for path in folder.glob("*/*/result.json"):
        result = json.loads(path.read_text())
        result["config"]["training"]["epochs"] = epochs
        path.write_text(json.dumps(result))
    stored = read_stored(folder)
    text = "\n".join(p.read_text() for p in write_report(stored, collect(stored))[:1])
    assert ("short training runs of 3 epochs, 2% of the full 192" in text) == is_short
    assert ("not which loss is best" in text) == is_short


def test_metrics_over_all_levels_stand_beside_those_of_each(tmp_path):
    folder = make_store(tmp_path / "small", epochs=1)
    severities = {"contrastive": 1.9, "proxy_anchor": 1.5, "hpl:proxy_anchor": 1.25}
    for path in [*folder.glob("*/*/result.json"), *folder.glob("*/concatenated*.json")]:
        content = json.loads(path.read_text())
        loss = content.get("loss") or content["config"]["loss"]
        content["test"] |= {"hierarchical_average_precision": 0.4, "average_set_intersection": 0.3}
        content["test"]["mistake_severity"] = severities[loss]
        path.write_text(json.dumps(content))
    stored = read_stored(folder)
    found = grids(stored)
    for title in ("Results", "Differences to the base loss", "Concatenated"):
        columns = [name for group, name in found[title].columns if group == "all levels"]
        assert columns == ["H-AP", "ASI", "severity ↓"]
    rows = {row.key or row.name: row.cells for row in found["Results"].rows}
    assert [cell.text for cell in rows["contrastive"][6:9]] == [
        "40.0 ±0.0",
        "30.0 ±0.0",
        "1.90 ±0.00",
    ]
    assert [cell.text for cell in rows["(raw features)"][6:9]] == ["–"] * 3
    # lower is better
    assert [loss for loss, row in rows.items() if row[8].is_best] == ["hpl:proxy_anchor"]
    (difference,) = found["Differences to the base loss"].rows
    assert difference.cells[8] == Cell("-0.25 ±0.00", is_best=True, value=-0.25, trend=1)
    ranks = {row.key: cells(row) for row in found["Ranks"].rows}
    assert ranks["hpl:proxy_anchor"][2] == "9 of 9"
    assert ranks["proxy_anchor"][2] == "2 of 9"  # H-AP and ASI, which are equal
    joint = overview_section({"a": collect(stored), "b": collect(stored)})
    (grid,) = (b for b in joint.blocks if b.__class__ is Grid and b.title.startswith("Diff"))
    assert [name for _, name in grid.columns] == 2 * [
        "P@1",
        "RP",
        "MAP@R",
        "H-AP",
        "ASI",
        "severity ↓",
    ]
    assert grid.rows[0].cells[5] == difference.cells[8]


def test_missing_metric_is_a_dash(tmp_path):
    folder = make_store(tmp_path / "small")
    for path in folder.glob("contrastive/*/result.json"):
        result = json.loads(path.read_text())
        del result["test"][KEYS[0]]
        path.write_text(json.dumps(result))
    rows = {row.key: row.cells for row in grids(read_stored(folder))["Results"].rows}
    assert rows["contrastive"][0].text == "–"
    assert not rows["contrastive"][0].is_best
    assert rows["hpl:proxy_anchor"][0].is_best


def test_report_of_a_data_set(stored):
    written = write_report(stored, collect(stored))
    names = ["report.md", "report.html", "tables.tex", "results.csv", "runs.csv"]
    assert [path.name for path in written] == names
    assert {path.parent for path in written} == {stored.folder}
    markdown, page = (path.read_text() for path in written[:2])
    names = ["training", "levels", "gain", "embeddings", "tree", "retrievals"]
    assert re.findall(r"!\[.*\]\((.*)\)", markdown) == [f"figures/{name}.png" for name in names]
    assert all((stored.folder / "figures" / f"{name}.png").stat().st_size for name in names)
    check_page(written[1], pictures=4, plots=5)
    assert "group_&lt;b&gt;" in page


def check_page(path: Path, pictures: int, plots: int) -> None:
    """It is valid HTML that needs no other file, and its links lead somewhere.

    Of each picture there is one for light and one for dark pages.
    """
    page = path.read_text()
    page = re.sub(r"<script.*?</script>", "<script></script>", page, flags=re.DOTALL)
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    tree = parser.parse(page)
    assert parser.errors == []
    images = [image.get("src") for image in tree.iter("img")]
    dark = [source.get("srcset") for source in tree.iter("source")]
    assert len(images) == len(dark) == pictures
    assert all(re.match("data:image/(png|webp);base64,", source) for source in images + dark)
    assert len(set(images + dark)) > pictures
    assert len([element for element in tree.iter() if element.get("data-root-id")]) == plots
    assert not any(script.get("src") for script in tree.iter("script"))
    assert not list(tree.iter("link"))
    anchors = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(anchors) == len(set(anchors))
    links = list(tree.iter("a"))
    files = [link.get("download") for link in links if link.get("href").startswith("data:text/csv")]
    assert files == ["results.csv", "runs.csv"]
    targets = [link.get("href") for link in links if link.get("download") is None]
    assert targets
    for target in targets:
        inside = target.startswith("#") and target[1:] in anchors
        assert inside or (path.parent / target).is_file(), target  # a page of a tree


def test_joint_report_finds_the_folders_and_keeps_their_pictures_apart(tmp_path):
    runs = tmp_path / "runs"
    make_store(runs / "small")
    make_store(runs / "cub", dataset="cub", values={**VALUES, "cosface": 0.6})
    (runs / "notes").mkdir()
    written = write_joint_report([runs, runs / "cub"], tmp_path / "joint")
    markdown, _, latex, _, _ = (path.read_text() for path in written)
    check_page(written[1], pictures=9, plots=10)
    pictures = re.findall(r"!\[.*\]\((.*)\)", markdown)
    assert len(pictures) == len(set(pictures)) == 13
    assert all((tmp_path / "joint" / name).exists() for name in pictures)
    assert (
        markdown.index("## All data sets") < markdown.index("## cub") < markdown.index("## small")
    )
    assert "CosFace" in markdown
    assert "cosface" in markdown  # its name on the command line
    assert latex.count(r"\begin{table*}") == 4  # differences, two data sets, beside the paper
    assert not (runs / "cub" / "report.html").exists()


def test_one_data_set_twice_is_told_apart_by_its_place(tmp_path):
    folders = [make_store(tmp_path / name / "small") for name in ("first", "second")]
    names = [f"small ({tmp_path / name})" for name in ("first", "second")]
    assert list(read_folders([*folders, folders[0]])) == names
    assert list(read_folders(folders[:1])) == ["small"]


def test_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no runs"):
        write_joint_report([tmp_path], tmp_path / "joint")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nothing"):
        write_joint_report([tmp_path / "nothing"], tmp_path / "joint")
    assert not (tmp_path / "joint").exists()


@pytest.mark.parametrize("out", ["file", "file/report"])
def test_a_place_that_is_no_folder_is_refused_first(tmp_path, capsys, out):
    (tmp_path / "file").touch()
    command = ["report", str(make_store(tmp_path / "small")), "--out", str(tmp_path / out)]
    assert main(command) == 2
    assert f"{tmp_path}/file is not a folder: choose another place" in capsys.readouterr().err


def test_order_of_the_registry():
    names = ["unknown", "hpl_given:proxy_anchor", "hpl:cosface", "hpl:proxy_anchor", "arcface"]
    assert in_registry_order(names, str) == [
        "arcface",
        "hpl:proxy_anchor",
        "hpl:cosface",
        "hpl_given:proxy_anchor",
        "unknown",
    ]


def test_two_folders_of_one_name_beside_one_another_are_both_there(tmp_path):
    folders = [make_store(tmp_path / name) for name in ("first", "second")]
    parent = f"small ({tmp_path})"
    assert list(read_folders(folders)) == [f"{parent} ({folder})" for folder in folders]
