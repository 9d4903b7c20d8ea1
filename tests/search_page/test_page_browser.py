"""The page in Chromium: upload, click, comparison, filter, keyboard, errors, narrow and dark."""

import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

from benchmarks.search_page.reading import LARGEST_UPLOAD

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

TILES = "#answers .side"

# The smallest contrast of a text with what is behind it, by the formula of WCAG 2.
CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = parse(getComputedStyle(element).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !element.checkVisibility() || element.closest(":disabled")) continue;
    const two = [parse(getComputedStyle(element).color), behind(element)].map(light);
    found.push([(Math.max(...two) + 0.05) / (Math.min(...two) + 0.05), element.outerHTML]);
  }
  return found.sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.fixture(scope="module")
def browser():
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser.new_context()
        browser.close()


@pytest.fixture
def open_page(browser, address):
    """Opens the page; the test fails at any error in its console or request to another host."""
    pages, problems = [], []

    def open_it(place=""):
        page = browser.new_page()
        pages.append(page)
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on("request", check)
        page.goto(address + place)
        expect(page.locator("#pictures .tile").first).to_be_visible()
        return page

    def check(request):
        if not request.url.startswith((address, f"blob:{address}")):
            problems.append(request.url)

    yield open_it
    for page in pages:
        page.close()
    # Chromium writes each answer with an error status to the console
    assert [one for one in problems if "responded with a status of 4" not in one] == []


def picture(folders, path):
    return str(folders.root / path)


def test_upload(open_page, folders):
    page = open_page()
    page.set_input_files("#file", picture(folders, "Fruit/Pear/2.png"))
    expect(page.locator(f"{TILES} .tile")).to_have_count(24)
    first = page.locator(f"{TILES} .tile").first
    expect(first).to_contain_text("Pear")
    expect(first).to_contain_text("Fruit")
    expect(first).to_contain_text("1. similarity 1.000")
    expect(page.locator("#results-title")).to_be_focused()
    expect(page.locator(".verdict")).to_have_count(0)  # what it shows is not known
    assert page.locator("#query-picture img").evaluate("(image) => image.naturalWidth") == 32

    page.fill("#class-name", "Pear")
    page.keyboard.press("Enter")
    expect(page.locator(f"{TILES} .verdict")).to_have_count(24)
    expect(first.locator(".verdict")).to_have_text("\u2713 right class")
    expect(page.locator("#query-name")).to_contain_text("Pear, Fruit")


def test_click_compares_both_galleries(open_page, ask):
    page = open_page()
    page.click("#pictures .tile >> nth=6")
    sides = page.locator(TILES)
    expect(sides).to_have_count(2)
    assert page.url.endswith("?row=6")
    for side, gallery in zip(sides.all(), ask("/api/search?row=6")["galleries"], strict=True):
        expect(side.locator("h3")).to_have_text(gallery["title"])
        verdicts = side.locator(".verdict").all_inner_texts()
        texts = ["\u2713 right class", "\u2248 right superclass: Fruit", "\u2717 wrong"]
        assert verdicts == [texts[one["shared_level"]] for one in gallery["answers"]]
        right, above = gallery["correct"]
        expect(side).to_contain_text(f"{right} of 12 of the right class, {above} in Fruit")
    first, second = (side.bounding_box() for side in sides.all())
    assert first["x"] < second["x"]
    assert first["y"] == second["y"]


def test_answers_in_groups(open_page):
    page = open_page("?row=0")
    page.select_option("#count", "24")
    expect(page.locator(f"{TILES} .tile")).to_have_count(48)
    page.check("#group")
    headings = page.locator(f"{TILES} >> nth=0 >> h4").all_inner_texts()
    assert headings[0] == "Fruit (14)"
    assert sum(int(text.partition("(")[2][:-1]) for text in headings) == 24
    colours = page.eval_on_selector_all(
        f"{TILES}:first-child .tile",
        "all => all.map((one) => getComputedStyle(one).borderTopColor)",
    )
    assert len(set(colours)) == len(headings)


