"""The example from a folder to a search page, on a catalogue of tiny pictures."""

import importlib.util
import re
from pathlib import Path

import pytest
from shop_folder import build_shop, quick_folder

EXAMPLE = Path(__file__).parents[2] / "examples" / "from_folder_to_search.py"
QUICK = ["--new", "20", "--backbone", "efficientnet_lite0", "--crop", "32"]


@pytest.mark.xdist_group("UMAP")  # for the report: each process compiles it again
def test_the_score_of_the_report_is_found_again_and_the_page_is_written(tmp_path, capsys):
    build_shop(tmp_path / "pictures", pictures=5)
    spec = importlib.util.spec_from_file_location("example", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    with quick_folder(tmp_path / "cache"):
        example.main([str(tmp_path / "pictures"), str(tmp_path / "out"), *QUICK])
    out = capsys.readouterr().out
    (scores,) = re.findall(r"in the report: ([\d.]+)%, of the exported model: (\S+)%", out)
    assert scores[0] == scores[1]
    report = next((tmp_path / "out/runs").glob("*/report.md")).read_text()
    assert re.search(rf"(?i)hpl.*\b{re.escape(scores[0])}\b", report)
    assert "20 pictures" in out
    assert "superclass" in out
    assert (tmp_path / "out/answers.html").read_text().count("data:image/jpeg") == 11
