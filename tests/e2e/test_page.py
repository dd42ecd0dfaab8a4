"""The search page in a real browser over the real service."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser import installed_browser
from tests.support import served

pytestmark = [pytest.mark.e2e, pytest.mark.browser]


@pytest.fixture(scope="module")
def browser():
    with installed_browser() as running:
        if running is None:
            pytest.skip("no browser: install chromium (Debian, Ubuntu) or Google Chrome to run the page's tests")
        yield running


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


def _searches(page) -> list[str]:
    """Searches that the page asks for from now on."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/v1/search") else None)
    return asked


def test_a_query_shows_ranked_cards_with_reasons(page):
    page.fill("#query", "cooking recipes")
    page.press("#query", "Enter")
    page.wait_for_selector(".reasons li")
    scores = [float(text) for text in page.locator(".score b").all_inner_texts()]
    assert len(scores) == 10
    assert scores == sorted(scores, reverse=True)
    assert "query=cooking" in page.url
    assert "plan" in page.locator("#summary").inner_text()


def test_a_filter_narrows_and_more_pages_follow(page):
    everyone = page.locator("#summary strong").inner_text()
    page.check("input[name=platform][value=youtube]")
    expect(page.locator("#summary strong")).not_to_have_text(everyone)
    for card in page.locator(".card").all():
        assert "YouTube" in card.inner_text()
    page.click("#more")
    expect(page.locator(".card")).to_have_count(20)
    names = page.locator(".card h3").all_inner_texts()
    assert len(names) == 20


def test_an_impossible_filter_says_which_one(page):
    page.fill("input[name=followers_min]", "5B")
    page.press("input[name=followers_min]", "Enter")
    page.wait_for_selector(".message")
    assert "followers" in page.locator(".message").inner_text()


@pytest.mark.parametrize(
    ("field", "text", "filters"),
    [
        ("followers_min", "10 000", {"followers": {"min": 10_000}}),
        ("followers_min", "1,500", {"followers": {"min": 1_500}}),
        ("followers_max", "1,5 M", {"followers": {"max": 1_500_000}}),
        ("er_min", "5 %", {"er_followers": {"min": 0.05}}),
        ("er_max", "0,5", {"er_followers": {"max": 0.005}}),
        ("quality_min", "0.5", {"quality_min": 0.5}),
    ],
)
def test_numbers_are_read_as_people_write_them(page, field, text, filters):
    page.fill(f"input[name={field}]", text)
    with page.expect_request("**/v1/search") as caught:
        page.press(f"input[name={field}]", "Enter")
    assert caught.value.post_data_json["filters"] == filters


@pytest.mark.parametrize(
    ("field", "text"),
    [("followers_min", "ten"), ("followers_min", "5%"), ("er_max", "abc"), ("followers_max", "k"), ("er_min", "1,2,3")],
)
def test_a_number_that_cannot_be_read_is_told_about_and_not_searched(page, field, text):
    asked = _searches(page)
    number = page.locator(f"input[name={field}]")
    number.fill(text)
    number.press("Enter")
    page.click("#search button")
    assert number.evaluate("field => field.validationMessage").startswith("Write a number such as ")
    assert number.get_attribute("aria-invalid") == "true"
    assert asked == []
    number.fill("10")
    with page.expect_response("**/v1/search"):
        number.press("Enter")
    assert number.get_attribute("aria-invalid") == "false"


def test_the_same_search_is_not_asked_twice_at_once(page):
    asked = _searches(page)
    page.fill("#query", "travel")
    with page.expect_response("**/v1/search"):
        page.evaluate("for (let i = 0; i < 3; i++) document.getElementById('search').requestSubmit()")
    assert len(asked) == 1


def test_more_of_the_shown_search_whatever_the_form_says_by_then(page):
    page.fill("#query", "something else")
    with page.expect_request("**/v1/search") as caught:
        page.click("#more")
    assert "query" not in caught.value.post_data_json
    page.wait_for_selector(".card >> nth=19")


def test_cards_stay_when_more_of_them_cannot_be_had(browser, base):
    tab = browser.new_page()
    tab.goto(base)
    tab.wait_for_selector(".card")
    gone = {"error": {"code": "snapshot_gone", "message": "Gone.", "details": {}, "field": "cursor"}}
    tab.route("**/v1/search", lambda route: route.fulfill(status=409, json=gone))
    tab.click("#more")
    tab.wait_for_selector(".message.error")
    assert tab.locator(".card").count() == 10
    assert tab.locator(".message.error").inner_text() == "Gone. The data was renewed: search again."
    tab.unroute("**/v1/search")
    tab.click("#search button")
    tab.wait_for_selector(".message", state="detached")
    assert tab.locator(".card").count() == 10
    tab.close()


def test_a_late_answer_does_not_replace_a_newer_profile(page):
    buttons = page.locator(".card h3 button")
    first, second = buttons.nth(0).inner_text(), buttons.nth(1).inner_text()
    held = []
    page.route("**/v1/creators/*", lambda route: route.continue_() if held else held.append(route))
    buttons.nth(0).click()
    page.keyboard.press("Escape")
    buttons.nth(1).click()
    page.wait_for_selector("dialog[open] .facts")
    held[0].continue_()
    page.wait_for_timeout(300)
    assert page.locator("dialog h2").inner_text() == second
    assert first != second


