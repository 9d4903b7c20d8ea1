"""What all data sets of photographs have in common."""

from dataclasses import replace

import numpy as np
import pytest
from dataset_trees import BUILDERS, MEAN_COLOUR, write_image
from PIL import Image

from benchmarks.datasets import DATASETS, features, load_dataset, look_at_dataset
from benchmarks.datasets.base import NUM_FOLDS
from benchmarks.datasets.features import load_photographs
from benchmarks.settings import SETTINGS
from pml_hierarchical import Hierarchy


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=BUILDERS)
def name(request):
    return request.param


@pytest.fixture
def root(name, tmp_path):
    root = tmp_path / name
    root.mkdir()
    BUILDERS[name](root)
    return root


def test_levels_are_nested_and_numbered_without_gaps(name, root):
    data = look_at_dataset(name, root)
    assert data.name == name
    assert data.labels.dtype == np.int64
    assert data.labels.shape == (len(data.files), len(data.level_names))
    for column, names in zip(data.labels.T, data.class_names, strict=True):
        assert sorted(set(column)) == list(range(len(names)))
        assert len(set(names)) == len(names)
    for finer, coarser in zip(data.labels.T, data.labels.T[1:], strict=False):
        assert len(set(zip(finer, coarser, strict=True))) == finer.max() + 1
    Hierarchy.from_labels(data.labels[:, [0, -1]])


def test_a_class_is_in_one_part_only(name, root):
    data = look_at_dataset(name, root)
    for fold in range(NUM_FOLDS):
        split = data.split(fold)
        evaluated = split.test if split.gallery is None else [*split.test, *split.gallery]
        parts = [set(data.labels[part, 0]) for part in (split.train, split.val, evaluated)]
        assert all(parts)
        assert sum(map(len, parts)) == len(set.union(*parts)) == data.labels[:, 0].max() + 1
        assert len(split.train) + len(split.val) + len(evaluated) == len(data.labels)


def test_features_belong_to_their_pictures(name, root):
    data = load_photographs(look_at_dataset(name, root), backbone=MEAN_COLOUR)
    colours = [np.asarray(data.picture(i)).mean(axis=(0, 1)) / 255 for i in range(len(data.labels))]
    np.testing.assert_allclose(data.inputs.numpy(), colours, atol=0.02)
    assert len(np.unique(data.inputs.numpy().round(3), axis=0)) == len(data.labels)


def test_features_are_kept_block_by_block(name, root, monkeypatch):
    photographs = look_at_dataset(name, root)
    whole = load_photographs(photographs, backbone=MEAN_COLOUR)
    monkeypatch.setattr(features, "FILES_PER_BLOCK", 5)
    read = []

    def counting(images, *args):
        read.append(len(images))
        if len(read) == 2:
            raise KeyboardInterrupt
        return original(images, *args)

    original = features.extract_features
    monkeypatch.setattr(features, "extract_features", counting)
    with pytest.raises(KeyboardInterrupt):
        load_photographs(photographs, backbone=MEAN_COLOUR)
    blocks = load_photographs(photographs, backbone=MEAN_COLOUR)
    assert read[:3] == [5, 5, 5]
    assert sum(read) == len(photographs.files) + 5  # the first block was not read again
    np.testing.assert_array_equal(blocks.untrained, whole.untrained)


