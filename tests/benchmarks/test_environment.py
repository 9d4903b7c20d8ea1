"""What a result says of the code that it was made with."""

import subprocess

from benchmarks.environment import commit_of


def git(folder, *arguments):
    names = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


def test_commit(tmp_path):
    assert commit_of(tmp_path) is None
    tuned = tmp_path / "benchmarks" / "tuned" / "small.yaml"
    code = tmp_path / "package" / "code.py"
    for file in (tuned, code):
        file.parent.mkdir(parents=True)
        file.write_text("a")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    clean = commit_of(tmp_path / "benchmarks")
    assert len(clean) == 12
    tuned.write_text("what a search found")
    assert commit_of(tmp_path / "benchmarks") == clean
    code.write_text("b")
    assert commit_of(tmp_path / "benchmarks") == f"{clean}-dirty"


def test_an_installed_package_has_not_the_commit_of_the_project_around_it(tmp_path):
    installed = tmp_path / ".venv" / "package"
    installed.mkdir(parents=True)
    (installed / "code.py").write_text("a")
    (tmp_path / ".gitignore").write_text(".venv")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    assert commit_of(tmp_path) is not None
    assert commit_of(installed) is None
