"""The page of a tree in a real browser: keys, search, pictures, many classes, narrow and dark."""

import shutil
import time

import numpy as np
import pytest
from PIL import Image

from benchmarks.tree_page.page import write_tree_page
from benchmarks.tree_page.stability import stability
from pml_hierarchical import Hierarchy

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

PATHS = ["fruit/red apple", "fruit/green apple", "fruit/Crème pear", "dairy/oat milk", "dairy/ghee"]
HISTORY = [[[0, 0, 1, 1, 1]], [[0, 0, 0, 1, 1]], [[0, 0, 0, 0, 1]]]
HOSTILE = ["</script><script>document.title='hacked'</script>", "<b>bold</b>", "&amp;", "new\nline"]


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def show(browser, tmp_path):
    """Write a page and open it; at the end, nothing was loaded or went wrong in any."""
    pages, wrong = [], []

    def start(tree=PATHS, width=1400, scheme="light", **arguments):
        path = write_tree_page(tmp_path / "tree.html", tree, **arguments)
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        pages.append(page)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("request", lambda request: requested.append(request.url))
        requested = []
        page.goto(path.as_uri())
        others = [url for url in requested if not url.startswith(("data:", path.as_uri()))]
        wrong.extend(others)
        return page

    yield start
    for page in pages:
        page.close()
    assert wrong == []


def rows(page):
    """The text and the place of every row: name, level, place, number of siblings, unfolded."""
    script = """rows => rows.map(row => [row.querySelector(".name").textContent,
        ...["level", "posinset", "setsize", "expanded"].map(a => row.getAttribute("aria-" + a))])"""
    return [tuple(row) for row in page.get_by_role("treeitem").evaluate_all(script)]


def active(page):
    found = page.locator("#" + page.get_by_role("tree").get_attribute("aria-activedescendant"))
    assert found.get_attribute("aria-selected") == "true"
    return found.locator(".name").inner_text()


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)
    return active(page)


def test_keys_move_and_unfold_as_in_the_pattern_of_wai_aria(show):
    page = show()
    page.get_by_role("button", name="Fold all", exact=True).click()
    assert rows(page) == [("fruit", "1", "1", "2", "false"), ("dairy", "1", "2", "2", "false")]
    page.get_by_role("tree").focus()
    assert press(page, "Home", "ArrowRight") == "fruit"
    assert rows(page)[:3] == [
        ("fruit", "1", "1", "2", "true"),
        ("red apple", "2", "1", "3", None),
        ("green apple", "2", "2", "3", None),
    ]
    assert press(page, "ArrowRight") == "red apple"
    assert press(page, "ArrowDown", "ArrowDown", "ArrowDown") == "dairy"
    assert press(page, "ArrowUp") == "Crème pear"
    assert press(page, "ArrowLeft") == "fruit"
    assert press(page, "ArrowLeft") == "fruit"
    assert len(rows(page)) == 2
    assert press(page, "End", "Enter") == "dairy"
    assert press(page, "g") == "ghee"
    assert press(page, "Home", "*") == "fruit"
    assert len(rows(page)) == 7
    assert page.get_by_role("treeitem", selected=True).count() == 1


def test_the_mouse_unfolds_and_selects(show):
    page = show()
    page.locator(".toggle").first.click()
    assert [name for name, *_ in rows(page)] == ["fruit", "dairy", "oat milk", "ghee"]
    page.get_by_role("treeitem", name="ghee").click()
    details = page.get_by_label("Details of the selected class")
    assert "dairy/ghee" in details.inner_text()
    details.get_by_role("button", name="dairy").click()
    assert active(page) == "dairy"
    page.get_by_role("button", name="Fold all", exact=True).click()
    assert [name for name, *_ in rows(page)] == ["fruit", "dairy"]
    page.get_by_label("Order").select_option("by name")
    assert [name for name, *_ in rows(page)] == ["dairy", "fruit"]


def test_search_marks_what_matches_and_unfolds_the_way_to_it(show):
    page = show()
    page.get_by_role("button", name="Fold all", exact=True).click()
    page.keyboard.press("/")
    page.keyboard.type("APPLE")
    assert [name for name, *_ in rows(page)] == ["fruit", "red apple", "green apple"]
    assert page.locator("mark").all_inner_texts() == ["apple", "apple"]
    assert page.get_by_role("status").inner_text() == "1 of 2 matches"
    assert press(page, "Enter") == "green apple"
    assert page.get_by_role("status").inner_text() == "2 of 2 matches"
    assert press(page, "Enter") == "red apple"
    assert press(page, "Shift+Enter") == "green apple"
    page.get_by_label("Hide what does not match").uncheck()
    assert "dairy" in [name for name, *_ in rows(page)]
    query = page.get_by_label("Search by name")
    query.fill("creme")
    assert page.locator("mark").all_inner_texts() == ["Crème"]
    query.fill("nothing")
    assert page.get_by_role("status").inner_text() == "No name matches"
    assert page.get_by_role("button", name="Next match").is_disabled()
    assert press(page, "Escape") == "Crème pear"  # what was found last stays in view
    assert page.locator("mark").count() == 0
    page.keyboard.press("/")
    page.keyboard.type("dairy")
    assert active(page) == "dairy"  # a superclass


