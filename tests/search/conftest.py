"""A folder with what the commands of a search make, and a way to call them."""

import shutil
import warnings

import pytest
from small_gallery import make_model, write_pictures

from benchmarks import command_line


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model, pictures, embeddings and a gallery; tests change copies."""
    folder = tmp_path_factory.mktemp("made")
    make_model().save(folder / "model")
    write_pictures(folder / "photos", each=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert command_line.main(["embed", "model", "photos"]) == 0
        assert command_line.main(["index", "embeddings"]) == 0
    return folder


@pytest.fixture
def workspace(made, tmp_path, monkeypatch):
    """A copy, whose paths are those of the copy; the current folder."""
    own = shutil.copytree(made, tmp_path / "own")
    for name in ("embeddings/pictures.json", "gallery/index.json"):
        (own / name).write_text((own / name).read_text().replace(str(made), str(own)))
    monkeypatch.chdir(own)
    return own


@pytest.fixture
def call(capsys):
    """Run a command in this process: its code, what it printed, and its errors and warnings."""

    def run(*words):
        capsys.readouterr()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            code = command_line.main([str(word) for word in words])
        out, errors = capsys.readouterr()
        return code, out, "".join(f"{one.message}\n" for one in caught) + errors

    return run
