"""The example from a folder to a search page, on a catalogue of tiny pictures."""

import os
import re
import subprocess
import sys
from pathlib import Path

from shop_folder import build_shop

EXAMPLE = Path(__file__).parents[2] / "examples" / "from_folder_to_search.py"
SHOP = {f"kind {k}": [f"thing {k}{i}" for i in range(8)] for k in range(4)}
QUICK = ["--new", "20", "--backbone", "efficientnet_lite0", "--crop", "32", "--epochs", "1"]


def test_the_score_of_the_report_is_found_again_and_the_page_is_written(tmp_path):
    build_shop(tmp_path / "pictures", SHOP, pictures=8)
    cache = {"PML_HIERARCHICAL_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, EXAMPLE, tmp_path / "pictures", tmp_path / "out", *QUICK]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **cache})
    assert done.returncode == 0, done.stderr
    (scores,) = re.findall(r"in the report: ([\d.]+)%, of the exported model: (\S+)%", done.stdout)
    assert scores[0] == scores[1]
    assert 10 < float(scores[0]) < 100  # of 16 classes
    report = next((tmp_path / "out/runs").glob("*/report.md")).read_text()
    assert re.search(rf"hpl:proxy_anchor.*\b{re.escape(scores[0])}\b", report)
    assert "20 pictures" in done.stdout
    assert "superclass" in done.stdout
    assert (tmp_path / "out/answers.html").read_text().count("data:image/jpeg") == 11