def test_a_missing_image_is_named(name, root):
    gone = look_at_dataset(name, root).files[3]
    gone.unlink()
    if name == "folder":  # it has no list by which something could be missing
        assert gone not in look_at_dataset(name, root).files
        return
    with pytest.raises(FileNotFoundError, match=r"1 of .* images .*1 missing.*--skip") as error:
        load_dataset(name, root)
    assert str(gone) in str(error.value)


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_broken_image_is_named(name, root, damage):
    broken = look_at_dataset(name, root).files[4]
    Image.effect_noise((64, 64), 50).save(broken)
    content = broken.read_bytes()
    cut = content[: len(content) * 3 // 4]  # its header is whole
    broken.write_bytes({"cut": cut, "empty": b"", "text": b"<html>404"}[damage])
    with pytest.raises(OSError, match=r"1 of .* \(0 missing\).*--skip-broken") as error:
        look_at_dataset(name, root)
    assert str(broken) in str(error.value)


def test_skip_broken_counts_and_leaves_out(name, root):
    whole = look_at_dataset(name, root)
    gone, broken = whole.files[1], whole.files[-1]
    gone.unlink()
    broken.write_bytes(b"nothing")
    data = look_at_dataset(name, root, skip_broken=True)
    left_out = {str(broken)} if name == "folder" else {str(gone), str(broken)}
    assert set(data.left_out) == left_out
    kept = [i for i, file in enumerate(whole.files) if file not in (gone, broken)]
    assert data.files == tuple(whole.files[i] for i in kept)
    for one, other in zip(whole.labels.T, data.labels.T, strict=True):
        assert len(set(zip(one[kept], other, strict=True))) == other.max() + 1
    for mask in ("test_half", "gallery"):
        if getattr(whole, mask) is not None:
            np.testing.assert_array_equal(getattr(whole, mask)[kept], getattr(data, mask))
    for one, other in enumerate(kept):
        assert data.picture(one).tobytes() == whole.picture(other).tobytes()


def test_a_restored_image_is_seen_although_the_check_is_remembered(name, root):
    file = sorted(root.rglob("*.[jJ][pP][gG]"))[0]
    content = file.read_bytes()
    file.write_bytes(bytes(len(content)))
    assert look_at_dataset(name, root, skip_broken=True).left_out == (str(file),)
    file.write_bytes(content)
    assert not look_at_dataset(name, root).left_out


def test_an_image_that_breaks_after_the_check_is_named(name, root):
    photographs = look_at_dataset(name, root)
    file = photographs.files[-1]
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(OSError, match=r"cannot be (read|used)") as error:
        load_photographs(photographs, backbone=MEAN_COLOUR)
    assert str(file) in str(error.value)


def test_a_class_without_images_left_is_gone(name, root):
    whole = look_at_dataset(name, root)
    victim = whole.labels[0, 0]
    for i in np.flatnonzero(whole.labels[:, 0] == victim):
        whole.files[i].write_bytes(b"nothing")
    data = look_at_dataset(name, root, skip_broken=True)
    assert set(data.class_names[0]) == set(whole.class_names[0]) - {whole.class_names[0][victim]}


def test_nothing_left(name, root):
    for file in look_at_dataset(name, root).files:
        file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"no image is left: .*: replace them$"):
        look_at_dataset(name, root, skip_broken=True)


@pytest.mark.parametrize("given", [None, "nowhere", "empty"])
def test_without_the_data_set_it_says_what_to_put_where(name, tmp_path, given):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError) as error:
        load_dataset(name, given and tmp_path / given)
    message = str(error.value)
    assert (f"{name} needs a --data-root" if given is None else str(tmp_path / given)) in message
    assert DATASETS[name].layout.expected in message


def test_it_can_be_run(name):
    assert SETTINGS[name].batch_size >= 64


EDITED = {
    "blank line at the end": lambda content: content + b"\n\n",
    "blank line of Windows": lambda content: content + b"\r\n  \r\n",
    "no line end": bytes.rstrip,
    "line ends of Windows": lambda content: content.replace(b"\n", b"\r\n"),
    "byte order mark": lambda content: b"\xef\xbb\xbf" + content,
}


@pytest.mark.parametrize("edit", EDITED.values(), ids=EDITED)
def test_lists_that_an_editor_saved_are_read_as_before(name, root, edit):
    whole = look_at_dataset(name, root)
    for pattern in ("*.txt", "*.csv", "*.json"):
        for file in root.rglob(pattern):
            file.write_bytes(edit(file.read_bytes()))
    data = look_at_dataset(name, root)
    assert data.files == whole.files
    assert data.class_names == whole.class_names
    np.testing.assert_array_equal(data.labels, whole.labels)


def test_an_archive_as_data_root_says_to_extract_it(name, tmp_path):
    file = tmp_path / "data.zip"
    file.write_bytes(b"PK")
    with pytest.raises(NotADirectoryError, match=r"data\.zip is a file .*extract it"):
        load_dataset(name, file)


def test_other_pictures_labels_or_halves_are_another_data_set(name, root):
    def load():
        return load_photographs(look_at_dataset(name, root), backbone=MEAN_COLOUR)

    data = load()
    fingerprint = data.fingerprint()
    for file in data_files(root):  # a copy has other times
        file.touch()
    assert load().fingerprint() == fingerprint
    halves = ~np.arange(len(data.labels)).astype(bool)
    for changes in ({"labels": data.labels[::-1]}, {"test_half": halves}, {"gallery": halves}):
        assert replace(data, **changes).fingerprint() != fingerprint
    write_image(look_at_dataset(name, root).files[0], seed=[1, 2, 3])
    assert load().fingerprint() != fingerprint


def data_files(root):
    return [path for path in root.rglob("*") if path.is_file()]
