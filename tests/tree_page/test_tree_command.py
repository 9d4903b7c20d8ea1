"""The command ``tree``: what it reads, what it writes, and what it says of bad input."""

import base64
import io
import json
import os
import pickle
import re
import struct
import unicodedata
import zlib
from typing import get_args

import networkx as nx
import numpy as np
import pydot
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer import Typer
from typer.testing import CliRunner

from benchmarks.tree_page.command import Format, tree
from benchmarks.tree_page.files import exported, from_dot
from benchmarks.tree_page.names import read_names
from benchmarks.tree_page.sources import pictures_of_classes
from pml_hierarchical import Hierarchy, losses, trees

NAMES = [f"{kind} {name}" for name in ("apple", "milk", "pear") for kind in ("red", "oat", "new")]
HOSTILE = ["it's", "a,b", "(x)", 'say "no"', "back\\slash", "new\nline", " ", "漢字", "\\n", "<b>"]
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:pydot", "ignore:Detected pickle protocol:UserWarning"
)
SETTINGS = {"num_superclasses": (4, 2), "warmup": 0}


def make_loss(base="ProxyAnchorLoss", **changes):
    torch.manual_seed(0)
    return losses.HierarchicalProxyLoss(9, 5, getattr(losses, base), **{**SETTINGS, **changes})


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\n".join(NAMES) + "\n")
    return path


def tree_in(path, tmp_path, **options):
    tree(path, out=tmp_path / "found.json", **options)
    return trees.from_json((tmp_path / "found.json").read_text())


# ---------------------------------------------------------------- what is read
@pytest.mark.parametrize("kind", ["pt", "nested", "prefixed", "half", "safetensors", "run"])
@pytest.mark.parametrize("base", ["ProxyAnchorLoss", "ArcFaceLoss", "SoftTripleLoss"])
def test_the_tree_of_a_checkpoint(tmp_path, names, base, kind):
    loss_func = make_loss(base)
    wanted = loss_func.recluster()
    state, path = loss_func.state_dict(), tmp_path / "loss.pt"
    if kind == "safetensors":
        path = tmp_path / "loss.safetensors"
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        prefixed = {f"module.loss.{key}": value for key, value in state.items()}
        wholes = {
            "pt": state,
            "nested": {"epoch": 3, "model": {"weight": torch.ones(2, 2)}, "loss": state},
            "prefixed": {"state_dict": {**prefixed, "module.net.weight": torch.ones(2, 2)}},
            "half": loss_func.half().state_dict(),
            "run": {"loss_funcs": {"metric_loss": state}, "config": {"fold": 0}},
        }
        torch.save(wholes[kind], path)
    found = tree_in(path, tmp_path, names=names)
    assert np.array_equal(found.class_labels, wanted.class_labels)
    assert found.names == trees.name_superclasses(found).names
    assert found.names[0] == tuple(NAMES)


def test_names_after_the_member_nearest_to_the_mean(tmp_path, names):
    loss_func = make_loss("NormalizedSoftmaxLoss")
    loss_func.recluster()
    torch.save(loss_func.state_dict(), tmp_path / "loss.pt")
    found = tree_in(tmp_path / "loss.pt", tmp_path, names=names, name_by="member")
    whole = Hierarchy(found.class_labels, [NAMES, None, None])
    vectors = torch.nn.functional.normalize(loss_func.W.t())
    assert found == trees.name_superclasses(whole, vectors)


@pytest.mark.parametrize("kind", ["npy", "npz", "tensor", "flat loss", "transposed loss"])
def test_proxies_are_clustered(tmp_path, kind):
    centres = torch.eye(3).repeat_interleave(3, 0)
    proxies = centres + 0.1 * torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    path = tmp_path / {"npy": "a.npy", "npz": "a.npz"}.get(kind, "a.pt")
    if kind == "npy":
        np.save(path, proxies.numpy())
    elif kind == "npz":
        np.savez(path, embeddings=proxies.numpy(), ids=np.arange(9))
    else:
        states = {"tensor": proxies, "flat loss": {"proxies": proxies}}
        torch.save(states.get(kind, {"loss": {"W": proxies.t()}}), path)
    found = tree_in(path, tmp_path, num_superclasses="3")
    groups = {frozenset(found.members(1, node).tolist()) for node in range(3)}
    assert groups == {frozenset({0, 1, 2}), frozenset({3, 4, 5}), frozenset({6, 7, 8})}
    assert found.names[0][8], found.names[1][2] == ("class 8", "superclass 2")
    assert tree_in(path, tmp_path, num_superclasses="4,2").sizes == (9, 4, 2)
    assert tree_in(path, tmp_path).sizes == (9, 2)  # as many as the loss would discover


