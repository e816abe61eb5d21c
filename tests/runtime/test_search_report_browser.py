"""The report of a search in a real browser: no errors, tables that sort, light and dark, and something to be seen."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lossc.runtime.search.session import search
from lossc.runtime.tasks import TaskSpec

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="no chromium and chromedriver on the PATH (Debian: chromium-driver)"
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
WIDTHS = (1100, 400)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a small search."""
    folder = tmp_path_factory.mktemp("browser")
    search(
        TaskSpec("diabetes", steps=60), run=folder, population=6, generations=2, fitness_steps=10, meta_steps=4,
        reject_steps=30, reject_rows=20, rerank=2, rerank_steps=10, test_seeds=2,
    )  # fmt: skip
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, with a profile of its own and the page open."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.get(report.as_uri())
        yield driver
    finally:
        driver.quit()


def show(browser: Any, width: int, scheme: str, height: int = 900) -> None:
    """Look at the page in a width and a colour scheme."""
    features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    media = {"features": [{"name": n, "value": v} for n, v in features.items()]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def column(browser: Any, place: int) -> list[str]:
    """What a column of the first table that sorts has, from the top."""
    script = (
        "return [...document.querySelector('table.sorts').tBodies[0].rows].map(r => r.cells[arguments[0]].textContent)"
    )
    found: list[str] = browser.execute_script(script, place)
    return found


def test_the_page_opens_without_an_error(browser: Any) -> None:
    """The console is empty, nothing was loaded but the page, and its title is there."""
    assert browser.title == "Search for a loss: diabetes, evomal"
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_a_click_on_a_head_sorts(browser: Any) -> None:
    """Numbers as numbers, up and down, with what is none last; texts as texts; the keyboard does it too."""
    from selenium.webdriver.common.keys import Keys

    show(browser, 1100, "light")
    heads = browser.find_elements("css selector", "table.sorts:first-of-type thead th")[:8]
    names = [h.text.strip(" ↕") for h in heads]
    assert names[:4] == ["rank", "fitness", "again", "size"]
    ranks = [int(v) for v in column(browser, 0)]
    assert ranks == sorted(ranks) and len(ranks) > 2

    fitness = heads[1].find_element("css selector", "button")
    fitness.click()
    values = [float(v) for v in column(browser, 1)]
    assert values == sorted(values) and heads[1].get_attribute("aria-sort") == "ascending"
    fitness.send_keys(Keys.ENTER)
    values = [float(v) for v in column(browser, 1)]
    assert values == sorted(values, reverse=True) and heads[1].get_attribute("aria-sort") == "descending"

    for _ in range(2):
        heads[2].find_element("css selector", "button").click()
        judged = column(browser, 2)
        assert judged[2:] == ["–"] * (len(judged) - 2) and "–" not in judged[:2]
    assert heads[1].get_attribute("aria-sort") is None

    heads[6].find_element("css selector", "button").click()
    assert column(browser, 6) == sorted(column(browser, 6))
    heads[0].find_element("css selector", "button").click()
    assert [int(v) for v in column(browser, 0)] == ranks


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_readable_in_light_and_dark(browser: Any, tmp_path: Path, scheme: str, width: int) -> None:
    """The paper is light or dark, text stands out from it, nothing is wider than the window, and it is not blank."""
    show(browser, width, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    show(browser, width, scheme, browser.execute_script("return document.documentElement.scrollHeight"))
    picture = tmp_path / f"{scheme}-{width}.png"
    picture.write_bytes(browser.get_screenshot_as_png())
    pixels = np.asarray(Image.open(io.BytesIO(picture.read_bytes())).convert("L"), dtype=int)
    paper = int(np.median(pixels))
    assert paper > 240 if scheme == "light" else paper < 40
    assert 0.02 < float(np.mean(abs(pixels - paper) > 60)) < 0.5
    colour = "return getComputedStyle(document.querySelector('svg.drawing text')).fill"
    red = int(browser.execute_script(colour).split("(")[1].split(",")[0])
    assert abs(red - paper) > 150


def test_drawings_have_no_overlapping_labels(browser: Any) -> None:
    """No two texts of a drawing lie on each other, and none reaches beyond the drawing by more than its own height."""
    show(browser, 1100, "light")
    script = """
    const wrong = [];
    for (const svg of document.querySelectorAll("svg.drawing")) {
      const frame = svg.getBoundingClientRect();
      const boxes = [...svg.querySelectorAll("text")].map(t => [t.textContent, t.getBoundingClientRect()]);
      boxes.forEach(([a, p], i) => {
        if (p.left < frame.left - 12 || p.right > frame.right + 12) wrong.push([svg.ariaLabel, a, "outside"]);
        for (const [b, q] of boxes.slice(i + 1)) {
          const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
          const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
          if (wide > 1 && high > 5) wrong.push([svg.ariaLabel, a, b, wide, high]);
        }
      });
    }
    return wrong;
    """
    assert browser.execute_script(script) == []


def test_a_formula_can_be_copied(browser: Any) -> None:
    """The button says that it was copied; links of the contents lead to sections."""
    show(browser, 1100, "light")
    browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    button = browser.find_element("css selector", "button[data-copy=found-text]")
    button.click()
    browser.implicitly_wait(3)
    assert browser.find_elements("xpath", "//button[@data-copy='found-text' and text()='Copied']")
    links = browser.execute_script("return [...document.querySelectorAll('nav a')].map(a => a.hash)")
    assert len(links) == 9 and all(browser.find_elements("css selector", link) for link in links)
