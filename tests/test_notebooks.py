"""The notebooks run, in their short form."""

from __future__ import annotations

import importlib.util

import pytest
from doc_pages import ROOT

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
KIBIBYTES = 150


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_both_are_here():
    assert {path.stem for path in NOTEBOOKS} == {"hpl_in_ten_minutes", "your_own_pictures"}


def test_stored_with_small_outputs_and_no_errors(path):
    assert path.stat().st_size < KIBIBYTES * 1024
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert {o.output_type for o in outputs} <= {"stream", "display_data", "execute_result"}
    assert any("image/png" in o.get("data", {}) for o in outputs)


def test_runs(path, tmp_path, monkeypatch):
    source = path.read_text(encoding="utf-8")
    if "pml_hierarchical.search" in source and not importlib.util.find_spec(
        "pml_hierarchical.search"
    ):
        pytest.skip("needs pml_hierarchical.search")
    monkeypatch.setenv("PML_HIERARCHICAL_SHORT", "1")
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.reads(source, as_version=4)
    nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(ROOT)}},  # the code of this checkout is imported
    ).execute()
