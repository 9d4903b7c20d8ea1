import torch

from benchmarks.models import build_models


def test_pictures_get_a_convolutional_trunk():
    pictures = torch.randint(256, (5, 1, 32, 32), dtype=torch.uint8)
    models = build_models(pictures, embedding_size=16)
    assert models["embedder"](models["trunk"](pictures)).shape == (5, 16)


def test_head_of_features_keeps_their_geometry_at_the_start():
    features = torch.randn(40, 6) @ torch.randn(6, 20)  # of rank 6
    models = build_models(features, embedding_size=6)
    embeddings = models["embedder"](models["trunk"](features))
    ours, theirs = embeddings @ embeddings.T, features @ features.T
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_more_dimensions_than_features():
    assert build_models(torch.randn(4, 3), 8)["embedder"](torch.randn(2, 3)).shape == (2, 8)