@pytest.mark.parametrize("has_tree", [True, False])
def test_the_folder_of_a_model(tmp_path, has_tree):
    folder = tmp_path / "model"
    folder.mkdir()
    found = make_loss().recluster()
    hierarchy = Hierarchy(found.class_labels, [NAMES, None, ["a", "b"]]).to_dict()
    about = {"class_names": NAMES, "hierarchy": hierarchy if has_tree else None}
    (folder / "model.json").write_text(json.dumps(about))
    save_file({"proxies": make_loss().proxies.data}, folder / "model.safetensors")
    read = tree_in(folder, tmp_path)
    assert read.names[0] == tuple(NAMES)
    assert not has_tree or read.names[2] == ("a", "b")
    assert not has_tree or np.array_equal(read.class_labels, found.class_labels)


# ---------------------------------------------------------------- what is written
@pytest.mark.parametrize("suffix", ["json", "csv", "nwk", "newick", "dot", "gv"])
def test_every_file_that_is_written_is_read_again(tmp_path, suffix):
    labels = np.stack([np.arange(10), [0, 0, 0, 1, 1, 1, 2, 2, 2, 2], [0] * 6 + [1] * 4], axis=1)
    whole = Hierarchy(labels, [HOSTILE, ["a,b", "x", "y"], ["x", "it's"]])
    (tmp_path / "tree.json").write_text(trees.to_json(whole))
    tree(tmp_path / "tree.json", out=tmp_path / f"copy.{suffix}")
    read = tree_in(tmp_path / f"copy.{suffix}", tmp_path)
    assert {frozenset(read.members(1, node).tolist()) for node in range(3)} == {
        frozenset(whole.members(1, node).tolist()) for node in range(3)
    }
    if suffix in ("csv", "nwk", "newick"):  # which know classes by their names
        assert read.names[0] == whole.names[0]
        assert set(read.names[1]) == {"a,b (superclass)", "x", "y"}
        assert set(read.names[2]) == {"x (superclass)", "it's (superclass)"}
    else:
        assert read == whole


def test_dot_is_read_as_networkx_reads_it():
    text = (
        'digraph { food -> fruit; food -> milk; fruit -> {apple; "red pear"} milk -> "oat milk" }'
    )
    graph = nx.nx_pydot.from_pydot(pydot.graph_from_dot_data(text)[0])
    found = from_dot(text)
    assert found.names == (("apple", "red pear", "oat milk"), ("fruit", "milk"))
    assert set(found.names[0]) == {node for node in graph if not graph.out_degree(node)}


@pytest.mark.parametrize("suffix", ["json", "csv", "nwk", "dot"])
def test_files_with_a_byte_order_mark(tmp_path, suffix):
    known = Hierarchy.from_mapping({"a": "x", "b": "y"})
    content = exported(known, {"nwk": "newick"}.get(suffix, suffix))
    (tmp_path / f"a.{suffix}").write_text(content, encoding="utf-8-sig")
    assert tree_in(tmp_path / f"a.{suffix}", tmp_path) == known


def test_subgraphs_and_ports_of_dot():
    text = """digraph {
        node [shape=box];
        subgraph cluster_0 { fruit -> apple; subgraph inner { fruit -> "red:pear" } }
        dairy:s -> {oat; soy}; dairy -> oat:n
    }"""
    found = from_dot(text)
    assert found.names == (("apple", "red:pear", "oat", "soy"), ("fruit", "dairy"))
    assert found.class_labels[:, 1].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("name", "option"), [("a.pt", None), ("a.npy", None), ("a.txt", "history")]
)
def test_no_message_tells_how_to_run_the_code_in_a_file(tmp_path, name, option):
    (tmp_path / name).write_bytes(pickle.dumps(Hierarchy.flat(3)))
    options = {option: tmp_path / name} if option else {}
    (tmp_path / "a.json").write_text('["a/x", "b/y"]')
    with pytest.raises(ValueError, match=r"a\.\w+ (cannot be read|is not an array)") as caught:
        tree(tmp_path / ("a.json" if option else name), out=tmp_path / "t.html", **options)
    assert not re.search("pickle|load|option|trust", str(caught.value))