def test_an_answer_is_the_next_query_and_back_returns(open_page):
    page = open_page("?row=0")
    answer = page.locator(f"{TILES} .tile").first
    row = answer.get_attribute("data-row")
    answer.click()
    expect(page.locator("#query-name")).to_contain_text(f"/{int(row) % 5}.png")
    assert page.url.endswith(f"?row={row}")
    page.go_back()
    expect(page.locator("#query-name")).to_contain_text("Fruit/Apple/0.png")


def test_back_returns_to_an_upload(open_page, folders):
    page = open_page()
    for name in ("Fruit/Pear/2.png", "Dairy/Milk/1.png"):
        page.set_input_files("#file", picture(folders, name))
        expect(page.locator("#query-name")).to_contain_text(name[-5:])
        page.fill("#class-name", name.split("/")[1])
        page.keyboard.press("Enter")
        expect(page.locator(f"{TILES} .verdict")).to_have_count(24)
    page.locator(f"{TILES} .tile").nth(3).click()
    expect(page.locator("#query-class")).to_be_hidden()
    page.go_back()
    expect(page.locator("#query-name")).to_contain_text("Milk, Dairy")
    expect(page.locator("#query-name")).to_contain_text("Your picture; it is not stored")
    page.go_back()
    expect(page.locator("#query-name")).to_contain_text("Pear, Fruit")
    expect(page.locator("#class-name")).to_have_value("Pear")
    assert page.locator("#query-picture img").evaluate("(image) => image.naturalWidth") == 32
    page.go_back()
    expect(page.locator("#results")).to_be_hidden()
    page.go_forward()
    expect(page.locator("#query-name")).to_contain_text("Pear, Fruit")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("Choose your picture again")
    expect(page.locator("#results")).to_be_hidden()


def test_drop_and_paste(open_page, folders):
    page = open_page()
    content = list((folders.root / "Dairy/Milk/1.png").read_bytes())
    event = """([content, kind]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(content)], "milk.png", { type: "image/png" }));
        const name = kind === "paste" ? "clipboardData" : "dataTransfer";
        const constructor = kind === "paste" ? ClipboardEvent : DragEvent;
        document.body.dispatchEvent(new constructor(kind,
          { [name]: transfer, bubbles: true, cancelable: true }));
    }"""
    # the page does not know its gallery yet when the picture comes
    page.add_init_script("""const now = window.fetch; window.fetch = async (...request) => {
        if (request[0] === "/api/info") await new Promise((done) => setTimeout(done, 300));
        return now(...request);
    }""")
    for kind in ("drop", "paste"):
        page.goto(page.url)
        page.evaluate(event, [content, kind])
        expect(page.locator(f"{TILES} .tile").first).to_contain_text("Milk")


def test_bad_uploads(open_page, tmp_path):
    page = open_page()
    for name, content, message in (
        ("empty.png", b"", "The upload is empty. Choose a picture file."),
        ("text.jpg", b"not a picture", "This is not a picture that can be read."),
        ("large.png", bytes(LARGEST_UPLOAD + 1), "large.png is larger than 20 MB."),
    ):
        (tmp_path / name).write_bytes(content)
        page.set_input_files("#file", str(tmp_path / name))
        expect(page.get_by_role("alert")).to_contain_text(message)
        expect(page.locator("#results")).to_be_hidden()
    page.click("#pictures .tile >> nth=0")  # the page goes on
    expect(page.locator(f"{TILES} .tile")).to_have_count(24)
    expect(page.locator("#error")).to_be_hidden()


