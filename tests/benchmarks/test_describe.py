from dataclasses import replace

import numpy as np
import pytest
from dataset_trees import build_inshop
from PIL import Image
from rich.console import Console
from small_data import make_small_data

from benchmarks.command_line import main
from benchmarks.datasets import look_at_dataset
from benchmarks.describe import SHEET_COLUMNS, describe, sample_rows, write_sample_sheet


@pytest.fixture
def data():
    return make_small_data()


def printed(data):
    console = Console(width=120, record=True)
    describe(data, console)
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def test_levels_classes_images_and_splits(data):
    lines = printed(data)
    assert lines[0] == "small: 256 images"
    assert "│ 0 │ class │ 32 │ 8 │ 8 │ 8 │" in lines
    assert "│ 2 │ kind │ 2 │ 128 │ 128 │ 128 │" in lines
    for fold in range(4):
        assert f"│ {fold} │ 96 (12) │ 32 (4) │ 128 (16) │" in lines


def test_halves_of_the_data_set(data):
    test_half = data.labels[:, 0] >= 24
    lines = printed(replace(data, test_half=test_half, left_out=("a.jpg", "b.jpg")))
    assert (
        lines[0]
        == "small: 256 images, 2 files left out: missing, broken or not pictures (first a.jpg)"
    )
    assert "│ 0 │ 144 (18) │ 48 (6) │ 64 (8) │" in lines
    gallery = test_half & (np.arange(256) % 64 >= 32)
    lines = printed(replace(data, test_half=test_half, gallery=gallery))
    assert "│ 0 │ 144 (18) │ 48 (6) │ 32 (8) │ 32 (8) │" in lines
    assert any("queries │ gallery" in line.replace("┃", "│") for line in lines)


def test_rows_show_as_many_classes_of_a_superclass_as_fit(data):
    rows = sample_rows(data)
    assert [name for name, _ in rows] == ["kind 0", "kind 1"]
    for number, (_, images) in enumerate(rows):
        assert len(images) == SHEET_COLUMNS
        assert set(data.labels[images, 2]) == {number}
        assert len(set(data.labels[images, 0])) == SHEET_COLUMNS
    narrow = replace(data, labels=data.labels[:, [0, 1]])
    rows = sample_rows(narrow)
    assert len(rows) == 8
    for _, images in rows:
        assert len(set(images)) == SHEET_COLUMNS
        assert len(set(data.labels[images, 0])) == 4  # all of them, and more of some


def test_a_level_of_one_class_is_no_row(data):
    labels = np.column_stack([data.labels, np.zeros(len(data.labels), dtype=int)])
    rows = sample_rows(replace(data, labels=labels))
    assert [name for name, _ in rows] == ["kind 0", "kind 1"]


def test_the_sheet_shows_the_pictures(data, tmp_path):
    red = replace(data, picture=lambda i: Image.new("RGB", (9, 9), "red"))
    write_sample_sheet(red, tmp_path / "new" / "samples.png")
    pixels = np.asarray(Image.open(tmp_path / "new" / "samples.png").convert("RGB"))
    share = (pixels == (255, 0, 0)).all(axis=-1).mean()
    assert 0.4 < share < 0.95


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "root"
    build_inshop(root)
    broken = root / "img/MEN/Denim/id_00000080/01_1_front.jpg"
    broken.write_bytes(b"")
    command = ["describe", "inshop", "--data-root", str(root), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert str(broken) in capsys.readouterr().err
    assert main([*command, "--skip-broken"]) == 0
    output = capsys.readouterr().out
    assert "13 images, 1 file left out: missing, broken or not pictures" in output
    assert (tmp_path / "out" / "inshop" / "samples.png").stat().st_size > 1000


def test_a_file_in_the_place_of_the_folder_is_refused_at_once(tmp_path, capsys):
    (tmp_path / "out").touch()
    assert main(["describe", "glyphs", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert f"--out: {tmp_path / 'out'} is not a folder: choose another place" in said.err
    assert not said.out


def write_classes(root, count, each):
    for name in "abcdefghijklmnop"[:count]:
        (root / name).mkdir(parents=True)
        for number in range(each):
            Image.new("RGB", (8, 8)).save(root / name / f"{number}.png")


@pytest.mark.parametrize(
    ("count", "each", "folds"), [(8, 2, "0 1 2 3"), (13, 2, "3"), (16, 1, "0 1 2 3")]
)
def test_what_run_has_against_a_folder_is_said(tmp_path, capsys, count, each, folds):
    write_classes(tmp_path / "shop", count, each)
    folder = ["folder", "--data-root", str(tmp_path / "shop"), "--out", str(tmp_path / "out")]
    assert main(["describe", *folder]) == 0
    said = " ".join(capsys.readouterr().out.split())
    reason = said.partition(f"`run` refuses --folds {folds}; `train` needs none: ")[2]
    data = look_at_dataset("folder", tmp_path / "shop")
    with pytest.raises(
        ValueError, match=r"to be searched for among 2 images of [12] class"
    ) as caught:
        data.check_accuracy(int(folds[0]))  # as `run` does
    assert reason.startswith(str(caught.value))


def test_of_a_folder_that_run_takes_nothing_is_said(tmp_path, capsys):
    write_classes(tmp_path / "shop", 16, 2)
    folder = ["--data-root", str(tmp_path / "shop"), "--out", str(tmp_path / "out")]
    assert main(["describe", "folder", *folder]) == 0
    assert "`run`" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "message"), [(5, "the 5 classes give 3"), (1, "1 class gives 1 for training")]
)
def test_a_folder_with_few_classes_is_shown_too(tmp_path, capsys, count, message):
    write_classes(tmp_path / "few", count, 1)
    folder = ["--data-root", str(tmp_path / "few"), "--out", str(tmp_path / "out")]
    assert main(["describe", "folder", *folder]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "too few classes for `run`" in said
    assert message in said
    assert (tmp_path / "out" / "folder" / "samples.png").exists()
