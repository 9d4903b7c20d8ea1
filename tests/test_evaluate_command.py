"""``pml-hierarchical evaluate`` and the files that it reads."""

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

from benchmarks.command_line import main
from benchmarks.evaluation import input_files
from pml_hierarchical import Hierarchy
from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator

CPU = torch.device("cpu")


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    fine = np.concatenate([np.arange(12), rng.integers(0, 12, 88)])
    labels = np.stack([fine, fine // 4], axis=1)
    return rng.standard_normal((100, 6)).astype(np.float32), labels


@pytest.fixture
def folder(sample, tmp_path):
    embeddings, labels = sample
    both = {"embeddings": embeddings, "labels": labels}
    np.save(tmp_path / "e.npy", embeddings)
    np.save(tmp_path / "l.npy", labels)
    np.save(tmp_path / "fine.npy", labels[:, 0])
    np.savez(tmp_path / "both.npz", **both)
    np.savez_compressed(tmp_path / "small.npz", **both)
    torch.save({key: torch.from_numpy(value) for key, value in both.items()}, tmp_path / "both.pt")
    torch.save(torch.from_numpy(embeddings), tmp_path / "e.pt")
    tree = Hierarchy.from_labels(labels).to_dict()
    (tmp_path / "tree.json").write_text(json.dumps(tree))
    return tmp_path


def status_of(folder, command):
    return main(["evaluate", "--device", "cpu", *command.replace("@", f"{folder}/").split()])


def evaluate(folder, command):
    assert status_of(folder, command) == 0


def result(folder, command):
    evaluate(folder, f"{command} --output @out/result.json")
    return json.loads((folder / "out" / "result.json").read_text())


COMMANDS = [
    "--embeddings @e.npy --labels @l.npy",
    "--embeddings @e.pt --labels @l.npy",
    "--embeddings @both.npz",
    "--embeddings @small.npz",
    "--embeddings @both.pt",
    "--embeddings @e.npy --labels @both.npz",
    "--embeddings @e.npy --labels @fine.npy --hierarchy @tree.json",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_same_from_every_kind_of_file(folder, sample, command):
    embeddings, labels = sample
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    ours = HierarchicalAccuracyCalculator(exclude=("NMI", "AMI"), device="cpu")
    expected = ours.get_accuracy(unit, labels)
    found = result(folder, command)
    assert found["metrics"] == pytest.approx(expected, abs=1e-6)
    assert found["num_queries"] == found["num_references"] == 100
    assert found["queries_without_partner"] == [0, 0]


def test_table(folder, capsys):
    evaluate(folder, "--embeddings @both.npz --include ndcg precision_at_1")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["metric", "level", "0", "level", "1", "hierarchy"]
    assert [len(line.split()) for line in lines[1:3]] == [2, 3]
    end_of = {line.split()[0]: len(line) for line in lines}  # the columns are aligned on the right
    assert end_of["ndcg"] == end_of["metric"]
    assert end_of["precision_at_1"] == lines[0].index("level 1") + len("level 1")


def test_table_of_a_single_level(folder, capsys):
    evaluate(folder, "--embeddings @e.npy --labels @fine.npy --include ndcg precision_at_1")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["metric", "level", "0"]
    assert [line.split()[0] for line in lines[1:3]] == ["ndcg", "precision_at_1"]
    assert {len(line) for line in lines} == {len(lines[0])}
    assert all(len(line.split()) == 2 for line in lines[1:3])


def test_table_without_metrics_of_the_hierarchy(folder, capsys):
    evaluate(folder, "--embeddings @both.npz --include precision_at_1")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["metric", "level", "0", "level", "1"]
    assert len(lines[0]) == len(lines[1])


def test_gallery(folder, sample):
    embeddings, labels = sample
    np.savez(folder / "query.npz", embeddings=embeddings[:30], labels=labels[:30])
    np.save(folder / "gallery.npy", embeddings[30:])
    np.save(folder / "gl.npy", labels[30:])
    command = "--embeddings @query.npz --gallery @gallery.npy --gallery-labels @gl.npy"
    found = result(
        folder, f"{command} --distance euclidean --include r_precision --k max_bin_count"
    )
    ours = HierarchicalAccuracyCalculator(include=("r_precision",), device="cpu")
    expected = ours.get_accuracy(embeddings[:30], labels[:30], embeddings[30:], labels[30:])
    assert found["metrics"] == pytest.approx(expected)
    assert (found["num_queries"], found["num_references"]) == (30, 70)


@pytest.mark.parametrize("suffix", ["npz", "pt"])
def test_a_gallery_in_the_file_of_the_queries(folder, sample, capsys, suffix):
    embeddings, labels = sample
    ours = HierarchicalAccuracyCalculator(include=("r_precision",), device="cpu")

    def write(num, **others):
        arrays = {"test_embeddings": embeddings[:num], "test_labels": labels[:num], **others}
        if suffix == "npz":
            np.savez(folder / "test.npz", **arrays)
        else:
            torch.save({k: torch.tensor(v) for k, v in arrays.items()}, folder / "test.pt")

    command = f"--embeddings @test.{suffix} --include r_precision --distance euclidean"
    write(30, gallery_embeddings=embeddings[30:], gallery_labels=labels[30:])
    found = result(folder, command)
    expected = ours.get_accuracy(embeddings[:30], labels[:30], embeddings[30:], labels[30:])
    assert found["metrics"] == pytest.approx(expected)
    assert (found["num_queries"], found["num_references"]) == (30, 70)
    write(30, gallery_embeddings=embeddings)  # the queries first, and labels of their own
    expected = ours.get_accuracy(embeddings[:30], labels[:30], embeddings, labels, True)
    command = f"{command} --gallery-labels @l.npy"
    assert result(folder, f"{command} --gallery-includes-queries")["metrics"] == (
        pytest.approx(expected)
    )
    result(folder, command)
    assert "give --gallery-includes-queries" in capsys.readouterr().err


def test_options_reach_the_calculator(folder):
    base = "--embeddings @both.npz"
    plain = result(folder, f"{base} --include r_precision ndcg")["metrics"]
    for option in ("--avg-of-avgs", "--distance dot", "--distance manhattan", "--k 1"):
        assert result(folder, f"{base} --include r_precision ndcg {option}")["metrics"] != plain
    assert set(result(folder, f"{base} --include r_precision ndcg --exclude ndcg")["metrics"]) == {
        "r_precision_level0",
        "r_precision_level1",
    }
    assert "recall_at_3_level0" in result(folder, f"{base} --at-k 3 --block-size 7")["metrics"]
    assert "NMI_level0" in result(folder, f"{base} --clustering")["metrics"]


def test_clusters_are_those_of_the_calculator_without_a_warning_of_faiss(folder, sample, capfd):
    found = result(folder, "--embeddings @both.npz --clustering --include NMI AMI --distance dot")
    assert capfd.readouterr().err == ""
    ours = HierarchicalAccuracyCalculator(include=("NMI", "AMI"), device="cpu")
    assert found["metrics"] == ours.get_accuracy(*sample)


def test_a_metric_without_a_value_is_null(folder):
    np.save(folder / "lone.npy", np.arange(100))
    found = result(folder, "--embeddings @e.npy --labels @lone.npy --include r_precision")
    assert found["metrics"] == {"r_precision": None}
    assert found["queries_without_partner"] == [100]


def refused(capsys, folder, command):
    """The one line that the command ends with."""
    assert status_of(folder, command) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("--embeddings @none.npy --labels @l.npy", "there is no file @none.npy"),
        ("--embeddings . --labels @l.npy", ". is a folder"),
        ("--embeddings @e.npy", "@e.npy holds no labels: give them in a file of their own"),
        ("--embeddings @e.pt", "@e.pt holds no labels: give them in a file of their own"),
        ("--embeddings @e.npy --labels @tree.json", "expected a .npy, .npz or .pt file"),
        (
            "--embeddings @e.npy --labels @l.npy --gallery-labels @l.npy",
            "labels was given without --gallery",
        ),
        (
            "--embeddings @both.npz --gallery-includes-queries",
            "--gallery-includes-queries was given without --gallery",
        ),
        (
            "--embeddings @e.npy --labels @nested.npy --include ndcg mistake_severity",
            "make the fine labels unique, or --exclude ndcg mistake_severity (labels are in",
        ),
        ("--embeddings @e.npy --labels @l.npy --include nothing", "--include names 'nothing'"),
        ("--embeddings @e.npy --labels @e.npy", "must be integers, got dtype float32"),
        ("--embeddings @e.npy --labels @e.npy", "(query_labels is @e.npy)"),
        ("--embeddings @e.npy --labels @short.npy", "99 query_labels (query_labels is @short.npy)"),
        (
            "--embeddings @nan.npy --labels @l.npy",
            "row 3 holds NaN or infinity (query is @nan.npy)",
        ),
        (
            "--embeddings @other.npz",
            "@other.npz holds no 'embeddings' among its 2 arrays: 'a', 'b'",
        ),
        ("--embeddings @list.pt --labels @l.npy", "holds a list, expected a tensor"),
        ("--embeddings @both.npz --device foo", "cannot compute on 'foo'"),
        ("--embeddings @both.npz --device gpu", "A GPU is called cuda"),
        ("--embeddings @both.npz --device meta", "cannot compute on 'meta'"),
        ("--embeddings @both.npz --device cuda:99", "cannot compute on 'cuda:99'"),
        ("--embeddings @both.npz --device mps", "cannot compute on 'mps'"),
        (
            "--embeddings @both.npz --at-k 99999999999999999999",
            "--at-k must hold positive integers",
        ),
        ("--embeddings @both.npz --include recall_at_99999999999", "is not a metric"),
        ("--embeddings @both.npz --block-size 0", "--block-size must be a positive integer, got 0"),
        ("--embeddings @both.npz --exclude x", "--exclude names 'x', which is not a metric"),
        ("--embeddings @both.npz --k 0", "--k must be a positive integer or max_bin_count, got"),
        ("--embeddings @huge.npy --labels @l.npy --distance dot", "scale the embeddings down"),
        ("--embeddings @huge.npy --labels @l.npy --distance manhattan", "(query is @huge.npy)"),
        ("--embeddings @both.npz --output @e.npy/x.json", "@e.npy is not a folder: choose another"),
        ("--embeddings @both.npz --output @.", "is a folder: name a file in it"),
        ("--embeddings @both.npz --output @e.npy", "@e.npy: the result is JSON, so name a .json"),
        (
            "--embeddings @e.npy --labels @fine.npy --hierarchy @tree.json --output @tree.json",
            "--output @tree.json would replace what is read from @tree.json: choose another file",
        ),
        (
            "--embeddings @e.npy --labels @high.npy --hierarchy @tree.json",
            "labels must be in 0..11, got 1..12 (labels are in @high.npy)",
        ),
    ],
)
def test_errors_are_one_line(folder, sample, capsys, command, message):
    np.savez(folder / "other.npz", a=np.zeros(1), b=np.zeros(1))
    torch.save([1, 2], folder / "list.pt")
    np.save(folder / "short.npy", sample[1][:99])
    np.save(folder / "nested.npy", sample[1][:, ::-1])
    np.save(folder / "high.npy", sample[1][:, 0] + 1)
    np.save(folder / "huge.npy", sample[0].astype(np.float64) * 1e200)
    sample[0][3, 1] = np.nan
    np.save(folder / "nan.npy", sample[0])
    assert message.replace("@", f"{folder}/") in refused(capsys, folder, command)


@pytest.mark.parametrize("suffix", ["npz", "pt", "npy"])
@pytest.mark.parametrize("name", ["x", "embeddings", "labels"])
def test_integers_are_not_their_own_labels(folder, capsys, suffix, name):
    """Whatever an array is called, it is not both the embeddings and the labels."""
    numbers = np.random.default_rng(0).integers(0, 3, (20, 2))
    path = folder / f"ids.{suffix}"
    if suffix == "npy":
        np.save(path, numbers)
    elif suffix == "npz":
        np.savez(path, **{name: numbers})
    else:
        torch.save({name: torch.from_numpy(numbers)}, path)
    message = refused(capsys, folder, f"--embeddings @ids.{suffix}")
    assert str(path) in message
    assert "holds no" in message
    if name == "x":  # alone in a file that was given for it
        result(folder, f"--embeddings @ids.{suffix} --labels @ids.{suffix} --include NMI")
    elif suffix != "npy":
        other = {"embeddings": "labels @ids", "labels": "embeddings @ids"}[name]
        command = f"--embeddings @e.npy --labels @l.npy --{other}.{suffix}"
        assert "holds no" in refused(capsys, folder, command)


# ------------------------------------------------------------------ galleries
@pytest.mark.parametrize("extra", [0, 40])
def test_a_gallery_that_holds_the_queries(folder, sample, capsys, extra):
    embeddings, labels = sample
    num = len(embeddings) - extra
    np.savez(folder / "q.npz", embeddings=embeddings[:num], labels=labels[:num])
    np.savez(folder / "g.npz", embeddings=embeddings, labels=labels)
    command = "--embeddings @q.npz --gallery @g.npz --include precision_at_1 r_precision"
    wrong = result(folder, command)["metrics"]
    error = capsys.readouterr().err
    assert f"warning: {num} of {num} queries are equal to a row of the gallery" in error
    assert wrong["precision_at_1_level0"] == 1.0
    right = result(folder, f"{command} --gallery-includes-queries")["metrics"]
    assert "warning" not in capsys.readouterr().err
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for level in (0, 1):
        pml = AccuracyCalculator(include=("precision_at_1", "r_precision"), device=CPU)
        expected = pml.get_accuracy(unit[:num], labels[:num, level], unit, labels[:, level], True)
        for name, value in expected.items():
            assert right[f"{name}_level{level}"] == pytest.approx(value, abs=1e-6)
    np.savez(folder / "g.npz", embeddings=embeddings[::-1], labels=labels[::-1])
    message = refused(capsys, folder, f"{command} --gallery-includes-queries")
    assert "the first references must be the queries" in message
    assert "with --gallery-includes-queries, the first" in message


@pytest.mark.parametrize("kind", ["apart", "codes"])
def test_no_more_identical_rows_than_by_chance(folder, sample, capsys, kind):
    embeddings, labels = sample
    query, gallery = embeddings[:50], embeddings[50:]
    if kind == "codes":  # quantised, so that there are duplicates everywhere
        query, gallery = (np.sign(x[:, :3]) for x in (query, gallery))
    np.savez(folder / "q.npz", embeddings=query, labels=labels[:50])
    np.savez(folder / "g.npz", embeddings=gallery, labels=labels[50:])
    result(folder, "--embeddings @q.npz --gallery @g.npz --include precision_at_1")
    assert "warning" not in capsys.readouterr().err


def test_files_are_mapped_and_not_read(folder, sample):
    for name in ("e.npy", "both.npz"):
        array = input_files.load_array(folder / name, "embeddings")
        assert isinstance(array, np.memmap)
        assert np.array_equal(array, sample[0])
    assert not isinstance(input_files.load_array(folder / "small.npz", "labels"), np.memmap)
    np.savez(folder / "fortran.npz", np.asfortranarray(sample[0]))
    assert np.array_equal(input_files.load_array(folder / "fortran.npz", "any"), sample[0])
    np.savez(folder / "empty.npz", embeddings=np.zeros((0, 3)))
    assert input_files.load_array(folder / "empty.npz", "embeddings").shape == (0, 3)


def test_as_a_module(folder):
    command = ["evaluate", "--embeddings", str(folder / "both.pt"), "--include", "ndcg", "--quiet"]
    finished = subprocess.run(
        [sys.executable, "-m", "pml_hierarchical", *command],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ndcg" in finished.stdout
    assert finished.stderr == ""


# ------------------------------------------------------------------ broken and hostile files
def claims_more_rows(path, num_rows):
    """An array in a .npz file whose header says that it is longer than it is."""
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("embeddings.npy", "w") as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": (num_rows, 6)}
            np.lib.format.write_array_header_1_0(member, header)
            member.write(np.ones((100, 6), np.float32).tobytes())
        with archive.open("labels.npy", "w") as member:
            np.save(member, np.arange(100) % 7)


@pytest.mark.parametrize("num_rows", [99, 101, 10**6, 10**15])
def test_a_header_that_claims_another_number_of_rows(tmp_path, capsys, num_rows):
    claims_more_rows(tmp_path / "e.npz", num_rows)
    message = refused(capsys, tmp_path, "--embeddings @e.npz")
    assert f"{tmp_path}/e.npz is damaged: embeddings.npy says that it holds" in message
    claims_more_rows(tmp_path / "e.npz", 100)
    evaluate(tmp_path, "--embeddings @e.npz --include precision_at_1")


def wrong_types(folder):
    """Files of every suffix that hold something else."""
    model = torch.nn.Linear(2, 2)
    numbers = np.zeros((100, 6), np.float32)
    text = {"x.json": b"{}", "junk": b"\x00\xff" * 99, "text": b"hello\nworld\n"}
    for suffix in ("npy", "npz", "pt", "json"):
        for kind, content in text.items():
            yield f"{kind}.{suffix}", lambda path, content=content: path.write_bytes(content)
        yield f"model.{suffix}", lambda path: torch.save(model, path)
        yield f"array.{suffix}", lambda path: path.write_bytes((folder / "e.npy").read_bytes())
        yield f"zip.{suffix}", lambda path: path.write_bytes((folder / "both.npz").read_bytes())
        yield f"torch.{suffix}", lambda path: torch.save({"a": 1}, path)
        yield f"folder.{suffix}", lambda path: path.mkdir()
    for kind, value in {
        "state_dict": model.state_dict(),
        "sparse": torch.eye(3).to_sparse(),
        "meta": torch.empty(3, 3, device="meta"),
        "complex": torch.zeros(100, 6, dtype=torch.complex64),
        "list": numbers.tolist(),
        "none": None,
    }.items():
        yield f"{kind}.pt", lambda path, value=value: torch.save(value, path)
    objects = np.array([{}, None], dtype=object)
    yield "objects.npy", lambda path: np.save(path, objects, allow_pickle=True)
    yield "objects.npz", lambda path: np.savez(path, embeddings=objects, labels=objects)
    yield "text_array.npy", lambda path: np.save(path, np.array(["a", "b"]))
    yield "dates.npy", lambda path: np.save(path, np.zeros((100, 6), "M8[s]"))
    yield "record.npy", lambda path: np.save(path, np.zeros(100, [("a", "f4")]))
    yield "scalar.npy", lambda path: np.save(path, np.float32(3))
    yield "nothing.npz", lambda path: np.savez(path)
    for number, content in enumerate(
        ["null", "[]", "3", '{"apple": "fruit"}', "[" * 10**5, '{"a":' * 10**5, "NaN", '"x"',
         '{"class_labels": [[0, 5], [7, 1]]}', '{"class_labels": "x", "names": 3}', "\ud800"]
    ):  # fmt: skip
        data = content.encode("utf-8", "surrogatepass")
        yield f"{number}.json", lambda path, data=data: path.write_bytes(data)


READERS = {
    "embeddings": "--embeddings {} --labels @fine.npy",
    "labels": "--embeddings @e.npy --labels {}",
    "gallery": "--embeddings @both.npz --gallery {} --gallery-labels @l.npy",
    "gallery-labels": "--embeddings @both.npz --gallery @e.npy --gallery-labels {}",
    "hierarchy": "--embeddings @e.npy --labels @fine.npy --hierarchy {}",
}


@pytest.mark.parametrize("reader", READERS)
def test_files_of_a_wrong_type(folder, capsys, reader):
    start = time.monotonic()
    for name, write in wrong_types(folder):
        if name in ("array.npy", "zip.npz"):  # what their names say
            continue
        path = folder / f"wrong_{name}"
        write(path)
        command = READERS[reader].format(path) + " --include precision_at_1 --quiet"
        message = refused(capsys, folder, command)
        assert str(path) in message, name
        assert len(message) < 1000, name
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("suffix", ["npy", "npz", "small.npz", "pt", "legacy.pt", "json"])
@pytest.mark.parametrize("attack", ["truncated", "flipped"])
def test_damaged_files(folder, sample, capsys, suffix, attack):
    """A truncated file is refused; a flipped bit is, or the file still holds an array."""
    legacy = {
        key: torch.from_numpy(x) for key, x in zip(("embeddings", "labels"), sample, strict=True)
    }
    torch.save(legacy, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    source = {"npy": "e.npy", "npz": "both.npz", "small.npz": "small.npz", "pt": "both.pt",
              "legacy.pt": "legacy.pt", "json": "tree.json"}[suffix]  # fmt: skip
    command = {"npy": "--embeddings {} --labels @l.npy", "json": READERS["hierarchy"]}
    command = command.get(suffix, "--embeddings {}") + " --include precision_at_1 --quiet"
    data = (folder / source).read_bytes()
    rng = np.random.default_rng(0)
    if attack == "truncated":
        lengths = [0, 1, 4, *rng.integers(5, len(data) - 1, 10).tolist()]
        attacked = [data[:length] for length in lengths]
    else:
        attacked = [bytearray(data) for _ in range(40)]
        for copy, position in zip(attacked, rng.integers(0, len(data), 40), strict=True):
            copy[position] ^= 1 << int(rng.integers(8))
    start, num_refused = time.monotonic(), 0
    path = folder / f"damaged.{suffix}"
    for content in attacked:
        path.write_bytes(content)
        status = status_of(folder, command.format(path))
        error = capsys.readouterr().err
        assert status in (0, 2)
        assert status == 0 or str(path) in error.splitlines()[-1]
        num_refused += status == 2
    assert num_refused == len(attacked) or attack == "flipped"
    if suffix in ("npz", "small.npz", "pt") and attack == "flipped":
        assert num_refused >= len(attacked) // 2  # all flips in the values: the checksum is wrong
    assert time.monotonic() - start < 30


HOSTILE = [
    "new\nline", "tab\tand  spaces", "\x1b[31mred", "%s%n{0}", "$_$", "-rf", "'quotes\"",
    "\u202ereversed", "\ufeffbom", "語", "e\u0301", "\udcff\udcfe", "a" * 200, "../x", "nul\0",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("suffix", ["npy", "npz", "pt", "json"])
def test_hostile_names(folder, capsys, name, suffix):
    """As the name of a file that is missing, broken, or whole, and of an array in it."""

    def run(path):
        option = "--hierarchy" if suffix == "json" else "--embeddings"
        files = ["--embeddings", f"{folder}/e.npy", "--labels", f"{folder}/fine.npy"]
        command = ["evaluate", "--device", "cpu", *files, option, path, "--include", "ndcg"]
        return main([*command, "--quiet", "--output", f"{folder}/{name.replace('/', '_')}.out"])

    path = f"{folder}/{name}.{suffix}"
    assert run(path) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    assert line.isprintable()
    if "\0" in name or "/" in name:
        return
    source = {"npy": "e.npy", "npz": "both.npz", "pt": "e.pt", "json": "tree.json"}[suffix]
    content = (folder / source).read_bytes()
    Path(path).write_bytes(content[:50])
    assert run(path) == 2
    assert capsys.readouterr().err.splitlines()[-1].isprintable()
    Path(path).write_bytes(content)
    run(path)
    assert capsys.readouterr().out.splitlines()[-1].isprintable()


# ------------------------------------------------------------------ output
@pytest.mark.parametrize("output", ["@e.npy/x.json", "@"])
def test_an_output_that_cannot_be_written_is_refused_first(folder, capsys, output):
    assert status_of(folder, f"--embeddings @both.npz --output {output}") == 2
    assert capsys.readouterr().out == ""  # nothing was computed


def test_an_interrupted_write_keeps_the_last_result(folder, monkeypatch):
    before = result(folder, "--embeddings @both.npz --include r_precision")

    def fail(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    command = "--embeddings @both.npz --include ndcg --output @out/result.json"
    assert status_of(folder, command) == 2
    assert json.loads((folder / "out" / "result.json").read_text()) == before
    assert len(list((folder / "out").iterdir())) == 1
