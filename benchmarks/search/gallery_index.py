"""Nearest embeddings by faiss: exact, or approximate for large galleries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import faiss as partly_typed_faiss
import numpy as np

from pml_hierarchical.core.hierarchy import as_integers
from pml_hierarchical.hierarchy import Hierarchy

from ..files import write_together

faiss: Any = partly_typed_faiss

KINDS = {"exact": "Flat", "ivf": "IVF{lists},Flat", "hnsw": "HNSW32,Flat"}
EXACT_UP_TO = 200_000  # rows, for kind="auto"
ENGINE_FILE, DESCRIPTION_FILE = _FILES = ("index.faiss", "index.json")
_VERSION = 1  # of index.json, as "gallery_version"; the first galleries had none
_BLOCK = 2**14  # rows in memory besides the index


class Index:
    """Pictures to be found by their embeddings. Use :meth:`build` or :meth:`load`.

    Attributes: ``kind``; ``paths``, one per row; ``classes``, the fine class of each row, ``int64``
    or ``None``; ``hierarchy``, their tree or ``None``; ``about``, what else ``build`` was given.

    Example:
        >>> index = Index.build(np.eye(3, dtype=np.float32), ["a.jpg", "b.jpg", "c.jpg"])
        >>> similarities, rows = index.search([[0.0, 0.0, 2.0]], k=1)
        >>> similarities.tolist(), [index.paths[row] for row in rows[0]]
        ([[1.0]], ['c.jpg'])
    """

    def __init__(
        self, engine: Any, kind: str, paths: Any, classes: Any, hierarchy: Any, **about: Any
    ) -> None:
        self.engine, self.kind, self.paths, self.about = engine, kind, list(map(str, paths)), about
        self.classes = None if classes is None else as_integers(classes, "classes", ndim=1)
        self.hierarchy = None if hierarchy is None else Hierarchy.of(hierarchy)
        sizes = {engine.ntotal, len(self.paths), len(self.paths if classes is None else classes)}
        if len(sizes) != 1:
            raise ValueError(f"the numbers of embeddings, paths and classes differ: {sizes}")
        if self.hierarchy is not None and self.classes is not None:
            self.hierarchy.ancestors(self.classes, 0)  # raises for a class that is not in it

    def __len__(self) -> int:
        return len(self.paths)

    @classmethod
    def build(
        cls,
        embeddings: np.ndarray,
        paths: Sequence[str | Path],
        classes: Any = None,
        hierarchy: Hierarchy | None = None,
        kind: str = "exact",
        **about: Any,
    ) -> Index:
        """Index embeddings ``(n, d)``, which may be a memory map: they are read block by block.

        The same embeddings give the same index. ``"ivf"`` makes ``4 sqrt(n)`` lists of 39 rows or
        more and searches a sixteenth of them, at least 8. ``"hnsw"`` links a row with 32 others
        (``efConstruction`` 100, ``efSearch`` 128), in one thread. ``"auto"`` is exact up to 200,000
        rows and IVF above. ``about`` is stored as JSON. A ``ValueError`` says what does not fit.
        """
        if len(shape := np.shape(embeddings)) != 2:
            raise ValueError(f"embeddings must have the shape (rows, dimension), got {shape}")
        n, d = shape
        kind = ("exact" if n <= EXACT_UP_TO else "ivf") if kind == "auto" else kind
        if kind not in KINDS or n == 0:
            raise ValueError(
                f"expected 1 row or more, kind auto, exact, ivf or hnsw; got {n} and {kind!r}"
            )
        lists = max(1, min(int(4 * n**0.5), n // 39))
        engine = faiss.index_factory(d, KINDS[kind].format(lists=lists), faiss.METRIC_INNER_PRODUCT)
        num_threads = faiss.omp_get_max_threads()
        if kind == "ivf":
            engine.nprobe = min(lists, max(8, lists // 16))
            engine.cp.min_points_per_centroid = 1  # or faiss warns of fewer than 39 rows
            engine.train(_unit(embeddings[np.linspace(0, n - 1, min(n, 64 * lists)).astype(int)]))
            engine.make_direct_map()  # for embeddings()
        elif kind == "hnsw":
            engine.hnsw.efConstruction, engine.hnsw.efSearch = 100, 128
            faiss.omp_set_num_threads(1)  # several would link the rows in an order that varies
        try:
            for start in range(0, n, _BLOCK):
                engine.add(_unit(embeddings[start : start + _BLOCK]))
        finally:
            faiss.omp_set_num_threads(num_threads)
        return cls(engine, kind, paths, classes, hierarchy, **about)

    def search(self, queries: Any, k: int = 10, among: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` rows of largest cosine for each query, largest first.

        Arguments:
            queries: floats ``(n, d)``.
            k: how many; all, if there are fewer.
            among: the only rows to search, integers; such a search is exact whatever the kind.

        Returns:
            cosines ``float32 (n, k)`` and rows ``int64 (n, k)``.

        Raises:
            ValueError: if there is nothing to search, or for another dimension or a NaN.
        """
        vectors, searched = _unit(queries), np.ones(len(self), bool)
        if vectors.shape[1:] != (self.engine.d,):
            wrong = f"queries of shape {vectors.shape} in a gallery of {self.engine.d} dimensions"
            raise ValueError(f"{wrong}: embed both with the same model")
        if among is not None:
            wanted = np.asarray(among)
            if wanted.size and not (wanted.dtype.kind in "iu" and wanted.min() >= 0):
                raise ValueError(
                    f"among must be numbers of rows from 0, got {wanted.dtype} {wanted.ravel()[:3]}"
                    "...: for a mask give numpy.flatnonzero(mask)"
                )
            if wanted.size and wanted.max() >= len(self):
                raise ValueError(f"among has row {wanted.max()}, but there are {len(self)} rows")
            searched[:] = False
            searched[wanted.astype(np.int64)] = True
        k = min(k, int(searched.sum()))
        if k < 1:
            raise ValueError("k and the number of rows to search must be at least 1")
        if among is not None:
            return self._search_exactly(vectors, k, searched)
        similarities, rows = self.engine.search(vectors, k)
        if (few := (rows < 0).any(axis=1)).any():  # there were fewer in the lists that it searched
            similarities[few], rows[few] = self._search_exactly(vectors[few], k, searched)
        return similarities, rows

    def _search_exactly(self, vectors: np.ndarray, k: int, searched: np.ndarray) -> Any:
        selector = faiss.IDSelectorBitmap(np.packbits(searched, bitorder="little"))
        engine, options = self.engine, faiss.SearchParameters(sel=selector)
        if self.kind == "ivf":
            options = faiss.SearchParametersIVF(sel=selector, nprobe=engine.nlist)
        elif self.kind == "hnsw":
            engine = engine.storage
        # faiss.contrib.torch_utils, which PML imports, replaces search by one without params
        return getattr(engine, "search_numpy", engine.search)(vectors, k, params=options)

    def embeddings(self, rows: Any) -> np.ndarray:
        """The embeddings of some rows, ``float32 (n, d)``, of length 1."""
        return self.engine.reconstruct_batch(np.asarray(rows, np.int64))

    def superclass(self, row: int, level: int) -> str:
        """The name of the class of a row at ``level``, 0 for the finest, or its number."""
        if self.hierarchy is None or self.classes is None:
            raise ValueError("this gallery has no tree of classes")
        node = int(self.hierarchy.ancestors(self.classes[row], level))
        names = self.hierarchy.names and self.hierarchy.names[level]
        return names[node] if names else str(node)

    def save(self, folder: str | Path) -> None:
        """Write ``index.faiss`` and ``index.json``, which :meth:`load` reads."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        classes = None if self.classes is None else self.classes.tolist()
        described = {"kind": self.kind, "paths": self.paths, "classes": classes, **self.about}
        described["hierarchy"] = self.hierarchy and self.hierarchy.to_dict()
        described["gallery_version"] = _VERSION
        content = json.dumps(described, default=_listed).encode()
        engine, description = (Path(folder, name) for name in _FILES)

        def write_engine(file: IO[bytes]) -> None:
            faiss.write_index(self.engine, faiss.PyCallbackIOWriter(file.write))

        write_together({engine: write_engine, description: lambda file: file.write(content)})

    @classmethod
    def load(cls, folder: str | Path) -> Index:
        """Read a gallery.

        A ``FileNotFoundError`` or ``ValueError`` says if it is not one, damaged or too new.
        """
        engine, described = (Path(folder, name) for name in _FILES)
        if not described.is_file():
            raise FileNotFoundError(f"{folder} is not a gallery: the command index makes galleries")
        try:
            about = json.loads(described.read_bytes())
            is_newer = about.pop("gallery_version", _VERSION) > _VERSION
            found = None if is_newer else cls(faiss.read_index(str(engine)), **about)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"the gallery {folder} is damaged ({error}): index again") from error
        if found is None:
            wrong = f"the gallery {folder} was made by a newer version"
            raise ValueError(f"{wrong}: pip install --upgrade pml-hierarchical")
        return found


def _listed(value: Any) -> Any:
    """Arrays and numbers of numpy as JSON values."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    kind = type(value).__name__
    raise TypeError(f"a gallery is stored as JSON, which has no {kind}: {value!r}")


def _unit(vectors: Any) -> np.ndarray:
    """A copy with rows of length 1, whatever their scale."""
    unit = np.array(vectors, np.float32, order="C", ndmin=2)
    if not np.isfinite(unit).all():
        raise ValueError("embeddings must be finite, but there is a NaN or an infinity")
    # squares of float32 fit float64, and a row of zeros stays as it is
    lengths = np.sqrt(np.einsum("ij,ij->i", unit, unit, dtype=np.float64))
    unit /= np.where(lengths > 0, lengths, 1)[:, None]
    return unit
