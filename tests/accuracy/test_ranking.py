"""Ranks are exact, ties go to the smaller index, and every path gives the same."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pytorch_metric_learning import distances
from pytorch_metric_learning.utils.inference import CustomKNN, FaissKNN

from pml_hierarchical.accuracy import radix, ranking
from pml_hierarchical.accuracy.distances import ReferenceDistances
from pml_hierarchical.accuracy.inputs import Embeddings
from pml_hierarchical.accuracy.ranking import LabelCodes, ranked_blocks

CPU = torch.device("cpu")

# few values, so that there are ties, both zeros among them
tied_floats = st.sampled_from([-3.5, -1.0, -0.0, 0.0, 2.0**-100, 0.5, 1.0, 2.0**127, float("inf")])
tied_distances = hnp.arrays(np.float32, (3, 12), elements=tied_floats, fill=st.nothing())


def rank(distances, codes, own=None, depth=None, dtype=torch.float32, with_indices=True):
    depth = depth or distances.shape[1] - (own is not None)
    return ranking.rank_by_distance(
        torch.tensor(distances, dtype=dtype),
        (codes[:, : len(distances)], codes),
        own,
        depth,
        distances.shape[1],
        with_indices,
    )


def widened(ranks, levels, depth, width):
    """Padded to a width: the number of columns that are padding all the way down is open."""
    pad, more = torch.nn.functional.pad, (0, width - ranks.shape[1])
    return pad(ranks, more, value=depth + 1), pad(levels, more)


FINE = torch.tensor([0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 0, 5], dtype=torch.int32)
CODES = torch.stack([FINE, FINE // 3])


@given(tied_distances, st.integers(1, 11), st.booleans(), st.sampled_from(["32", "64"]))
def test_order_ranks_and_levels(distances, depth, leave_out, path):
    own = torch.arange(3) if leave_out else None
    expected = [
        [j for j in sorted(range(12), key=lambda j: (row[j], j)) if not (leave_out and j == i)][
            :depth
        ]
        for i, row in enumerate(distances)
    ]
    if leave_out and path == "64":  # there, infinity is for the query itself
        distances = np.minimum(distances, np.float32(3.3e38))
    dtype = torch.float64 if path == "64" else torch.float32
    ranks, levels, indices = rank(distances, CODES, own, depth, dtype)
    assert indices.tolist() == expected
    ranks, levels = widened(ranks, levels, depth, 12)
    for i, order in enumerate(expected):
        shared = [int((CODES[:, i] == CODES[:, j]).sum()) for j in order]
        related = [(n, level) for n, level in enumerate(shared, 1) if level]
        found = list(zip(ranks[i].tolist(), levels[i].tolist(), strict=True))
        assert found == related + [(depth + 1, 0)] * (12 - len(related))


@given(hnp.arrays(np.float32, (2, 300), elements=st.floats(0, 4, width=32)), st.integers(1, 299))
def test_radix_sort_and_argsort_agree_at_every_depth(distances, depth):
    codes = torch.arange(300, dtype=torch.int32)[None] % 7
    own = torch.arange(2)
    ranks, levels, indices = ranking.rank_by_distance(
        torch.tensor(distances), (codes[:, :2], codes), own, depth, 300, True
    )
    found = torch.tensor(distances).scatter(1, own[:, None], torch.inf)
    order = found.sort(dim=1, stable=True).indices[:, :depth]
    assert torch.equal(indices, order)
    expected = ranking.rank_by_order(order, (codes[:, :2], codes), 300)
    assert all(map(torch.equal, widened(ranks, levels, depth, 300), expected))


@pytest.mark.parametrize("width", [0, 1, 2, 11, 12, 13, 24, 25, 30])
@pytest.mark.parametrize("depth", [1, 40, 999, 1999, 2000, 3999])
def test_the_nearest_of_many(width, depth):
    """However many bits tell distances apart: few where many are equal, more than are sorted by."""
    bits = 2**24 + np.random.default_rng(0).integers(0, 2**width, (40, 4000), dtype=np.int32)
    distances = torch.from_numpy(bits.view(np.float32))
    codes = torch.arange(4000, dtype=torch.int32)[None] % 7
    own = torch.arange(40)
    ranks, levels, indices = rank(distances.numpy(), codes, own, depth)
    order = distances.scatter(1, own[:, None], torch.inf).sort(dim=1, stable=True).indices
    assert torch.equal(indices, order[:, :depth])
    expected = ranking.rank_by_order(order[:, :depth], (codes[:, :40], codes), 4000)
    assert all(map(torch.equal, widened(ranks, levels, depth, 4000), expected))
    without = rank(distances.numpy(), codes, own, depth, with_indices=False)
    assert without[2] is None
    assert all(map(torch.equal, without[:2], (ranks, levels)))


def test_compiled_also_where_no_folder_can_keep_the_result(monkeypatch):
    njit = radix.numba.njit

    def without_cache(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function 'add': no locator available")
        return njit(**options)

    monkeypatch.setattr(radix.numba, "njit", without_cache)
    assert radix._compiled(lambda a, b: a + b)(2, 3) == 5


def neighbours(embeddings, labels, depth=None, **kwargs):
    block = Embeddings(embeddings, "query", CPU)
    labels = torch.from_numpy(labels)
    codes = LabelCodes(labels, labels, True)
    return list(ranked_blocks(block, block, codes, depth or len(block) - 1, True, **kwargs))


def everything(parts):
    width = max(part.ranks.shape[1] for part in parts)
    wide = [widened(part.ranks, part.levels, part.depth, width) for part in parts]
    return [torch.cat(rows) for rows in zip(*wide, strict=True)]


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(90, 6, generator=generator)
    fine = np.arange(90) % 15
    return embeddings, np.stack([fine, fine // 4, fine // 8], axis=1)


@pytest.mark.parametrize("block_size", [1, 7, 89, 90, 1000])
def test_any_block_size_gives_the_same(sample, block_size):
    expected = everything(neighbours(*sample))
    found = everything(neighbours(*sample, block_size=block_size))
    assert all(map(torch.equal, found, expected))


def test_blocks_fit_the_free_memory(sample, monkeypatch):
    references = Embeddings(sample[0], "reference", CPU)
    sizes = {}
    for free in (2**16, 2**20):
        monkeypatch.setattr(ranking, "free_memory", lambda _, free=free: free)
        sizes[free] = ranking.fitting_block_size(references, 11, False)
        assert sizes[free] * 4 * 90 <= free // 4
    assert 1 <= sizes[2**16] < sizes[2**20]
    assert ranking.fitting_block_size(references, 11, True) < sizes[2**20]
    monkeypatch.setattr(ranking, "free_memory", lambda _: 0)
    assert ranking.fitting_block_size(references, 11, False) == 1
    assert [block.stop for block in neighbours(*sample)] == list(range(1, 91))


def test_free_memory_is_known():
    assert ranking.free_memory(CPU) > 2**20


@pytest.mark.parametrize(
    "distance",
    [
        distances.CosineSimilarity(),
        distances.DotProductSimilarity(normalize_embeddings=False),
        distances.DotProductSimilarity(normalize_embeddings=False, power=3),
        distances.LpDistance(),
        distances.LpDistance(normalize_embeddings=False, power=2),
        distances.LpDistance(normalize_embeddings=False, p=1),
        distances.LpDistance(p=3),
        distances.SNRDistance(),
    ],
    ids=lambda d: f"{type(d).__name__}-p{d.p}-power{d.power}-{d.normalize_embeddings}",
)
def test_distances_are_those_of_pml(sample, distance):
    embeddings, labels = sample
    ours = neighbours(embeddings, labels, distance=distance, with_indices=True, block_size=40)
    found = torch.cat([block.indices for block in ours])
    _, expected = CustomKNN(distance)(embeddings, 89, embeddings, ref_includes_query=True)
    assert (found.sort(dim=1).values == expected.sort(dim=1).values).all()
    exact = distance(embeddings.double())  # topk has no rule for ties in float32
    assert torch.allclose(exact.gather(1, found), exact.gather(1, expected), atol=1e-5)


@pytest.mark.parametrize(
    "knn_func",
    [
        FaissKNN(),
        CustomKNN(distances.LpDistance(normalize_embeddings=False)),
        CustomKNN(distances.LpDistance(normalize_embeddings=False), batch_size=16),
    ],
    ids=["faiss", "custom", "batched"],
)
@pytest.mark.parametrize("depth", [5, 89])
def test_neighbours_of_pml_functions(sample, knn_func, depth):
    ours = everything(neighbours(*sample, depth=depth))
    theirs = everything(neighbours(*sample, depth=depth, knn_func=knn_func, block_size=17))
    assert all(map(torch.equal, ours, theirs))


def test_a_function_that_finds_fewer_neighbours(sample):
    def first_two(query, k, reference, ref_includes_query):
        indices = torch.full((len(query), k), -1)
        indices[:, :2] = torch.tensor([88, 89])
        return indices.float(), indices

    ranks, levels = everything(neighbours(*sample, depth=5, knn_func=first_two))
    assert ((levels > 0) <= (ranks <= 2)).all()
    assert (levels > 0).any()


def test_a_function_that_misses_the_query_itself(sample):
    """Then the farthest of its list is one too many."""

    def some(query, k, reference, ref_includes_query):
        indices = torch.arange(40, 40 + k).expand(len(query), -1)
        return indices.float(), indices

    ours = neighbours(*sample, depth=5, knn_func=some, with_indices=True)
    indices = torch.cat([block.indices for block in ours])
    assert indices[0].tolist() == [40, 41, 42, 43, 44]
    assert indices[41].tolist() == [40, 42, 43, 44, 45]


def test_references_on_disk_and_in_other_dtypes(sample, tmp_path):
    embeddings, labels = sample
    half = embeddings.half()
    expected = everything(neighbours(half.float(), labels))
    np.save(tmp_path / "half.npy", half.numpy())
    on_disk = np.load(tmp_path / "half.npy", mmap_mode="r")
    for other in (half, half.numpy(), on_disk, half.float().numpy()):
        assert all(map(torch.equal, everything(neighbours(other, labels)), expected))
    rounded = embeddings.bfloat16()
    expected = everything(neighbours(rounded.float(), labels))
    assert all(map(torch.equal, everything(neighbours(rounded, labels)), expected))


def test_slices_of_references_make_no_difference(sample, monkeypatch):
    embeddings, _ = sample
    queries = Embeddings(embeddings, "q", CPU)
    whole = ReferenceDistances(queries, Embeddings(embeddings, "r", CPU), None)
    expected = whole(embeddings[:4]).clone()
    monkeypatch.setattr("pml_hierarchical.accuracy.inputs.CHUNK_BYTES", 8 * 6 * 10)
    read_only = embeddings.numpy().copy()
    read_only.setflags(write=False)
    sliced = ReferenceDistances(queries, Embeddings(read_only, "r", CPU), None)
    assert len(sliced.references.slices()) == 9
    assert torch.allclose(sliced(embeddings[:4]), expected, atol=1e-6)
