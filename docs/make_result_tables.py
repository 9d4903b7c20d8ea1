"""Make the tables of docs/results/index.md and of the README from docs/results/runs.csv.

From the repository's root::

    python -m docs.make_result_tables                  # the tables again
    python -m docs.make_result_tables report/runs.csv  # with the runs of a new report added

A run in a new file takes the place of one of the same data set, loss, seed and fold. Tables of
losses count a seed and fold only if every loss has a run of it, and differences over all base
losses only if every base and every hierarchical loss has, so that all have the same runs; the
difference of a single hierarchical loss to its base is over all of their pairs. Runs of another
length of training belong to a data set of their own, such as "glyphs, 48 epochs".
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.results import HIERARCHY_NAMES, mean_and_interval

RESULTS = Path("docs/results")
FINEST = "mean_average_precision_at_r_level0"
RUN = ["dataset", "loss", "seed", "fold"]
PREFIXES = {"hpl": "discovered", "hpl_given": "given"}
#: in the README: the data set, what is trained, and the names of the coarse levels that are shown
IN_README = {
    "glyphs": (
        "glyphs, 760 test characters",
        "a small network",
        {1: "letters", 2: "scripts and cases"},
    ),
    "glyphs, 192-epoch search": (
        "glyphs, over Proxy-NCA and Normalized Softmax, with settings of a longer search",
        "a small network",
        {1: "letters", 2: "scripts and cases"},
    ),
    "cars196": (
        "half of Cars196, 98 test models",
        "the upper blocks of a network",
        {2: "body types"},
    ),
    "grocery": ("Grocery Store, half of its 81 classes", "a linear head", {2: "kinds"}),
    "omniglot": ("Omniglot, 659 test characters", "a small network", {1: "alphabets"}),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Add the runs of other files, and write all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("new", nargs="*", type=Path, help="runs.csv of a report, to be added")
    runs = merged([RESULTS / "runs.csv", *parser.parse_args(arguments).new])
    runs.to_csv(RESULTS / "runs.csv", index=False)
    means = recomputed(pd.read_csv(RESULTS / "results.csv", keep_default_na=False), runs)
    means.to_csv(RESULTS / "results.csv", index=False)
    for path in (RESULTS / "index.md", Path("README.md")):
        path.write_text(with_tables(path.read_text(encoding="utf-8"), runs), encoding="utf-8")


def merged(paths: Sequence[Path]) -> pd.DataFrame:
    """The runs of all files, a later one in the place of an earlier one, in the first's order."""
    runs = pd.concat([pd.read_csv(path) for path in paths])
    lengths = runs.groupby("dataset")["epochs"].unique()
    if (mixed := lengths[lengths.str.len() > 1]).size:
        raise ValueError(
            f"runs of one data set have different epochs, {dict(mixed)}: give those that are in "
            f"{RESULTS / 'runs.csv'} another name, such as 'glyphs, 48 epochs'"
        )
    runs = runs.drop_duplicates(RUN, keep="last")
    # the order of losses is that of the file to be written, so that reading it again keeps it
    runs = runs.sort_values("dataset", kind="stable")
    order = {loss: place for place, loss in enumerate(dict.fromkeys(runs["loss"]))}
    return runs.sort_values(RUN, key=lambda c: c.map(order) if c.name == "loss" else c)


