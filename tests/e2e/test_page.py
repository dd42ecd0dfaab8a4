"""The search page in a real browser over the real service."""

from __future__ import annotations

import shutil

import pytest

from tests.support import served

pytestmark = [pytest.mark.e2e, pytest.mark.browser]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser():
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no browser: install chromium (Debian, Ubuntu) or Google Chrome to run the page's tests")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def base(world):
    with served(world) as address:
        yield address


@pytest.fixture
def page(browser, base):
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    tab.on("request", lambda request: request.url.startswith(base) or problems.append(request.url))
    tab.goto(base)
    tab.wait_for_selector(".card")
    yield tab
    tab.close()
    assert problems == []


def test_a_query_shows_ranked_cards_with_reasons(page):
    page.fill("#query", "cooking recipes")
    page.press("#query", "Enter")
    page.wait_for_function("document.querySelector('.reasons li')")
    scores = [float(text) for text in page.locator(".score b").all_inner_texts()]
    assert len(scores) == 10
    assert scores == sorted(scores, reverse=True)
    assert "query=cooking" in page.url
    assert "plan" in page.locator("#summary").inner_text()


@pytest.mark.proof
def test_a_filter_narrows_and_more_pages_follow(page):
    everyone = page.locator("#summary strong").inner_text()
    page.check("input[name=platform][value=youtube]")
    page.wait_for_function("text => document.querySelector('#summary strong').innerText !== text", arg=everyone)
    for card in page.locator(".card").all():
        assert "YouTube" in card.inner_text()
    page.click("#more")
    page.wait_for_function("document.querySelectorAll('.card').length === 20")
    names = page.locator(".card h3").all_inner_texts()
    assert len(names) == 20


def test_an_impossible_filter_says_which_one(page):
    page.fill("input[name=followers_min]", "5B")
    page.press("input[name=followers_min]", "Enter")
    page.wait_for_selector(".message")
    assert "followers" in page.locator(".message").inner_text()


def test_a_profile_opens_and_similar_creators_are_found(page):
    first = page.locator(".card").first
    name = first.locator("h3 button").inner_text()
    first.locator("h3 button").click()
    page.wait_for_selector("dialog[open] .facts")
    assert name in page.locator("dialog h2").inner_text()
    page.click("dialog button:has-text('Close')")
    first.locator("button:has-text('More like this')").click()
    page.wait_for_selector("#seeds:not([hidden])")
    page.wait_for_function(
        "name => ![...document.querySelectorAll('.card h3 button')].some(b => b.innerText === name)", arg=name
    )


def test_a_shared_address_restores_the_search(browser, base):
    tab = browser.new_page()
    tab.goto(f"{base}/?query=travel&platform=tiktok&platform=x")
    tab.wait_for_selector(".card")
    assert tab.input_value("#query") == "travel"
    assert tab.is_checked("input[name=platform][value=tiktok]")
    assert tab.is_checked("input[name=platform][value=x]")
    tab.close()


def test_the_page_fits_a_phone(browser, base):
    tab = browser.new_page(viewport={"width": 390, "height": 800})
    tab.goto(base)
    tab.wait_for_selector(".card")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.close()