def test_the_terminal_gets_the_text_and_the_page_gets_a_file(tmp_path, names, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = Typer()
    app.command()(tree)
    np.save("proxies.npy", make_loss().proxies.detach().numpy())
    done = CliRunner().invoke(app, ["proxies.npy", "--names", "names.txt", "--format", "text"])
    assert done.exit_code == 0, done.output
    assert sum(line.endswith(tuple(NAMES)) for line in done.output.splitlines()) >= 9
    assert not (tmp_path / "tree.html").exists()
    done = CliRunner().invoke(app, ["proxies.npy", "--names", "names.txt"])
    assert done.output == "wrote tree.html\n"
    assert "red apple" in (tmp_path / "tree.html").read_text()


def test_pictures_of_a_folder(tmp_path, names):
    for name, count in (("fruit/red apple", 6), ("red milk", 1), ("other", 2)):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (300, 200), (number * 40, 0, 0)).save(folder / f"{number}.png")
    np.save(tmp_path / "a.npy", make_loss().proxies.detach().numpy())
    page = tmp_path / "a.html"
    tree(tmp_path / "a.npy", out=page, names=names, pictures=tmp_path / "pictures")
    content = content_of(page)
    assert {label: len(some) for label, some in content["pictures"].items()} == {"0": 4, "3": 1}
    assert content["counts"] == [6, 0, 0, 1, 0, 0, 0, 0, 0]


def content_of(page):
    text = page.read_text()
    start = text.index('id="data">') + len('id="data">')
    return json.loads(text[start : text.index("</script>", start)])


def test_pictures_in_a_folder_whose_accents_have_another_form(tmp_path):
    """Systems of Apple and some archives write a letter and its accent as two characters."""
    composed, apart = "äpfel", unicodedata.normalize("NFD", "äpfel")
    assert composed != apart
    (tmp_path / "pictures" / apart).mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "pictures" / apart / "1.png")
    assert pictures_of_classes(tmp_path / "pictures", ["milk", composed])[1] == [0, 1]
    (tmp_path / "pictures" / composed).mkdir()
    for number in range(2):
        Image.new("RGB", (9, 9)).save(tmp_path / "pictures" / composed / f"{number}.png")
    assert pictures_of_classes(tmp_path / "pictures", [composed, apart])[1] == [2, 1]


def as_shown(page):
    """The first picture of a page."""
    content = re.search('id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1]
    encoded = next(iter(json.loads(content)["pictures"].values()))[0]
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


def test_pictures_are_read_as_those_of_a_data_set(tmp_path, names):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(9, 4)))
    file = tmp_path / "pictures" / NAMES[0] / "1.png"
    file.parent.mkdir(parents=True)
    Image.fromarray(np.full((20, 20), 32896, np.uint16)).save(file)  # half of white
    options = {"names": names, "pictures": tmp_path / "pictures"}
    tree(tmp_path / "a.npy", out=tmp_path / "tree.html", **options)
    assert abs(np.asarray(as_shown(tmp_path / "tree.html").convert("L")).mean() - 128) < 3


@pytest.mark.parametrize("kind", ["cut", "far too large"])
def test_a_picture_that_cannot_be_read_is_named(tmp_path, names, kind):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(9, 4)))
    file = tmp_path / "pictures" / NAMES[0] / "1.png"
    file.parent.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)).save(file)
    content = file.read_bytes()
    if kind == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        header = b"IHDR" + struct.pack(">II", 20000, 20000) + content[24:29]
        checksum = struct.pack(">I", zlib.crc32(header))
        file.write_bytes(content[:12] + header + checksum + content[33:])
    with pytest.raises(OSError, match=r"the picture .*1\.png"):
        tree(tmp_path / "a.npy", names=names, pictures=tmp_path / "pictures")


