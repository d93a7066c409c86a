"""The dashboard in a browser: it renders, filters, sorts, and does nothing that a stranger says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import browser_support as browser
import pytest
from fleet_support import a_fleet
from test_dashboard import a_hostile_fleet, pages

from modelmedic.fleet import site

pytestmark = pytest.mark.once
SHOWN = "[...document.querySelectorAll('#health tbody tr')].filter(row => row.checkVisibility())"
NAMES = f"{SHOWN}.map(row => row.cells[0].textContent.trim())"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory) -> Iterator[browser.Browser]:
    with browser.started(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fleet") / "site"
    return site.write(folder, pages(a_fleet(), labels=True).items()).index


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "site"
    return site.write(folder, pages(a_hostile_fleet(), labels=True).items()).index


def change(page, field: str, value: str, event: str = "input") -> None:
    page.run(
        f"{{ const it = document.getElementById('{field}'); it.value = {value!r}; "
        f"it.dispatchEvent(new Event('{event}')) }}"
    )


def told(page) -> str:
    return page.run("document.getElementById('told').textContent")


def test_the_table_filters_and_sorts_without_a_complaint(chromium, index):
    with chromium.page(index) as page:
        assert told(page) == "40 of 40 machines shown"
        change(page, "find", "driver-too-old RENDER")
        assert told(page) == "9 of 40 machines shown"
        assert len(page.run(NAMES)) == 9
        change(page, "find", "")
        change(page, "only", "silent", "change")
        assert page.run(NAMES) == ["render-01 machine:c07ca24fca"]
        change(page, "only", "healthy", "change")
        assert told(page) == "14 of 40 machines shown"
        change(page, "only", "", "change")
        page.run("document.querySelector('#health thead button').click()")
        names = page.run(NAMES)
        assert names == sorted(names)
        page.run("document.querySelector('#health thead button').click()")
        assert page.run(NAMES) == sorted(names, reverse=True)
        assert page.run("document.querySelector('#health th[aria-sort]').ariaSort") == "descending"
        assert page.complaints() == []


def test_numbers_sort_as_numbers(chromium, index):
    table = "document.querySelector('[aria-label=\"Table of errors by cause\"]')"
    with chromium.page(index) as page:
        page.run(f"{table}.querySelectorAll('button')[3].click()")
        found = page.run(
            f"[...{table}.querySelectorAll('tbody tr')].map(row => row.cells[3].textContent)"
        )
    assert [int(text) for text in found] == [8, 11, 13]


def test_the_keyboard_reaches_the_search_and_sorts(chromium, index):
    with chromium.page(index) as page:
        for _ in range(40):
            page.press("Tab", 9)
            if page.run("document.activeElement.id") == "find":
                break
        page.write("render-07")
        assert told(page) == "1 of 40 machines shown"
        while page.run("document.activeElement.textContent") != "Machine":
            page.press("Tab", 9)
        page.press("Enter", 13, "\r")
        assert page.run("document.activeElement.closest('th').ariaSort") == "ascending"


def test_without_scripts_everything_stands_there(chromium, index):
    with chromium.page(index, has_scripts=False) as page:
        assert len(page.run(SHOWN + ".map(row => 1)")) == 40
        assert page.run("document.querySelector('.tools').checkVisibility()") is False
        assert page.run("document.querySelectorAll('svg').length") > 5
        assert page.complaints() == []


def test_a_machine_has_its_own_page_with_charts_and_a_way_back(chromium, index):
    own = next(
        path for path in index.parent.glob("machine-*.html")
        if "this machine" in path.read_text(encoding="utf-8")
    )  # fmt: skip
    with chromium.page(own) as page:
        assert page.run("document.querySelectorAll('svg.mm-spark path').length") == 2
        assert page.run("document.querySelector('nav a').href").endswith("/index.html")
        assert page.complaints() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_follows_the_scheme(chromium, index, scheme):
    for file in (index, min(index.parent.glob("machine-*.html"))):
        with chromium.page(file, scheme=scheme, width=400) as page:
            wide = "document.documentElement.scrollWidth"
            assert page.run(wide) <= 400
            back = page.run("getComputedStyle(document.body).backgroundColor")
            assert (back == "rgb(255, 255, 255)") == (scheme == "light")


def test_on_paper_there_are_no_controls_and_all_machines(chromium, index, tmp_path):
    with chromium.page(index, media="print", scheme="dark") as page:
        assert page.run("document.querySelector('.tools').checkVisibility()") is False
        assert len(page.run(NAMES)) == 40
        assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        page.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_every_image_has_a_name_and_every_region_and_field_too(chromium, index):
    with chromium.page(index) as page:
        nameless = (
            "[...document.querySelectorAll('svg')].filter(it => !it.querySelector('title')?.textContent)"
            ".concat([...document.querySelectorAll('[role=region]')].filter(it => !it.ariaLabel))"
            ".concat([...document.querySelectorAll('input, select')].filter(it => !it.labels.length))"
            ".concat([...document.querySelectorAll('th')].filter(it => !it.scope)).length"
        )
        assert page.run(nameless) == 0
        assert page.run("document.documentElement.lang") == "en"
        assert page.run("document.querySelectorAll('h1').length") == 1


def test_a_strangers_text_stays_text(chromium, hostile):
    for file in [hostile, *sorted(hostile.parent.glob("machine-*.html"))[:3]]:
        with chromium.page(file) as page:
            assert "OWNED" not in page.run("document.title").replace("'OWNED'", "")
            assert page.run("document.querySelectorAll('img').length") == 0
            assert "onerror=" in page.run("document.body.innerText")
            assert page.complaints() == []