@pytest.mark.parametrize(
    "tree", [PATHS, {path.split("/")[1]: path.split("/")[0] for path in PATHS}]
)
def test_search_by_a_path(show, tree):
    page = show(tree)
    page.get_by_role("button", name="Fold all", exact=True).click()
    query = page.get_by_label("Search by name")
    query.fill("fruit/creme p")
    assert [name for name, *_ in rows(page)] == ["fruit", "Crème pear"]
    assert page.locator("mark").all_inner_texts() == ["Crème p"]
    query.fill("dairy/")  # all that is in it
    assert [name for name, *_ in rows(page)] == ["dairy", "oat milk", "ghee"]
    query.fill("dairy/red")
    assert page.get_by_role("status").inner_text() == "No name matches"


def test_sizes_stability_and_pictures(show):
    tree = Hierarchy.from_paths(PATHS)
    pictures = {0: [Image.new("RGB", (300, 100), c) for c in ("red", "blue")], 3: np.zeros((9, 9))}
    pictures[3] = pictures[3].astype(np.uint8)
    page = show(tree, history=HISTORY, counts=[5, 4, 3, 2, 1], pictures=pictures)
    expected = 100 * stability(HISTORY, [2]).overlaps[0].mean(axis=0)
    texts = page.get_by_role("treeitem").all_inner_texts()
    assert "3 classes, 12 pictures" in texts[0]
    assert f"{expected[0]:.0f}% stable" in texts[0]
    assert f"{expected[1]:.0f}% stable" in next(text for text in texts if "dairy" in text)
    assert "mean stability 65% over 3 updates" in page.locator("header").inner_text()
    details = page.get_by_label("Details of the selected class")
    assert details.get_by_role("img", name="in percent: 67, 75").count() == 1
    sizes = "images => images.map(one => [one.naturalWidth, one.naturalHeight])"
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert details.locator("img").evaluate_all(sizes) == [[96, 32], [96, 32]]
    page.get_by_role("treeitem", name="Crème").click()
    assert "changed its superclass 1 time in 3 updates" in details.inner_text()
    page.get_by_label("Order").select_option("least stable first")
    page.get_by_role("button", name="Fold all", exact=True).click()
    assert [name for name, *_ in rows(page)] == ["dairy", "fruit"]


def test_ten_thousand_classes(show):
    names = [f"{'abcdefgh'[i % 8]} {i}" for i in range(10_000)]
    start = time.perf_counter()
    page = show(
        Hierarchy.from_parents([np.arange(10_000) // 100, np.arange(100) // 10]), names=names
    )
    assert page.get_by_role("treeitem").count() == 10  # unfolded by hand
    page.get_by_role("button", name="Unfold all").click()
    assert page.get_by_role("treeitem").count() < 60  # those in view
    page.get_by_role("tree").focus()
    assert press(page, "End") == names[-1]
    assert rows(page)[-1][1:] == ("3", "100", "100", None)
    assert press(page, "PageUp", "PageUp", "Home") == page.locator(".name").first.inner_text()
    page.get_by_label("Search by name").fill("c 6178")
    page.get_by_text("1 of 1 match").wait_for()
    assert active(page) == "c 6178"
    assert [level for _, level, *_ in rows(page)] == ["1", "2", "3"]
    assert time.perf_counter() - start < 20  # a second on a quiet machine


def test_hostile_names_are_text(show):
    page = show(Hierarchy([[0, 0], [1, 0], [2, 1], [3, 1]], [HOSTILE, ["<i>", "</script>"]]))
    assert page.title() == "Tree of classes"
    assert page.locator(".name").all_text_contents() == [
        "<i>", HOSTILE[0], HOSTILE[1], "</script>", HOSTILE[2], "new\\nline"
    ]  # fmt: skip


@pytest.mark.parametrize("width", [1400, 400])
def test_wide_and_narrow_light_and_dark(show, width):
    lightness = {}
    for scheme in ("light", "dark"):
        page = show([*PATHS[:3], "dairy/" + "long" * 60, "dairy/ghee"], width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.get_by_role("tree").evaluate("tree => tree.scrollWidth - tree.clientWidth") == 0
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        lightness[scheme] = sum(int(part) for part in colour[4:-1].split(","))
        for name in ("tree", "searchbox", "combobox"):
            box = page.get_by_role(name).bounding_box()
            assert 0 <= box["x"] <= box["x"] + box["width"] <= width
    assert lightness["dark"] < 150 < 600 < lightness["light"]


def test_a_tree_of_one_level_and_one_class(show):
    assert rows(show(Hierarchy.flat(1)))[0][:4] == ("class 0", "1", "1", "1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"counts": [1]}, "counts has 1 numbers, and the tree has 5 classes"),
        ({"pictures": {5: b""}}, r"pictures are of the classes 5\.\.5, and the tree has 5, from 0"),
        ({"names": ["a"]}, "there is 1 name, and the tree has"),
        ({"history": [[[0, 2, 0, 0, 0]]]}, "superclasses 0..2 at level 1"),
    ],
)
def test_what_does_not_fit_the_tree(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_tree_page(tmp_path / "a.html", PATHS, **arguments)
    assert not list(tmp_path.iterdir())
