"""The site builds without a warning, asks no other host for anything, and fits on a phone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from doc_pages import ROOT

pytest.importorskip("material", reason="the extra docs is not installed")
pytest.importorskip("mkdocstrings")

pytestmark = pytest.mark.xdist_group("site")  # which is built once


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        # --quiet would not see the warnings that --strict is about
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def pages(site):
    return {
        path.relative_to(site).as_posix(): path.read_text("utf-8") for path in site.rglob("*.html")
    }


def test_every_page_is_built(site):
    found = pages(site)
    assert {"index.html", "loss/index.html", "changelog/index.html"} <= found.keys()
    assert "HierarchicalProxyLoss(" in re.sub("<[^>]+>", "", found["reference/losses/index.html"])
    assert "WACV 2022" in found["index.html"]  # of the README
    assert "shields.io" not in found["index.html"]


def test_links_to_files_of_the_root_lead_to_their_pages(site):
    found = pages(site)
    assert '<a href="../#when-to-use-it">when to use it</a>' in found["faq/index.html"]
    assert '<a href="../contributing/">CONTRIBUTING.md</a>' in found["testing/index.html"]


def test_equations_are_mathml_and_docstrings_markdown(site):
    found = pages(site)
    for name in ("index.html", "loss/index.html", "reference/losses/index.html"):
        assert re.search(r'<math [^>]*display="block".*<mo[^>]*>&#x?\w+;</mo>', found[name]), name
    left = [name for name, text in found.items() if "arithmatex" in text or r"\sum" in text]
    assert left == []
    # examples of docstrings are code, not quotations
    assert [n for n, text in found.items() if "reference/" in n and "<blockquote>" in text] == []
    roles = re.compile(r":(?:class|func|math|meth|mod):|\.\. math::")
    assert [name for name, text in found.items() if roles.search(text)] == []


def test_no_page_loads_anything_from_another_host(site):
    loading = re.compile(r'<(?:script|img|iframe|source)[^>]+(?:src|srcset)="(?:https?:)?//[^"]*"')
    linking = re.compile(r'<link[^>]+rel="(?!canonical)[^"]*"[^>]+href="(?:https?:)?//[^"]*"')
    for name, text in pages(site).items():
        assert loading.findall(text) + linking.findall(text) == [], name


WIDER = """() => [...document.querySelectorAll('.md-content *')].filter(e => {
  if (e.getBoundingClientRect().right <= innerWidth + 1) return false
  for (let p = e.parentElement; p; p = p.parentElement)
    if (p.tagName != 'HTML' && getComputedStyle(p).overflowX != 'visible') return false
  return true
}).map(e => e.outerHTML.slice(0, 100))"""


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def address(site):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium")
def test_in_a_browser(address):
    """Nothing is cut, no other host is asked, dark mode follows the system, and search finds."""
    sync_api = pytest.importorskip("playwright.sync_api")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        for width, scheme in ((400, "light"), (1400, "dark")):
            tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            tab.set_default_timeout(60_000)  # of a busy machine
            asked = []
            tab.on("request", lambda request, asked=asked: asked.append(request.url))
            for page in ("", "loss/", "reference/losses/", "results/report/"):
                tab.goto(address + page)
                assert tab.evaluate("document.documentElement.scrollWidth") <= width, page
                assert tab.evaluate(WIDER) == [], page
            scheme_of_page = tab.evaluate("document.body.dataset.mdColorScheme")
            assert scheme_of_page == {"light": "default", "dark": "slate"}[scheme]
            assert [url for url in asked if not url.startswith((address, "data:"))] == []
        tab.goto(address + "?q=count_steps_of")
        tab.locator(".md-search-result__item a").first.wait_for(state="attached")
        assert "count_steps_of" in tab.locator(".md-search-result").inner_text()
        browser.close()
