"""``pml-hierarchical speed --what losses``, run small."""

import json
import re

import numpy as np
import pytest
import torch

from benchmarks.command_line import main
from benchmarks.speed.formulas import FORMULAS
from benchmarks.speed.loss_report import ratio
from benchmarks.speed.loss_sides import LOSSES, PMLLevels, hierarchical, level_sizes
from benchmarks.speed.measuring import interleave, peak_bytes
from benchmarks.speed.options import COMPILED, LOSS_SIDES
from pml_hierarchical.core import hierarchical_proxy_loss as core
from pml_hierarchical.losses import HierarchicalProxyLoss


def run(folder, options):
    assert main(f"speed --what losses {options} --out {folder}".split()) == 0
    assert (folder / "losses.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((folder / "losses.json").read_text())


def test_small(tmp_path, capsys):
    sizes = "--classes 30 90 --embedding-sizes 8 --batch-sizes 4 --levels 1 3"
    record = run(tmp_path, f"{sizes} --losses proxy_anchor cosface --repeats 3 --threads 1")
    assert record["options"]["threads"] == 1
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert len(record["cases"]) == 8
    for case in record["cases"]:
        assert set(case["seconds"]) == set(case["peak_bytes"]) == set(LOSS_SIDES)
        assert all(len(seconds) == 3 for seconds in case["seconds"].values())
    lines = capsys.readouterr().out.splitlines()
    assert "ours / pml" in lines[0]
    assert [line.split()[:5] for line in lines[2:4]] == [
        ["proxy_anchor", "30", "8", "4", "1"],
        ["proxy_anchor", "30", "8", "4", "3"],
    ]


def test_one_at_a_time(tmp_path):
    # 30 classes are too few for four levels, which 90 are enough for
    sizes = "--classes 90 30 --embedding-sizes 8 --batch-sizes 4 6 --levels 3 4"
    options = "--one-at-a-time --losses proxy_nca --loss-sides ours --repeats 1 --threads 1"
    cases = run(tmp_path, f"{sizes} {options}")["cases"]
    found = [(case["classes"], case["batch_size"], case["levels"]) for case in cases]
    assert found == [(90, 4, 3), (90, 4, 4), (90, 6, 3), (30, 4, 3)]


def test_some_sides(tmp_path, capsys):
    options = "--classes 30 --embedding-sizes 8 --losses arcface --repeats 2 --threads 1"
    record = run(tmp_path, f"{options} --loss-sides products ours")
    assert set(record["cases"][0]["seconds"]) == {"products", "ours"}
    assert "pml ms" not in capsys.readouterr().out


@pytest.mark.parametrize("loss_class", [HierarchicalProxyLoss, core.HierarchicalProxyLoss])
@pytest.mark.parametrize("name", LOSSES)
def test_sides_compute_the_same(name, loss_class):
    """What is compared is the same loss, with the same gradients."""
    sizes, labels = [30, 5, 2], torch.randint(30, (16,))
    ours = hierarchical(name, sizes, 8, loss_class=loss_class)
    theirs = PMLLevels(name, sizes, 8)
    attribute = ours.layout.attribute
    for level, loss in enumerate(theirs.losses):
        getattr(loss, attribute).data.copy_(getattr(ours.level_loss(level), attribute).data)
    values, gradients = [], []
    for side in (ours, theirs):
        embeddings = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
        embeddings.requires_grad_()
        values.append(side(embeddings, labels))
        learned = [one for one in side.parameters() if one.requires_grad]
        assert len(learned) == 3
        gradients.append(torch.autograd.grad(values[-1], [embeddings, *learned]))
    torch.testing.assert_close(*values, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_formulas_are_pmls_losses(name):
    """Written from the papers; PML's Proxy-Anchor has its softplus in another form."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(16, 8, generator=generator, dtype=torch.float64)
    labels = torch.randint(30, (16,), generator=generator)
    theirs = LOSSES[name](30, 8).double()
    attribute = "proxies" if hasattr(theirs, "proxies") else "W"
    proxies = getattr(theirs, attribute).detach()
    if attribute == "W":
        proxies = proxies.t()
    expected = theirs(embeddings, labels)
    torch.testing.assert_close(FORMULAS[name](embeddings, proxies, labels), expected)


def test_level_sizes():
    assert level_sizes(11_318, 3) == [11_318, 106, 10]
    assert level_sizes(100, 1) == [100]


def test_interleave():
    calls = []
    steps = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    seconds = interleave(steps, 5, "cpu")
    assert {name: len(found) for name, found in seconds.items()} == {"a": 5, "b": 5, "c": 5}
    rounds = [calls[start : start + 3] for start in range(0, 18, 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_ratio():
    case = {"seconds": {"ours": [1.0, 2.0, 3.0], "pml": [2.0, 2.0, 2.0]}}
    assert ratio(case, "ours", "pml") == "1.00 (0.75 to 1.25)"
    assert ratio(case, "ours", "products") == ""


def test_peak_is_what_a_step_takes():
    peak = peak_bytes(lambda: np.ones(2**25).sum(), "cpu")
    assert peak is None or abs(peak - 2**28) < 2**26
    after = peak_bytes(lambda: None, "cpu")
    assert after is None or after < 2**26


@pytest.mark.parametrize("what", ["reclustering", "optimizers"])
def test_other_measurements(what, tmp_path, capsys):
    options = "--classes 40 60 --embedding-sizes 8 --batch-sizes 4 --repeats 2 --threads 1"
    assert main(f"speed --what {what} {options} --out {tmp_path}".split()) == 0
    cases = json.loads((tmp_path / f"{what}.json").read_text())["cases"]
    assert {case["classes"] for case in cases} == {40, 60}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(cases) + 1  # a header, and where it was written


def test_compiled_side_only_if_asked(tmp_path, capsys):
    options = "--classes 30 --embedding-sizes 8 --losses cosface --repeats 2 --threads 1"
    with torch.compiler.set_stance("force_eager"):  # compiling takes a minute
        record = run(tmp_path, f"{options} --loss-sides ours pml_compiled")
    assert set(record["cases"][0]["seconds"]) == {"ours", COMPILED}
    assert "ours / pml_compiled" in capsys.readouterr().out
    assert COMPILED not in LOSS_SIDES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--device cuda:77", "--device cuda:77 is not available here"),
        ("--classes 10 --levels 5", "--levels 5 are too many for --classes 10: .* 10, 3, 2, 2, 2"),
        ("--what loses", "--what must be among losses, .*; got loses"),
        ("--loss-sides ours fast", "--loss-sides must be among .*, pml_compiled; got fast"),
        ("--repeats 0", "--repeats must be at least 1, got 0"),
        ("--batch-sizes 4 0", "--batch-sizes must be at least 1, got 0"),
    ],
)
def test_bad_options_are_found_before_anything_is_measured(options, message, tmp_path, capsys):
    assert main(["speed", *options.split(), "--out", str(tmp_path / "speed")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "speed").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, capsys):
    (tmp_path / "speed").touch()
    assert main(["speed", "--out", str(tmp_path / "speed")]) == 2
    assert f"--out: {tmp_path / 'speed'} is not a folder" in capsys.readouterr().err
