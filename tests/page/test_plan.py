"""The Plan page: what a person asks, sees and takes away, before anything is spent."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.page.consortium import Consortium
from tests.page.visits import visiting

pytestmark = pytest.mark.browser


def test_a_plan_shows_what_the_api_foretells_and_bars_nobody(browser: Browser, consortium: Consortium) -> None:
    answer = consortium.api.json("/v1/plan?epsilon=2&sites=5&records=1200&ceiling=0.977&site=site-3")
    loss, cost = answer["forecast"]["utility"]["loss"], answer["forecast"]["cost"]
    assert cost["fits"]
    with visiting(
        browser, f"{consortium.address}/plan?epsilon=2&sites=5&records=1200&ceiling=0.977&site=site-3"
    ) as visit:
        expect(visit.page.get_by_role("heading", name="Plan a run", exact=True)).to_be_visible()
        expect(visit.page.locator(".plan-figures .chart-drawing")).to_be_visible()
        assert f"{100 * loss['expected']:.1f} points" in visit.text("Expected loss of accuracy")
        assert f"more than {100 * loss['one_in_ten']:.1f}" in visit.text("Expected loss of accuracy")
        # Rounded up, never down.
        shown = re.search(r"ε (\d+\.\d\d) of 8\.00", visit.text("Lifetime at site-3"))
        assert shown is not None
        assert cost["after"] <= float(shown[1]) < cost["after"] + 0.01
        expect(visit.page.get_by_text("fedpriv run --epsilon 2 --sites 5", exact=True)).to_be_visible()
        expect(visit.page.get_by_text("let it declare 1200, in a new version")).to_be_visible()
        meter = visit.page.get_by_role("meter", name="Lifetime budget of site-3")
        expect(meter).to_have_attribute("aria-valuetext", re.compile("ended as planned"))
        visit.faultless()


def test_what_is_typed_is_in_the_address_and_the_address_is_what_is_shown(
    browser: Browser, consortium: Consortium
) -> None:
    with visiting(browser, f"{consortium.address}/plan") as visit:
        page = visit.page
        expect(page.locator(".plan-figures .chart-drawing")).to_be_visible()
        page.get_by_label("Privacy of the run, ε").fill("0,5")
        page.get_by_label("Records in all").fill("2300")
        page.wait_for_url(re.compile(r"/plan\?epsilon=0\.5&records=2300$"))
        expect(page.locator(".plan-command code")).to_have_text("fedpriv run --epsilon 0.5")
        # What is no number of the field is said, and asked of nobody.
        page.get_by_label("Records in all").fill("2345")
        expect(page.get_by_text("At most two significant digits, as 1200.")).to_be_visible()
        page.get_by_label("Privacy of the run, ε").fill("0")
        expect(page.get_by_text("From 0.001 to 50.")).to_be_visible()
        page.get_by_label("Privacy of the run, ε").fill("2")
        page.wait_for_url(re.compile(r"/plan\?epsilon=2&records=2300$"))
        # By keyboard alone, on the slider and in the chart.
        page.get_by_label("ε by slider").focus()
        page.keyboard.press("End")
        page.wait_for_url(re.compile("epsilon=16"))
        chart = page.get_by_role("slider", name=re.compile("^Expected loss of accuracy against ε"))
        chart.focus()
        page.keyboard.press("Home")
        expect(chart).to_have_attribute("aria-valuetext", re.compile(r"^ε 0\.2: \d+\.\d points lost"))
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"epsilon=0\.2"))
        page.go_back()
        page.wait_for_url(re.compile("epsilon=16"))
        expect(page.get_by_label("Privacy of the run, ε")).to_have_value("16")
        assert visit.complaints == []


def test_a_run_that_cannot_be_paid_leads_to_one_that_can(browser: Browser, consortium: Consortium) -> None:
    with visiting(browser, f"{consortium.address}/plan?epsilon=4", width=390) as visit:
        page = visit.page
        expect(page.get_by_role("alert")).to_contain_text("site-1 cannot pay this run.")
        visit.faultless()
        page.get_by_role("link", name="Plan against site-1").click()
        expect(page.get_by_role("alert")).to_contain_text("The budget cannot pay this run.")
        assert visit.accessibility() == []
        largest = consortium.api.json("/v1/plan?epsilon=4&site=site-1")["forecast"]["largest_epsilon"]
        page.get_by_role("link", name=f"Plan ε {largest}").click()
        expect(page.get_by_text("The budget can pay this run.")).to_be_visible()
        assert visit.overflow() == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("contract=wdbc", "This API has no data contract wdbc, only breast-cancer-wisconsin@1."),
        ("site=site-9", "names a site site-9"),
        ("unit=patient", "has no group and nominal_patients"),
        ("records=1234", "two significant digits"),
    ],
)
def test_what_cannot_be_planned_says_why_and_leads_back(
    browser: Browser, consortium: Consortium, query: str, words: str
) -> None:
    with visiting(browser, f"{consortium.address}/plan?{query}") as visit:
        expect(visit.page.get_by_role("alert")).to_contain_text(words)
        expect(visit.page.get_by_text(re.compile(r"HTTP 4\d\d, trace \w+"))).to_be_visible()
        assert visit.accessibility() == []
        visit.page.locator(".plan-refused").get_by_role("link", name="Start from the defaults").click()
        expect(visit.page.locator(".plan-figures .chart-drawing")).to_be_visible()


def test_a_plan_that_is_still_computed_keeps_its_place_and_then_comes(browser: Browser, consortium: Consortium) -> None:
    consortium.api.json("/v1/plan?epsilon=1.9")
    assert consortium.api.process is not None
    parent = consortium.api.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (planner,) = [int(child) for child in children if b"planner_process" in Path(f"/proc/{child}/cmdline").read_bytes()]
    os.kill(planner, signal.SIGSTOP)
    try:
        with visiting(browser, f"{consortium.address}/plan?epsilon=1.37") as visit:
            status = visit.page.locator(".plan-answer > [role=status]")
            expect(status).to_have_text("The plan is being computed")
            expect(visit.page.locator(".plan-answer .bone").first).to_be_visible()
            assert visit.accessibility() == []
            os.kill(planner, signal.SIGCONT)
            expect(status).to_contain_text("ε 1.37")
            assert visit.shifts() == 0
    finally:
        os.kill(planner, signal.SIGCONT)
