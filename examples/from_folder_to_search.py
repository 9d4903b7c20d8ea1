"""From pictures to a search page: train, report, export, load without the benchmark, embed, search.

python examples/from_folder_to_search.py PICTURES OUT [options of `pml-hierarchical run`]

PICTURES is a folder as superclass/.../class/picture, or the root of another ``--dataset``. Half of
the classes are not trained: the report scores the model on them, the exported model must reach the
same score without the benchmark, and some of their pictures are the gallery that is searched.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # the suite of this clone

from benchmarks import command_line
from benchmarks.datasets import look_at_dataset

LOSS = "hpl:proxy_anchor"

# Runs in a process that can import neither the benchmark nor the packages listed below.
WITHOUT_THE_SUITE = """
import sys
for name in "benchmarks jinja2 matplotlib optuna pandas record_keeper rich tabulate typer".split():
    sys.modules[name] = None  # an import of it fails

import numpy as np
from pml_hierarchical.search import RetrievalModel

model_folder, files, labels = sys.argv[1:]
model = RetrievalModel.load(model_folder)
embeddings = model.embed(open(files).read().splitlines())
similarities = embeddings @ embeddings.T
np.fill_diagonal(similarities, -1)
labels = np.load(labels)
print((labels[similarities.argmax(axis=1)] == labels).mean())
"""


def call(*words: str | Path) -> None:
    """Run a command and show it."""
    print(f"\n$ pml-hierarchical {shlex.join(map(str, words))}", flush=True)
    if code := command_line.main(list(map(str, words))):
        sys.exit(code)


def score_without_the_suite(python: str, out: Path, files: list[Path], labels: np.ndarray) -> float:
    """P@1 of the exported model on these pictures."""
    (out / "test.txt").write_text("\n".join(map(str, files)))
    np.save(out / "test_labels.npy", labels)
    words = [str(out / name) for name in ("model", "test.txt", "test_labels.npy")]
    command = [python, "-c", WITHOUT_THE_SUITE, *words]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all steps; an assertion fails if the scores differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dataset", default="folder")
    parser.add_argument("--new", type=int, default=100, help="pictures of the gallery")
    parser.add_argument("--python", default=sys.executable, help="of an environment for the model")
    options, of_run = parser.parse_known_args(arguments)
    out, source = options.out, ["--dataset", options.dataset, "--data-root", options.pictures]

    call("run", *source, "--losses", LOSS, "--folds", "0", "--out", out / "runs", *of_run)
    (result,) = (out / "runs").glob("*/*/*/result.json")
    call("export", result.parent, "--out", out / "model")

    files = look_at_dataset(options.dataset, options.pictures).files
    test = np.load(result.parent / "test.npz")
    of_test = [files[row] for row in test["test_indices"]]
    score = score_without_the_suite(options.python, out, of_test, test["test_labels"][:, 0])
    reported = json.loads(result.read_text())["test"]["precision_at_1_level0"]
    print(f"\nP@1 in the report: {100 * reported:.1f}%, of the exported model: {100 * score:.1f}%")
    assert f"{100 * reported:.1f}" == f"{100 * score:.1f}"

    step = max(1, len(of_test) // options.new)
    for number, file in enumerate(of_test[::step][: options.new]):
        (out / "new").mkdir(exist_ok=True)
        shutil.copy(file, out / "new" / f"{number:03}{file.suffix}")
    call("embed", out / "model", out / "new", "--out", out / "embeddings")
    call("index", out / "embeddings", "--out", out / "gallery")
    query = min((out / "new").iterdir())
    call("search", out / "gallery", query, "-k", "5")
    page = out / "answers.html"
    call("search", out / "gallery", query, "--format", "page", "--out", page)


if __name__ == "__main__":
    main()