def test_exported_text_ends_with_a_line_end():
    whole = Hierarchy([[0, 0], [1, 0]], [["a", "b"], ["c"]])
    for kind in get_args(Format):
        if kind != "html":
            assert exported(whole, kind).endswith("\n")
            assert not exported(whole, kind).endswith("\n\n")


# ---------------------------------------------------------------- bad input
def write(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        torch.save(content, path)


WARM = {"superclasses.class_signs": torch.ones(9, 8)}
BAD = [
    ("a.pt", b"no checkpoint", {}, r"a\.pt cannot be read as a checkpoint of tensors"),
    ("a.pt", pickle.dumps(print), {}, r"a\.pt cannot be read as a checkpoint"),
    ("a.pt", {"weight_decay": 1}, {}, "holds no tree and no proxies: expected the state_dict"),
    ("a.pt", [1, 2], {}, "holds a list"),
    ("a.pt", {"a": {"proxies": torch.ones(3, 2)}, "b": {"W": torch.ones(2, 3)}}, {}, "2 tensors"),
    ("a.pt", {"a": WARM, "b": WARM}, {}, "holds 2 hierarchical losses"),
    ("a.pt", WARM, {}, "a loss with one level"),
    ("a.safetensors", b"{}", {}, r"a\.safetensors cannot be read as a checkpoint of tensors"),
    ("a.npy", b"nothing", {}, r"a\.npy is not an array of NumPy"),
    ("a.npy", np.arange(4), {}, r"floats of shape \(classes, dimension\).*int64 of shape \(4,\)"),
    ("a.npy", np.full((4, 2), np.nan), {}, "hold NaN"),
    ("a.npy", np.ones((2, 2)), {}, "2 proxies are too few to cluster"),
    ("a.npy", np.ones((5, 2)), {"num_superclasses": "7"}, "got 7 superclasses at level 1 for 5"),
    ("a.npy", np.ones((5, 2)), {"num_superclasses": "two"}, "integers such as 20 or 100,10; got"),
    ("a.npy", np.ones((5, 2)), {"out": "tree.png"}, r"no suffix that says the format.*\.html"),
    ("a.json", "[", {}, r"a\.json holds no JSON tree"),
    ("a.json", '{"a": "b", "b": "a"}', {}, "cycle"),
    ("a.csv", "x,y\n1,2\n", {}, "columns must be name and parent"),
    ("a.nwk", "((a,b)", {}, "brackets are missing"),
    (
        "a.csv",
        "name,parent\na,é".encode("latin1"),
        {},
        r"a\.csv is not in UTF-8 .*save it as UTF-8",
    ),
    ("a.json", '{"paths": ["a", "b"]}', {}, r"parent of 'paths' must be a name, got \['a', 'b'\]"),
    ("a.dot", "digraph { a -> c; b -> c; a -> d; b -> e }", {}, "'c' has two parents: 'a' and 'b'"),
    ("a.dot", "graph { a -- c; b -- d }", {}, "the graph is undirected.* write digraph for graph"),
    ("a.dot", "digraph { a -> c } digraph { b -> d }", {}, "it has 2 graphs: give a file with one"),
    ("a.json", '["a/x", "b/y", "b/z"]', {"num_superclasses": "2"}, "holds a tree already"),
    ("a.json", '["a/x", "b/y"]', {"name_by": "member"}, "--name-by member needs proxies"),
    ("a.xyz", "", {}, r"the suffix '\.xyz': expected a checkpoint of the loss"),
    (
        "a.json",
        '["a/x", "b/y"]',
        {"out": "x.csv", "pictures": "."},
        "--pictures is shown only on the",
    ),
    ("a.json", '["a/x", "b/y"]', {"pictures": "nowhere"}, "--pictures takes a folder"),
]


@pytest.mark.parametrize(
    ("name", "content", "options", "message"), BAD, ids=[f"{one[3][:30]!r}" for one in BAD]
)
def test_bad_input_is_named_in_one_line(tmp_path, monkeypatch, name, content, options, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name, content)
    paths = {k: tmp_path / v for k, v in options.items() if k in ("out", "pictures")}
    with pytest.raises((ValueError, OSError), match=message):
        tree(tmp_path / name, **{**options, **paths})
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_pydot_prints_is_in_the_message(tmp_path, capsys):
    (tmp_path / "a.dot").write_text("no graph")
    with pytest.raises(ValueError, match=r"not in the DOT language: Expected .*found 'no'"):
        tree(tmp_path / "a.dot")
    assert capsys.readouterr().out == ""


def test_a_history_of_fewer_or_more_classes_than_the_tree(tmp_path):
    write(tmp_path / "a.json", '["a/x", "a/y", "b/z"]')
    options = {"history": tmp_path / "h.npy", "out": tmp_path / "t.html"}
    np.save(tmp_path / "h.npy", [[[0, 1]], [[0, 0]]])  # a class was added since
    tree(tmp_path / "a.json", **options)
    assert content_of(tmp_path / "t.html")["moves"] == [0, 1, 0]
    np.save(tmp_path / "h.npy", [[[0, 1, 1, 1]], [[0, 0, 1, 1]]])
    with pytest.raises(ValueError, match="the history has 4 classes, and the tree 3"):
        tree(tmp_path / "a.json", **options)


def test_a_folder_of_the_page_that_does_not_exist(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((5, 2), np.float32))
    with pytest.raises(OSError, match=r"--out .*there is no folder .*none: make it first"):
        tree(tmp_path / "a.npy", out=tmp_path / "none" / "tree.html")


def test_a_pipe_is_written_to_and_stays(tmp_path):
    (tmp_path / "a.json").write_text('["a/x", "b/y"]')
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        tree(tmp_path / "a.json", out=tmp_path / "pipe", format="newick")
        assert (tmp_path / "pipe").is_fifo()
        assert os.read(reader, 1000).decode() == "(('a/x')a,('b/y')b);\n"
    finally:
        os.close(reader)


@pytest.mark.parametrize("kind", ["text", "html"])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path, kind):
    (tmp_path / "a.json").write_text('["a/x", "b/y"]')
    (tmp_path / "link").symlink_to("target")
    tree(tmp_path / "a.json", out=tmp_path / "link", format=kind)
    assert (tmp_path / "link").is_symlink()
    assert "b" in (tmp_path / "target").read_text()
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("read", "out"),
    [("tree.json", "tree.json"), ("link.json", "tree.json"), ("model", "model/a.json")],
)
def test_what_is_read_is_not_replaced(tmp_path, read, out):
    (tmp_path / "model").mkdir()
    for name in ("tree.json", "model/a.json"):
        (tmp_path / name).write_text('["a/x", "b/y"]')
    (tmp_path / "link.json").symlink_to("tree.json")
    with pytest.raises(FileExistsError, match=rf"--out .*{out} would replace what is read from"):
        tree(tmp_path / read, out=tmp_path / out)
    assert (tmp_path / out).read_text() == '["a/x", "b/y"]'


def test_a_loss_in_its_warm_up(tmp_path):
    torch.save(make_loss().state_dict(), tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"not discovered its superclasses yet.* after 0 training"):
        tree(tmp_path / "a.pt")


def test_no_file_and_no_tree_in_a_folder(tmp_path):
    with pytest.raises(OSError, match=r"there is no .*nowhere\.pt: expected a checkpoint"):
        tree(tmp_path / "nowhere.pt")
    with pytest.raises(ValueError, match=r"neither tree\.npz nor model\.json"):
        tree(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\n\nb\n", "line 2 of .* is empty"),
        ("a\nb\na\n", "lines 1 and 3 of .* both say 'a'"),
        (b"\xff\xfea", "not a text file in UTF-8"),
    ],
)
def test_bad_names(tmp_path, content, message):
    write(tmp_path / "names.txt", content)
    with pytest.raises(ValueError, match=message):
        read_names(tmp_path / "names.txt")


def test_too_few_names(tmp_path, names):
    np.save(tmp_path / "a.npy", np.ones((5, 2), np.float32))
    with pytest.raises(ValueError, match="there are 9 names, and the tree has 5 classes"):
        tree(tmp_path / "a.npy", names=names)
