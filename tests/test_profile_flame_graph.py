"""The flame graph of T5 in a browser: it shows the phases, zooms on a click, and needs nothing but its file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zoo
from browser import chromium

from exporter import export
from exporter.profile import flame_graph
from exporter.profile.charts import Chart
from exporter.profile.spans import Frame


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("flame_graph")
    case = zoo.CASES["t5_small"]
    program = export(case.build(), case.inputs(), profile=folder / "t5.html")
    program.save(folder / "t5.onnx")
    alone = folder / "alone"
    alone.mkdir()
    (folder / "t5.html").rename(alone / "t5.html")
    with chromium(folder / "chromium") as browser:
        browser.get((alone / "t5.html").as_uri())
        yield browser


@pytest.fixture
def graph(page: Any) -> Any:
    """The page as it is when it opens."""
    page.refresh()
    return page


class Shown(NamedTuple):
    name: str
    text: str
    left: float
    top: float
    width: float
    around: bool
    found: bool
    element: Any


_FRAMES = """
return [...document.querySelectorAll('.frame')].map(frame => {
  const box = frame.getBoundingClientRect(), classes = frame.classList;
  return [frame.dataset.name, frame.textContent, box.x, box.y, box.width, classes.contains('around'),
          classes.contains('found'), frame];
})"""


def all_frames(browser: Any) -> list[Shown]:
    return [Shown(*row) for row in browser.execute_script(_FRAMES)]


def frames(browser: Any) -> dict[str, Shown]:
    """The widest frame of each name."""
    return {frame.name: frame for frame in sorted(all_frames(browser), key=lambda frame: frame.width)}


def click(browser: Any, frame: Shown) -> None:
    """A real click, where the frame is, not a call of its handler."""
    from selenium.webdriver import ActionChains

    ActionChains(browser).move_to_element(frame.element).click().perform()


def whole_width(browser: Any) -> float:
    return browser.find_element("class name", "graph").rect["width"]


def crumbs(browser: Any) -> str:
    return browser.find_element("class name", "crumbs").text


def test_it_shows_the_phases_one_beside_the_other(graph) -> None:
    shown = frames(graph)
    names = ("capture", "translation", "optimization", "serialization", "writing")
    assert shown["capture"].text == "capture"
    assert [shown[name].left for name in names] == sorted(shown[name].left for name in names)
    assert len({shown[name].top for name in names}) == 1
    assert shown["capture"].width < shown["export"].width < shown["T5ForConditionalGeneration"].width


def test_frames_are_phases_then_modules_then_ops(graph) -> None:
    for phase in ("capture", "translation"):
        graph.refresh()
        rows = []
        for name in (phase, "decoder", "decoder.block.1", "decoder.block.1.layer.2"):
            click(graph, frames(graph)[name])
            frame = frames(graph)[name]
            rows.append(frame.top)
            assert frame.width == pytest.approx(whole_width(graph), abs=2)
        assert frame.text == "layer.2", "a module says what is new in its path"
        assert rows == sorted(set(rows))
        assert any(name.startswith("aten.") for name in frames(graph))


def test_a_click_zooms_and_a_click_above_zooms_out(graph) -> None:
    before = frames(graph)
    assert before["translation"].width < whole_width(graph)
    click(graph, before["translation"])
    zoomed = frames(graph)
    assert zoomed["translation"].width == pytest.approx(whole_width(graph), abs=2)
    assert "capture" not in zoomed
    assert zoomed["export"].around
    assert "export / translation" in crumbs(graph)
    click(graph, zoomed["export"])
    again = frames(graph)
    assert not again["export"].around
    assert again["translation"].width < whole_width(graph)
    assert "capture" in again
    assert "save" not in again


def test_escape_and_the_button_show_all_again(graph) -> None:
    from selenium.webdriver import ActionChains, Keys

    button = graph.find_element("id", "reset")
    assert not button.is_enabled()
    for leave in (lambda: ActionChains(graph).send_keys(Keys.ESCAPE).perform(), button.click):
        click(graph, frames(graph)["optimization"])
        assert button.is_enabled()
        assert "capture" not in frames(graph)
        leave()
        assert "capture" in frames(graph)
        assert not button.is_enabled()


def test_pointing_at_a_frame_tells_what_it_is(graph) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(graph).move_to_element(frames(graph)["translation"].element).perform()
    text = graph.find_element("id", "detail").text
    assert re.match(r"translation +phase: .*% of all · .*% of export · itself ", text)


def test_a_row_of_the_slowest_modules_shows_it_in_the_graph(graph) -> None:
    row = graph.find_element("css selector", "tr[data-search]")
    graph.execute_script("arguments[0].scrollIntoView({block: 'center'})", row)
    row.click()
    assert {frame.name for frame in all_frames(graph) if frame.found} <= {row.get_attribute("data-search")}
    assert re.search(r"[1-9]\d* found: ", crumbs(graph))


def test_tables_say_what_the_report_says(graph) -> None:
    text = graph.find_element("class name", "tables").text
    for said in ("Phases", "common subexpressions", "graph nodes", "Slowest modules", "aten.linear.default"):
        assert said in text


def chart(title: str, seconds: float) -> Chart:
    """Phases a, b and a again; each takes the time, b three times as long."""
    a, b, again = (
        Frame("a", "phase", 0, seconds),
        Frame("b", "phase", seconds, 3 * seconds),
        Frame("a", "phase", 4 * seconds, seconds),
    )
    again.children.append(Frame("</script><b>x", "op", 4 * seconds, seconds / 2))
    return Chart(
        title, Frame(title, "profile", 0, 5 * seconds, [Frame("export", "phase", 0, 5 * seconds, [a, b, again])])
    )


@pytest.fixture
def two(page: Any, tmp_path: Path) -> Any:
    """A page of two charts, the second twice as long."""
    path = tmp_path / "two.html"
    path.write_text(flame_graph.page("Two & more", [chart("one", 1), chart("two", 2)]))
    here = page.current_url
    page.get(path.as_uri())
    yield page
    page.get(here)


def test_calls_of_one_name_are_merged_the_largest_first(two) -> None:
    in_time = [frame.name for frame in all_frames(two) if frame.name in "ab"]
    assert sorted(in_time) == ["a", "a", "a", "a", "b", "b"]
    two.find_element("id", "merged").click()
    merged = frames(two)
    assert len([frame for frame in all_frames(two) if frame.name == "a"]) == 2
    assert merged["b"].left < merged["a"].left
    assert merged["b"].width == pytest.approx(1.5 * merged["a"].width, abs=2)
    two.find_element("id", "ordered").click()
    assert [frame.name for frame in all_frames(two) if frame.name in "ab"] == in_time


def test_a_search_marks_frames_and_sums_them_up(two) -> None:
    two.find_element("id", "search").send_keys("^a$")
    assert {frame.name for frame in all_frames(two) if frame.found} == {"a"}
    assert crumbs(two).strip() == "2 found: 2.00 s, 40 %"


def test_two_charts_stand_beside_each_other_on_one_scale(two) -> None:
    assert two.title == "Two & more"
    bars = two.find_elements("class name", "stack")
    widths = [sum(part.rect["width"] for part in bar.find_elements("tag name", "span")) for bar in bars]
    assert widths[1] == pytest.approx(2 * widths[0], abs=4)
    exports = [frame.width for frame in all_frames(two) if frame.name == "export"]
    assert exports[0] == pytest.approx(exports[1], abs=2)
    two.find_element("id", "scale").click()
    exports = [frame.width for frame in all_frames(two) if frame.name == "export"]
    assert 2 * exports[0] == pytest.approx(exports[1], abs=2)


def test_names_are_shown_as_they_are(two) -> None:
    assert "</script><b>x" in frames(two)
    assert not two.find_elements("css selector", ".graph b")


def test_every_byte_is_in_the_one_file(graph) -> None:
    loaded = graph.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
    source = graph.execute_script("return document.documentElement.outerHTML")
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)|@import|url\(|fetch\(|XMLHttp|import\(""", source)
    assert graph.get_log("browser") == []