def recomputed(means: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of results.csv with the means of these runs; what was not trained stays."""
    made = []
    for (dataset, loss, minus), rows in means.groupby(["dataset", "loss", "minus"], sort=False):
        own = runs[runs["dataset"] == dataset]
        if loss in set(own["loss"]):
            shared = complete(own)
            shared = shared if len(shared) else own
            found = differences(own, [loss]) if minus else shared[shared["loss"] == loss]
            new = [mean_and_interval(found[key]) for key in rows["key"]]
            rows = rows.assign(runs=len(found))
            rows[["mean", "half_width"]] = new
        made.append(rows)
    return pd.concat(made).sort_index()


def runs_of(runs: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The runs of a data set, with the metrics that it has."""
    return runs[runs["dataset"] == dataset].dropna(axis="columns", how="all")


def complete(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the seeds and folds that every loss has."""
    counts = runs.groupby(["seed", "fold"])["loss"].transform("count")
    return runs[counts == runs["loss"].nunique()]


def paired(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the seeds and folds that every hierarchical loss and every base has."""
    hierarchical = [loss for loss in runs["loss"].unique() if ":" in loss]
    bases = [loss.partition(":")[2] for loss in hierarchical]
    return complete(runs[runs["loss"].isin([*hierarchical, *bases])])


def differences(runs: pd.DataFrame, losses: Sequence[str]) -> pd.DataFrame:
    """HPL minus its base for each run of some losses that has a partner."""
    indexed = runs.set_index(["loss", "seed", "fold"]).select_dtypes("number")
    found = [indexed.loc[loss] - indexed.loc[loss.partition(":")[2]] for loss in losses]
    return pd.concat(found).dropna(how="all")


def over_bases(runs: pd.DataFrame, losses: Sequence[str]) -> pd.DataFrame:
    """The mean difference of some losses to their bases, for each seed and fold.

    Their runs share the training classes of a fold, so that they count as one in an interval.
    """
    return differences(runs, losses).groupby(level=["seed", "fold"]).mean()


def keys_of(runs: pd.DataFrame) -> list[str]:
    """P@1, MAP@R of every level, and what is measured over all levels."""
    by_level = [key for key in runs if key.startswith(FINEST[:-1])]
    return ["precision_at_1_level0", *by_level, *HIERARCHY_NAMES]


def headers(keys: Sequence[str], level_names: Sequence[str]) -> list[str]:
    """The names of the columns."""
    names = {"precision_at_1_level0": "P@1", FINEST: f"MAP@R: {level_names[0]}"}
    names |= {"hierarchical_average_precision": "H-AP", "average_set_intersection": "ASI"}
    names["mistake_severity"] = "mistake severity"
    return [names.get(key) or level_names[int(key[-1])] for key in keys]


def losses_table(runs: pd.DataFrame, level_names: Sequence[str]) -> str:
    """A row per loss, the best first, the best of each column in bold.

    Mistake severity is a mean over the mistakes alone, which are others for every loss: no best.
    """
    keys = keys_of(runs)
    means = runs.groupby("loss", sort=False)[keys].mean()
    means = means.sort_values(FINEST, ascending=False, kind="stable")
    shown = {key: means[key].round(digits_of(key)) for key in keys}
    best = {key: shown[key].max() for key in keys if key != "mistake_severity"}
    rows = []
    for loss in means.index:
        cells = []
        for key in keys:
            text = f"{means.loc[loss, key]:.{digits_of(key)}f}"
            half = mean_and_interval(runs.loc[runs["loss"] == loss, key])[1]
            if key == FINEST and np.isfinite(half):
                text += f" ±{half:.1f}"
            cells.append(f"**{text}**" if shown[key][loss] == best.get(key) else text)
        rows.append([name_of(loss, runs), *cells])
    return table(["loss", *headers(keys, level_names)], rows)


def digits_of(key: str) -> int:
    """Of a value; a severity is a small number."""
    return 2 if key == "mistake_severity" else 1


def differences_table(runs: pd.DataFrame, level_names: Sequence[str]) -> str:
    """A row per hierarchical loss, and one for the mean over all bases."""
    keys, rows = keys_of(runs), []
    for prefix, tree in PREFIXES.items():
        losses = [loss for loss in runs["loss"].unique() if loss.startswith(f"{prefix}:")]
        groups = [(name_of(loss, runs), differences(runs, [loss])) for loss in losses]
        if len(losses) > 1:
            groups.append((f"mean over the bases, {tree}", over_bases(paired(runs), losses)))
        for name, found in groups:
            rows.append([name, *(difference(found[key]) for key in keys)])
    return table(["HPL minus its base", *headers(keys, level_names)], rows)


def readme_table(runs: pd.DataFrame) -> str:
    """What HPL changes on each data set, over all bases."""
    rows = []
    for dataset, (what, trained, levels) in IN_README.items():
        own = paired(runs_of(runs, dataset))
        count = len(own[["seed", "fold"]].drop_duplicates())
        what += ", one run of each loss" if count == 1 else ""
        for prefix in ("hpl_given", "hpl"):
            found = over_bases(own, [o for o in own["loss"].unique() if o.startswith(f"{prefix}:")])
            coarse = [
                f"{name} {difference(found[f'{FINEST[:-1]}{level}'])}"
                for level, name in levels.items()
            ]
            values = [difference(found[FINEST]), ", ".join(coarse)]
            values.append(difference(found["hierarchical_average_precision"]))
            first = [what, trained] if prefix == "hpl_given" else ["", ""]
            rows.append([*first, PREFIXES[prefix], *values])
    names = ["data set", "what is trained", "tree", "exact class", "superclasses", "H-AP"]
    return table(names, rows, texts=3)


def difference(values: pd.Series) -> str:
    """A mean with its 95% interval, bold where this does not include 0."""
    mean, half = mean_and_interval(values)
    text = f"{mean:+.2f} ±{half:.2f}" if np.isfinite(half) else f"{mean:+.2f}"
    return f"**{text}**" if abs(mean) > half else text


def name_of(loss: str, runs: pd.DataFrame) -> str:
    """The name of a loss, with the kind of its tree."""
    name = str(runs.loc[runs["loss"] == loss, "name"].iloc[0]).removesuffix(" (given tree)")
    tree = PREFIXES.get(loss.partition(":")[0]) if ":" in loss else None
    return f"{name}, {tree}" if tree else name


def table(names: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Markdown, the columns after the first ``texts`` ones being numbers."""
    kinds = [*["----"] * texts, *["---:"] * (len(names) - texts)]
    return "\n".join(
        f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in row)}|"
        for row in (names, kinds, *rows)
    )


def with_tables(text: str, runs: pd.DataFrame) -> str:
    """A page with the tables between its marks made again."""
    means = pd.read_csv(RESULTS / "results.csv")
    made = {"readme": readme_table(runs)}
    for dataset, rows in means.groupby("dataset"):
        names = rows[rows["key"].str.startswith(FINEST[:-1])]
        names = names.drop_duplicates("key").sort_values("key")["level"].tolist()
        own = runs_of(runs, str(dataset))
        made[f"losses {dataset}"] = losses_table(complete(own), names)
        made[f"differences {dataset}"] = differences_table(own, names)
    for name, content in made.items():
        before, mark, rest = text.partition(f"<!-- table: {name} -->\n")
        if mark:
            _, end, after = rest.partition("<!-- end of table -->")
            text = f"{before}{mark}{content}\n{end}{after}"
    return text


if __name__ == "__main__":
    main()