def test_the_gallery_is_filtered(open_page):
    page = open_page()
    expect(page.locator("#pictures .tile")).to_have_count(30)
    page.fill("#name", "veg")
    expect(page.locator("#pictures .tile")).to_have_count(10)
    expect(page.locator("#names option")).to_have_count(3)  # Vegetables and its classes
    page.fill("#name", "nothing")
    expect(page.locator("#total")).to_contain_text("No class or superclass")


def test_comparison_over_many_queries(open_page, ask):
    page = open_page()
    page.click("#comparison summary")
    found = ask("/api/comparison")
    rows = page.locator("#compared tbody tr")
    expect(rows).to_have_count(4)
    told = page.locator("#compared p").first
    expect(told).to_contain_text("The 30 pictures of the gallery whose class is known were the")
    shares = [f"{100 * gallery['nearest'][0]:.1f}" for gallery in found["galleries"]]
    assert rows.first.locator("td").all_inner_texts() == shares
    shown = page.locator("#compared .tile").evaluate_all("all => all.map(a => a.dataset.row)")
    assert list(map(int, shown)) == [one["row"] for side in found["differing"] for one in side]


def test_one_is_no_plural(open_page):
    page = open_page()

    def of_one(route):
        answer = route.fetch().json()
        if "/api/info" in route.request.url:
            answer["pictures"] = 1
        elif "/api/comparison" in route.request.url:
            answer |= {"queries": 1, "known": 1}
        elif "/api/search" in route.request.url:
            for gallery in answer["galleries"]:
                gallery |= {"answers": gallery["answers"][:1], "correct": None}
        else:
            answer |= {"total": 1, "pictures": answer["pictures"][:1]}
        route.fulfill(json=answer)

    page.route("**/api/**", of_one)
    page.reload()
    expect(page.locator("#about")).to_contain_text("1 picture, searched by")
    expect(page.locator("#total")).to_have_text("1 picture")
    page.click("#pictures .tile")
    expect(page.locator(f"{TILES} p").first).to_have_text("1 answer")
    page.click("#comparison summary")
    expect(page.locator("#compared p").first).to_contain_text("in %. The 1 picture of the gallery")


def test_a_gallery_without_another_picture(open_page):
    page = open_page()

    def of_none(route):
        answer = route.fetch().json()
        for gallery in answer["galleries"]:
            gallery |= {"answers": [], "correct": [0 for _ in gallery["correct"]]}
        route.fulfill(json=answer)

    page.route("**/api/search**", of_none)
    page.click("#pictures .tile")
    expect(page.locator(f"{TILES} p").first).to_have_text("no other picture")
    expect(page.locator(".share")).to_have_count(0)


def test_keyboard_and_texts(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the gallery")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#file")).to_be_focused()
    outline = page.locator("#choose").evaluate("(one) => getComputedStyle(one).outlineStyle")
    assert outline == "solid"  # the focus is visible
    page.locator("#pictures .tile").nth(3).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#results-title")).to_be_focused()
    expect(page.get_by_role("status").first).to_contain_text("of the right class")
    assert page.locator("img").evaluate_all("all => all.filter((one) => !one.alt).length") == 0
    unnamed = """all => all.filter((one) => !one.labels.length && !one.ariaLabel).length"""
    assert page.locator("input, select").evaluate_all(unnamed) == 0


def test_every_width_and_scheme(open_page):
    page = open_page("?row=0")
    page.click("#comparison summary")
    expect(page.locator("#compared tbody tr")).to_have_count(4)
    page.check("#group")
    for width in (1400, 400):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            contrast, element = page.evaluate(CONTRAST)
            assert contrast >= 4.5, element


def test_a_picture_that_is_gone(open_page, folders):
    file = folders.root / "Dairy/Milk/4.png"
    content = file.read_bytes()
    file.unlink()
    try:
        page = open_page("?row=29")
        expect(page.locator("#query-picture")).to_have_text("This picture cannot be shown")
        expect(page.locator(f"{TILES} .tile")).to_have_count(24)  # it is still found
    finally:
        file.write_bytes(content)
