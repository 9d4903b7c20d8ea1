"""The page of a report in Chromium: sorting, explanations, pictures, plots, narrow windows."""

import shutil

import pytest
from test_report import make_store

from benchmarks.report import colours, embedding_map, write_report
from benchmarks.results import collect
from benchmarks.stored import read_stored

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PLOTS = 5


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = make_store(tmp_path_factory.mktemp("runs") / "small", folds=[0, 1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding_map, "project", lambda embeddings: embeddings[:, :2])
        stored = read_stored(folder)
        write_report(stored, collect(stored))
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def open_page(browser, report):
    """Opens the report in a window; what it asks for and complains about is in ``page.noticed``."""

    def opened(width, scheme="light", **options):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **options
        )
        page = context.new_page()
        page.noticed = []
        page.on("pageerror", lambda error: page.noticed.append(str(error)))
        page.on("request", lambda request: page.noticed.append(request.url))
        page.goto(report.as_uri())
        page.wait_for_selector("body[data-plots=ready]")
        return page

    return opened


@pytest.fixture(scope="module")
def wide(open_page):
    return open_page(1400)


@pytest.fixture(scope="module")
def phone(open_page):
    return open_page(400, "dark", has_touch=True, is_mobile=True)


def first_column(page):
    return page.locator("table").first.locator("tbody th").all_text_contents()


def test_the_page_asks_for_nothing_but_itself(wide, report):
    assert [url for url in wide.noticed if not url.startswith("data:")] == [report.as_uri()]


def test_tables_are_sorted_by_score_until_another_header_is_pressed(wide):
    names = ["HPL on Proxy-Anchor", "Proxy-Anchor", "Contrastive", "(raw features)"]
    assert first_column(wide) == names
    table = wide.locator("table").first
    headers = table.locator("thead tr").last.locator("th")
    assert headers.nth(3).get_attribute("aria-sort") == "descending"
    headers.nth(1).locator(".sort").click()  # P@1: the highest first, then the lowest
    assert first_column(wide) == names
    headers.nth(1).locator(".sort").press("Enter")
    assert first_column(wide) == names[::-1]
    assert headers.nth(1).get_attribute("aria-sort") == "ascending"
    assert table.locator("th[aria-sort]").count() == 1
    headers.nth(7).locator(".sort").click()  # seconds: the untrained row has none and stays last
    assert first_column(wide)[-1] == "(raw features)"
    headers.nth(7).locator(".sort").click()
    assert first_column(wide)[-1] == "(raw features)"
    headers.first.locator(".sort").click()
    assert first_column(wide) == sorted(names, key=str.lower)


def test_a_metric_is_explained_where_it_stands_by_key_and_by_touch(wide, phone):
    for page, act in ((wide, lambda b: b.press("Enter")), (phone, lambda b: b.tap())):
        button = page.locator("button[aria-label='What MAP@R is']").first
        button.scroll_into_view_if_needed()
        box = page.locator(".explanation:has-text('mean average precision')")
        assert not box.is_visible()
        act(button)
        assert box.is_visible()
        place, window = box.bounding_box(), page.viewport_size
        assert place["x"] >= 0
        assert place["x"] + place["width"] <= window["width"]
        page.keyboard.press("Escape")
        assert not box.is_visible()


def test_pictures_open_large_and_lead_to_one_another(wide):
    buttons = wide.locator(".enlarge")
    titles = [buttons.nth(i).get_attribute("data-title") for i in range(buttons.count())]
    dialog = wide.locator("dialog")
    buttons.first.press("Enter")
    assert dialog.is_visible()
    assert dialog.locator("strong").inner_text() == titles[0]
    wide.keyboard.press("ArrowRight")
    assert dialog.locator("strong").inner_text() == titles[1]
    dialog.locator(".size").click()
    image = dialog.locator("img")
    natural = image.evaluate("image => image.naturalWidth")
    assert image.evaluate("image => image.clientWidth") == natural > 1400
    wide.keyboard.press("Escape")
    assert not dialog.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_are_drawn_in_the_colours_of_the_page(scheme, wide, phone):
    page = wide if scheme == "light" else phone
    assert page.locator(".panels canvas").count() >= PLOTS
    found = page.evaluate(
        "Bokeh.documents.flatMap(d => [...d.all_models]).filter(m => m.type === 'GlyphRenderer')"
        ".map(m => m.glyph).filter(m => m.type === 'Line').map(m => m.line_color.value)"
    )
    losses = ("contrastive", "proxy_anchor")
    assert set(found) == {getattr(colours.look_of(loss).colour, scheme) for loss in losses}
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    expected = getattr(colours, f"{scheme.upper()}_PAPER")
    assert paper == f"rgb{tuple(bytes.fromhex(expected[1:]))}"


def test_the_legend_hides_a_line_in_all_plots_of_its_picture(wide):
    def hidden():
        return wide.evaluate(
            "Bokeh.documents.flatMap(d => [...d.all_models]).filter(m => m.type === "
            "'GlyphRenderer' && !m.visible).map(m => m.name)"
        )

    button = wide.locator(".legend button", has_text="Contrastive")
    assert hidden() == []
    button.click()
    assert len(hidden()) == 6  # lines and dots in three plots
    assert set(hidden()) == {"contrastive"}
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert hidden() == []


@pytest.mark.parametrize("by", ["mouse", "finger"])
def test_the_pointer_on_a_map_shows_the_picture_and_the_classes(by, wide, phone):
    page = wide if by == "mouse" else phone
    plot = page.locator(".panels").last.locator("[data-root-id]").first
    plot.scroll_into_view_if_needed()
    place = page.evaluate(
        """id => {
            const view = Bokeh.index.roots.find(v => v.model.id === id);
            const dots = view.model.renderers[0], source = dots.data_source;
            const frame = view.canvas_view.el.getBoundingClientRect();
            const [x, y] = [source.data.x0[0], source.data.y0[0]];
            const {x_scale, y_scale} = view.frame;
            return [frame.x + x_scale.compute(x), frame.y + y_scale.compute(y)];
        }""",
        plot.get_attribute("data-root-id"),
    )
    page.mouse.move(*place) if by == "mouse" else page.touchscreen.tap(*place)
    image = page.locator(".bk-Tooltip img, .bk-tooltip img").first
    image.wait_for(timeout=5000)
    assert image.get_attribute("src").startswith("data:image/")
    names = image.locator("xpath=..").inner_text().split("\n")
    assert names == ["class 0", "even"]


def test_nothing_is_wider_than_a_phone(phone):
    assert phone.evaluate("document.documentElement.scrollWidth") == 400
    scroller = phone.locator(".scroll").first
    assert scroller.evaluate("box => box.scrollWidth > box.clientWidth")
    scroller.evaluate("box => box.scrollTo(200, 0)")
    name = phone.locator("table").first.locator("tbody th").first
    assert name.bounding_box()["x"] >= 0  # the names stay in sight


def test_worse_differences_look_other_than_better_ones(wide):
    def look(kind):
        cell = wide.evaluate_handle(
            f"(() => {{ const c = document.createElement('td'); c.className = '{kind}'; "
            "document.querySelector('tbody tr').append(c); return c; })()"
        )
        style = "c => [getComputedStyle(c).color, getComputedStyle(c, '::before').content]"
        found = cell.evaluate(style)
        cell.evaluate("c => c.remove()")
        return found

    assert look("better")[0] != look("worse")[0]
    assert look("better")[1] != look("worse")[1]  # not by colour alone
    assert wide.locator("td.better").count() == 12  # of single models, and concatenated
    assert wide.locator("td.better .hidden").first.inner_text().strip() == "(better)"
