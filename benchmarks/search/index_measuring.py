"""Time and memory of a gallery of many pictures, and how much approximate searches find.

    python -m benchmarks.search.index_measuring FOLDER [NUMBER OF PICTURES]

writes tiny JPEG files into FOLDER, unless they are there, and runs each step in a process of its
own. The network is one linear layer, so that the times are those of everything else.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

CLASSES, SIDE, SIZE = 2000, 32, 128
NUM_QUERIES = 200
STEPS = ("pictures", "embed", "index:exact", "index:ivf", "index:hnsw", "search:exact",
         "search:ivf", "search:hnsw")  # fmt: skip


def pictures(folder: Path, number: int) -> dict[str, Any]:
    """Noisy versions of a few thousand random pictures."""
    from PIL import Image

    random = np.random.default_rng(0)
    patterns = random.integers(40, 216, (CLASSES, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
    for row in range(number):
        file = folder / "pictures" / f"{row % CLASSES:04}" / f"{row}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            noise = random.integers(-40, 40, (SIDE, SIDE, 3))
            Image.fromarray((patterns[row % CLASSES] + noise).astype(np.uint8)).save(file)
    return {}


def embed(folder: Path, number: int) -> dict[str, Any]:
    """Embed all pictures, as the command does."""
    from .embed_folder import embed_into
    from .embed_pictures import find_pictures

    model = make_model()
    model.save(folder / "model")
    found = find_pictures([folder / "pictures"])
    embed_into(folder / "embeddings", folder / "model", model, found, batch_size=256)
    return {"MiB on disk": (folder / "embeddings" / "embeddings.npy").stat().st_size / 2**20}


def make_model() -> Any:
    """One linear layer and no classes."""
    import torch

    from pml_hierarchical.search import RetrievalModel

    torch.manual_seed(0)
    linear = torch.nn.Linear(3 * SIDE**2, SIZE)
    layers = [
        {"builder": "torch.nn.Flatten"},
        {
            "builder": "torch.nn.Linear",
            "arguments": {"in_features": 3 * SIDE**2, "out_features": SIZE},
        },
    ]
    transform = [
        {"builder": "torchvision.transforms.Resize", "arguments": {"size": [SIDE, SIDE]}},
        {"builder": "torchvision.transforms.ToTensor"},
        {"builder": "torchvision.transforms.Normalize", "arguments": {"mean": [0.5], "std": [0.5]}},
    ]
    weights = {f"1.{name}": value for name, value in linear.state_dict().items()}
    return RetrievalModel(layers, transform, weights=weights)


def index(folder: Path, kind: str) -> dict[str, Any]:
    """Index the embeddings, as the command does."""
    from .index_gallery import index_gallery

    index_gallery(folder / "embeddings", folder / kind, kind)
    size = sum(file.stat().st_size for file in (folder / kind).iterdir())
    return {"MiB on disk": size / 2**20}


def search(folder: Path, kind: str) -> dict[str, Any]:
    """Load the gallery and search for single pictures, without the network."""
    from .gallery_index import Index
    from .index_gallery import recall_at

    embeddings = np.load(folder / "embeddings" / "embeddings.npy", mmap_mode="r")
    loaded = Index.load(folder / kind)
    queries = embeddings[:: len(embeddings) // NUM_QUERIES][:NUM_QUERIES]
    times = []
    for query in queries:
        start = time.process_time()  # without the time of other processes on the same machine
        loaded.search(query, 10)
        times.append(1000 * (time.process_time() - start))
    recall = recall_at(loaded, embeddings)
    return {"median CPU ms per query": float(np.median(times)), "recall@10": recall}


def main() -> None:
    """Run all steps, or one that was named."""
    folder, number = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    if len(sys.argv) < 4:
        for step in STEPS:
            command = [sys.executable, "-m", f"{__package__}.index_measuring"]
            subprocess.run([*command, str(folder), str(number), step], check=True)
        return
    step, _, kind = sys.argv[3].partition(":")
    start = time.perf_counter()
    if kind:
        found = {"index": index, "search": search}[step](folder, kind)
    else:
        found = {"pictures": pictures, "embed": embed}[step](folder, number)
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    measured = {"seconds": seconds, "CPU seconds": used.ru_utime + used.ru_stime}
    measured["peak MiB"] = used.ru_maxrss / 1024  # KiB on Linux
    print(json.dumps({"step": sys.argv[3], **measured, **found}), flush=True)


if __name__ == "__main__":
    main()
