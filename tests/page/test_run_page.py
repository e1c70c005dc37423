"""What a person sees, hears and can do on the dashboard, over a real API, a real bucket and a real Chromium."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.page.consortium import SCRIPTS, Consortium
from tests.page.visits import Visit, visiting
from tests.run_writer import new_run_id

pytestmark = pytest.mark.browser


def test_a_finished_run_shows_its_figures_rounded_in_favour_of_the_record(
    browser: Browser, consortium: Consortium
) -> None:
    run = consortium.api.json(f"/v1/runs/{consortium.runs['finished']}")
    low, high = run["accuracy_interval"]
    with visiting(browser, consortium.address) as visit:
        expect(visit.page.locator(".chart-drawing")).to_have_count(5)
        accuracy = visit.text("Global accuracy")
        assert f"{100 * run['accuracy']:.1f} %" in accuracy
        assert f"95 % interval {100 * low:.1f} to {100 * high:.1f} %" in accuracy
        # ε 0.999… is shown as 1.00, of the site with the longest history ε 2.43… as 2.44.
        assert "ε 1.00 of 1.00" in visit.text("Privacy of this run")
        assert "Lifetime ε 2.44 of 8.00 site-2, δ 1e−5" in visit.text("Privacy of this run")
        assert "13 of 13" in visit.text("Round")
        assert "3 of 3" in visit.text("Sites in this round")
        meter = visit.page.get_by_role("meter", name="Lifetime budget of site-2")
        expect(meter).to_have_attribute("aria-valuetext", "ε 2.44 of 8.00 spent, 31\u202f%")


def test_opening_the_page_moves_nothing_complains_of_nothing_and_asks_nobody_else(
    browser: Browser, consortium: Consortium
) -> None:
    with visiting(browser, consortium.address) as visit:
        expect(visit.page.locator(".live")).to_contain_text("Finished")
        visit.page.evaluate("document.fonts.ready")
        assert visit.page.evaluate("document.fonts.check('600 14px \"Inter Variable\"', 'aε')")
        assert visit.page.evaluate("window.shifts") == 0
        assert visit.complaints == []
        assert visit.elsewhere == []


def test_a_link_to_a_run_that_is_not_there_leads_to_the_newest(browser: Browser, consortium: Consortium) -> None:
    with visiting(browser, f"{consortium.address}/?run={new_run_id()[:-4]}0000") as visit:
        expect(visit.page.get_by_role("heading", name="There is no such run")).to_be_visible()
        expect(visit.page.get_by_text(re.compile(r"HTTP 404, trace \w+"))).to_be_visible()
        assert visit.accessibility() == []
        visit.page.get_by_role("link", name="Show the newest run").click()
        expect(visit.page.locator(".live")).to_contain_text("Finished")


def test_what_was_not_released_is_said_and_never_drawn(browser: Browser, consortium: Consortium) -> None:
    with visiting(browser, consortium.link("no public set")) as visit:
        expect(visit.page.locator(".chart-empty").get_by_text("Not released: would cost privacy")).to_have_count(3)
        expect(visit.page.locator(".chart-drawing")).to_have_count(2)
        assert "– not released: would cost privacy" in visit.text("Global accuracy")


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("halted", ["Privacy limit reached after 6 rounds of 13.", "Near its limit"]),
        ("refused", ["site-3 declined", "Declined: budget cannot pay"]),
        ("offline", ["No answer from site-3", "Offline", "Near its limit"]),
    ],
)
def test_trouble_is_told_in_words(browser: Browser, consortium: Consortium, run: str, words: list[str]) -> None:
    with visiting(browser, consortium.link(run)) as visit:
        for text in words:
            expect(visit.page.get_by_text(text).first).to_be_visible()
        visit.page.get_by_role("button", name="Problems").click()
        expect(visit.page.locator(".events li").first).to_be_visible()
        expect(visit.page.locator(".events li .tone-ok")).to_have_count(0)


@pytest.mark.parametrize("run", ["finished", "offline", "halted", "refused", "no public set"])
def test_nothing_bars_anybody(browser: Browser, consortium: Consortium, run: str) -> None:
    with visiting(browser, consortium.link(run)) as visit:
        expect(visit.page.locator(".chart-drawing").first).to_be_visible()
        assert visit.accessibility() == []
        visit.page.emulate_media(color_scheme="dark")
        assert visit.accessibility() == []
        for button in visit.page.get_by_role("button", name="Table of").all():
            button.click()
        visit.page.locator(".sites-table a").first.click()
        assert visit.accessibility() == []


def test_the_page_fits_a_phone(browser: Browser, consortium: Consortium) -> None:
    with visiting(browser, consortium.link("offline"), width=390, height=844) as visit:
        expect(visit.page.locator(".chart-drawing")).to_have_count(5)
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 390
        expect(visit.page.get_by_role("cell", name="Offline")).to_be_visible()
        assert visit.accessibility() == []


def test_everything_can_be_done_by_keyboard(browser: Browser, consortium: Consortium) -> None:
    with visiting(browser, consortium.address) as visit:
        page, press = visit.page, visit.page.keyboard.press
        expect(page.locator(".chart-drawing")).to_have_count(5)
        press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        press("Enter")
        press("Tab")
        expect(page.get_by_role("button", name="Table of Accuracy")).to_be_focused()
        press("Tab")
        expect(page.get_by_role("button", name="Save Accuracy as a picture or a table")).to_be_focused()

        press("Tab")
        slider = page.get_by_role("slider", name="Accuracy of the global model")
        expect(slider).to_be_focused()
        press("Home")
        expect(slider).to_have_attribute("aria-valuetext", re.compile("^Round 1: Global "))
        press("ArrowRight")
        expect(slider).to_have_attribute("aria-valuetext", re.compile("^Round 2: Global .* 95 % interval "))
        expect(page.locator(".tooltip strong")).to_have_text(["Round 2"] * 4)
        press("End")
        expect(slider).to_have_attribute("aria-valuenow", "13")
        press("Escape")
        expect(page.locator(".tooltip")).to_have_count(0)

        site = page.get_by_role("link", name="site-3")
        site.focus()
        press("Enter")
        expect(page).to_have_url(re.compile(r"site=site-3"))
        expect(page.get_by_role("slider", name="Privacy budget used at site-3")).to_be_visible()

        _choose_halted_run(visit)
        theme = page.get_by_role("button", name="Theme:")
        theme.focus()
        press("Enter")
        press("Enter")
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        expect(page.get_by_text("Privacy limit reached")).to_be_visible()


def _choose_halted_run(visit: Visit) -> None:
    """Through the run picker, by keyboard alone."""
    press = visit.page.keyboard.press
    visit.page.get_by_role("button", name="Training run:").focus()
    press("Enter")
    links = visit.page.get_by_role("dialog", name="Training runs").get_by_role("link")
    expect(links).to_have_count(len(SCRIPTS) + 2)
    expect(links.first).to_be_focused()
    assert visit.accessibility() == []
    halted = next(index for index, text in enumerate(links.all_inner_texts()) if "Halted" in text)
    for _ in range(halted):
        press("ArrowDown")
    expect(links.nth(halted)).to_be_focused()
    press("Enter")
    expect(links).to_have_count(0)
    expect(visit.page).to_have_url(re.compile(r"\?run=\w{26}$"))