def test_a_profile_opens_and_similar_creators_are_found(page):
    first = page.locator(".card").first
    name = first.locator("h3 button").inner_text()
    first.locator("h3 button").click()
    page.wait_for_selector("dialog[open] .facts")
    assert name in page.locator("dialog h2").inner_text()
    page.click("dialog button:has-text('Close')")
    first.locator("button:has-text('More like this')").click()
    page.wait_for_selector("#seeds:not([hidden])")
    expect(page.locator(".card h3 button").get_by_text(name, exact=True)).to_have_count(0)
    other = page.locator(".card").first.locator("h3 button").inner_text()
    page.locator(".card").first.locator("button:has-text('Less like this')").click()
    expect(page.locator("#seeds")).to_contain_text(f"Less like {other}")
    expect(page.locator(".card h3 button").get_by_text(other, exact=True)).to_have_count(0)
    page.locator("#seeds button").first.click()
    expect(page.locator("#seeds")).to_be_hidden()


def test_creators_are_matched_by_one_kind_of_content(page):
    bodies: list[dict] = []
    page.on("request", lambda asked: bodies.append(asked.post_data_json) if asked.url.endswith("/v1/search") else None)
    page.fill("#query", "travel")
    page.press("#query", "Enter")
    page.wait_for_selector(".reasons li")
    everyone = page.locator("#summary strong").inner_text()
    page.select_option("select[name=domain]", "long")
    expect(page.locator("#summary strong")).not_to_have_text(everyone)
    assert "domain=long" in page.url
    for card in page.locator(".card").all():
        assert "YouTube" in card.inner_text(), "all others make short-form content"
    page.fill("#query", "")
    page.press("#query", "Enter")
    expect(page.locator("#summary strong")).to_have_text(everyone)
    assert [body.get("domain") for body in bodies] == [None, "long", None]


def _open_joined(page):
    """Open the profile of a creator with several accounts; its evidence as the service tells it."""
    found = page.evaluate(
        """async () => {
          const body = JSON.stringify({filters: {linked_platforms: ["instagram", "tiktok"]}, limit: 50});
          const headers = {"content-type": "application/json"};
          const {hits} = await (await fetch("/v1/search", {method: "POST", headers, body})).json();
          const told = await Promise.all(hits.map(async (hit) => (await fetch(`/v1/creators/${hit.creator_id}/evidence`)).json()));
          return told.filter((one) => one.edges.length > 1).sort((a, b) => b.near_misses.length - a.near_misses.length)[0];
        }"""
    )
    page.route(
        "**/v1/creators/*",
        lambda route: route.continue_(url=f"{route.request.url.rpartition('/')[0]}/{found['creator_id']}"),
    )
    page.locator(".card h3 button").first.click()
    page.wait_for_selector(".evidence .signals h4")
    return found


def _bits(text):
    return float(text.replace("\u2212", "-").replace("+", ""))


def test_a_profile_draws_why_its_accounts_are_one_and_the_bits_add_up(page):
    found = _open_joined(page)
    assert page.locator(".graph .own").count() == len(found["accounts"])
    assert page.locator(".graph .edge").count() >= len(found["edges"])
    assert page.locator(".edges button").count() == len(found["edges"]) + len(found["near_misses"])
    assert f"{len(found['accounts'])} accounts" in page.locator(".graph").get_attribute("aria-label")
    shown = [_bits(text) for text in page.locator(".signals tbody td.number").all_inner_texts()]
    total = _bits(page.locator(".signals tfoot td.number").first.inner_text())
    assert sum(shown) == pytest.approx(total, abs=0.05 * (len(shown) + 1))
    assert total == pytest.approx(found["edges"][0]["log_odds"], abs=0.05)


def test_a_pair_is_chosen_by_key_or_by_its_line(page):
    _open_joined(page)
    buttons, heading = page.locator(".edges button"), page.locator(".signals h4")
    second = buttons.nth(1)
    second.focus()
    page.keyboard.press("Enter")
    assert second.get_attribute("aria-pressed") == "true"
    assert buttons.nth(0).get_attribute("aria-pressed") == "false"
    assert heading.inner_text() == second.locator(".ends").inner_text()
    page.locator(".graph .edge").last.dispatch_event("click")  # the strongest is drawn last
    expect(heading).to_have_text(buttons.nth(0).locator(".ends").inner_text())


def test_a_profile_opens_without_its_evidence(page):
    page.route(
        "**/evidence",
        lambda route: route.fulfill(json={"is_available": False, "edges": [], "near_misses": [], "accounts": []}),
    )
    page.locator(".card h3 button").first.click()
    expect(page.locator(".evidence p")).to_contain_text("made without evidence")
    assert page.locator("dialog .facts").is_visible()


def test_the_evidence_fits_a_phone(browser, base):
    tab = browser.new_page(viewport={"width": 390, "height": 800})
    tab.goto(base)
    tab.wait_for_selector(".card")
    _open_joined(tab)
    sizes = tab.evaluate(
        "(({scrollWidth, clientWidth}) => [scrollWidth, clientWidth])(document.getElementById('detail'))"
    )
    assert sizes[0] <= sizes[1]
    tab.close()


def test_a_shared_address_restores_the_search(browser, base):
    tab = browser.new_page()
    tab.goto(f"{base}/?query=travel&platform=tiktok&platform=x")
    tab.wait_for_selector(".card")
    assert tab.input_value("#query") == "travel"
    assert tab.is_checked("input[name=platform][value=tiktok]")
    assert tab.is_checked("input[name=platform][value=x]")
    tab.close()


@pytest.mark.parametrize("name", ["length", "item", "elements", "", "unknown"])
def test_an_address_with_other_names_does_not_stop_the_page(browser, base, name):
    tab = browser.new_page()
    tab.goto(f"{base}/?{name}=5")
    tab.wait_for_selector(".card")
    assert tab.is_enabled("input[name=no_risk]")
    tab.close()


def test_the_page_fits_a_phone(browser, base):
    tab = browser.new_page(viewport={"width": 390, "height": 800})
    tab.goto(base)
    tab.wait_for_selector(".card")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.close()
