"""What docs/see-it.md promises of the UI is on its pages: a real Dagster, looked at in Chromium.

Not among the default tests, since it needs a browser: ``make ui``. With ``--pictures FOLDER`` it
takes the pictures that the page shows; ``make pictures`` takes them into ``docs/ui``.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
import yaml
from playwright.sync_api import Locator, Page, expect, sync_playwright
from rich.console import Console

from project.fan_in.batch import batch_of_run
from project.local.dagster_process import LocalDagster, wait_until
from project.local.demo import DECLARATIVE_MART, DOWNSTREAM_JOB, FIRST, SECOND, Demo
from project.local.programs import install
from project.paths import ROOT
from tests.example import waiting
from tests.support.drivers import upstream_runs

pytestmark = pytest.mark.browser

PICTURES = "docs/ui"
PAGE = (ROOT / "docs" / "see-it.md").read_text()
PROMISES = {
    name: re.findall(r"`([^`]+)`", words)
    for words, name in re.findall(r"^- (.*?)\n\n  !\[[^\]]*\]\(ui/(\w+)\.png\)", PAGE, re.S | re.M)
}
"""For each picture of the page, what it says is to be seen there."""

EVALUATED = r"^\w+ \d+, \d+:\d+:\d+"
"""The time of an evaluation, as the list of them has it."""

A_WHILE = 60_000
"""Milliseconds in which a page has to show something."""


@pytest.fixture(scope="module")
def dagster(tmp_path_factory) -> Iterator[LocalDagster]:
    """Both marts have been built for the first day; of the second, only the weather has landed."""
    folder = tmp_path_factory.mktemp("ui")
    with (
        (folder / "log").open("wb") as log,
        LocalDagster(folder / "home", folder / "data", log=log) as dagster,
    ):
        dagster.wait_until_ready()
        demo = Demo(dagster, Console(quiet=True))
        demo.land(("flights_job", FIRST), ("weather_job", SECOND))
        demo.land(("weather_job", FIRST))
        demo.expect((FIRST,), "both feeds have landed it")
        assert demo.wrong == []
        dagster.wait_for_ticks()
        yield dagster


@contextmanager
def located(folder: Path, name: str, *sensors: str) -> Iterator[LocalDagster]:
    """A Dagster of its own, with the code location ``tests.example`` of that name."""
    location = {"module_name": f"tests.example.{name}", "location_name": name}
    workspace = folder / "workspace.yaml"
    workspace.write_text(
        yaml.safe_dump(
            {"load_from": [{"python_module": {**location, "working_directory": str(ROOT)}}]}
        )
    )
    with (
        (folder / "log").open("wb") as log,
        LocalDagster(
            folder / "home", folder / "data", log=log, workspace=workspace, sensors=sensors
        ) as dagster,
    ):
        dagster.wait_until_ready()
        yield dagster


@pytest.fixture
def late(tmp_path) -> Iterator[LocalDagster]:
    """Two fan-ins with a deadline of seconds, ``tests.example.late``."""
    sensors = ("both_paid", "fan_in_automation_sensor", "fan_in_alarm_sensor")
    with located(tmp_path, "late", *sensors) as dagster:
        yield dagster


@pytest.fixture(scope="module")
def waits(tmp_path_factory) -> Iterator[LocalDagster]:
    """Fan-ins that wait, ``tests.example.waiting``."""
    folder = tmp_path_factory.mktemp("waiting")
    with located(folder, "waiting", "fan_in_automation_sensor") as dagster:
        waiting.fill(dagster.instance)
        dagster.wait_for_ticks()
        yield dagster


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    if not shutil.which("chromium"):
        install("chromium")
    program = shutil.which("chromium")
    assert program, "there is no chromium on the PATH: install it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        page = browser.new_page(viewport={"width": 1240, "height": 760})
        yield page
        browser.close()


@pytest.fixture
def look(browser_page, dagster):
    """Opens a page of the UI."""

    def look(path: str) -> Page:
        browser_page.goto(f"{dagster.address}{path}")
        return browser_page

    return look


@pytest.fixture
def promised(request):
    """Checks that all is to be seen that the page promises of a picture, and takes it."""

    def promised(name: str, where: Page | Locator) -> None:
        assert PROMISES[name], "the page says what is to be seen"
        for words in PROMISES[name]:
            expect(where.get_by_text(words).first).to_be_visible(timeout=A_WHILE)
        if folder := request.config.getoption("--pictures"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            where.screenshot(path=Path(folder, f"{name}.png"), animations="disabled")

    return promised


def run_of(dagster: LocalDagster, name: str) -> dg.DagsterRun:
    """Returns the only run of a job, or of the declarative mart."""
    (run,) = (
        run
        for run in dagster.instance.get_runs()
        if name == run.job_name or {dg.AssetKey(name)} == run.asset_selection
    )
    return run


def test_the_pictures_of_the_page_are_those_that_are_taken_here():
    """Each has its test below, and is in the tree."""
    taken = set(re.findall(r'promised\(\s*"(\w+)"', Path(__file__).read_text()))
    assert taken == PROMISES.keys()
    assert {path.stem for path in (ROOT / PICTURES).glob("*.png")} == taken


def test_the_asset_graph_shows_what_waits_for_what(look, promised):
    """Two feeds, and the marts of both paths downstream of both."""
    groups = ",".join(f"global@global:{group}" for group in ("feeds", "declarative", "job_path"))
    page = look(f"/asset-groups?expanded={quote(groups, safe='')}")
    graph = page.locator("svg").get_by_text("feeds", exact=True)
    graph.hover(timeout=A_WHILE)
    for _ in range(4):
        page.get_by_label("zoom_out").click()
    page.mouse.move(620, 360)
    page.mouse.down()
    page.mouse.move(620, 400, steps=5)
    page.mouse.up()
    promised("graph", page)


def test_an_evaluation_has_a_line_for_each_upstream(look, promised):
    """In words, and true or false: the second day waits for the flights."""
    page = look(f"/assets/{DECLARATIVE_MART.to_user_string()}?view=automation")
    page.get_by_text(re.compile(EVALUATED)).first.click(timeout=A_WHILE)
    promised("evaluation", page)


WAITS = {
    "delays": [
        "0 of 40 partitions complete",
        "2013-02-09: 1 of 2, waiting for flights",
        "2013-02-08: 1 of 2, waiting for flights",
        "2013-02-07: 1 of 2, waiting for flights",
        "and 37 more wait: flights for 36, weather for 1",
    ],
    "overview": [
        "17 of 20, waiting for contracts + 2",
        *(f"waiting for {name}: never materialized" for name in waiting.AWAY),
        "17 are there",
    ],
    "settling": [
        "2 of 2, held",
        re.compile("^complete, settling until .* UTC .2 h of quiet.: orders materialized"),
    ],
}
"""What the evaluations of ``tests.example.waiting`` show."""


@pytest.mark.parametrize("width", [1280, 800])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("asset", WAITS)
def test_an_evaluation_shows_what_waits_for_what(waits, browser_page, asset, width, dark):
    """Each line is whole to be seen, at once, and the whole fits a screen."""
    page = browser_page.context.browser.new_page(viewport={"width": width, "height": 900})
    if dark:
        page.add_init_script("localStorage.setItem('dagster-theme', '\"Dark\"')")
    page.goto(f"{waits.address}/assets/{asset}?view=automation")
    page.get_by_text(re.compile(EVALUATED)).first.click(timeout=A_WHILE)
    shade = "node => getComputedStyle(node).backgroundColor.match(/\\d+/g).slice(0, 3)"
    paint = [int(part) for part in page.locator("body").evaluate(shade)]
    assert (max(paint) < 80) is dark, paint
    for words in WAITS[asset]:
        line = page.get_by_text(words, exact=True).last
        expect(line).to_be_in_viewport(ratio=1, timeout=A_WHILE)
        assert line.evaluate("node => node.scrollWidth <= node.clientWidth + 1"), words
    page.close()


def test_forty_days_and_twenty_upstreams_fit_a_screen(waits, browser_page, promised):
    """As the pictures show."""

    def evaluation(asset: str) -> Page:
        browser_page.goto(f"{waits.address}/assets/{asset}?view=automation")
        browser_page.get_by_text(re.compile(EVALUATED)).first.click(timeout=A_WHILE)
        return browser_page

    promised("waiting", evaluation("delays"))
    promised("twenty", evaluation("overview"))


def test_the_automation_sensors_page_says_what_waits(waits, browser_page):
    """The reason of its newest tick: what is missing stands in front."""
    page = browser_page
    page.goto(f"{waits.address}/locations/waiting/sensors/fan_in_automation_sensor")
    page.get_by_text("0 runs requested").first.hover(timeout=A_WHILE)
    words = page.get_by_text(re.compile("settling: 2 of 2, held; delays: 0 of 40 partitions"))
    expect(words.first).to_be_visible(timeout=A_WHILE)


def test_a_tick_tells_its_reason(look, promised):
    """The sensor's page lists the ticks; a click tells why one requested nothing."""
    page = look("/locations/fan_in/sensors/both_feeds_succeeded")
    page.get_by_role("button", name="0 runs requested").first.click(timeout=A_WHILE)
    promised("tick", page)


def test_the_downstream_run_names_its_batch(look, promised, dagster):
    """Its tags name the batch, and the run of each upstream."""
    run = run_of(dagster, DOWNSTREAM_JOB)
    page = look(f"/runs/{run.run_id}")
    page.get_by_text("View tags and config").click(timeout=A_WHILE)
    promised("run", page)
    for upstream in ("flights_job", "weather_job"):
        upstream_run = upstream_runs(run.tags)[upstream]
        expect(page.get_by_text(f"{upstream} {upstream_run[:8]}").first).to_be_visible(
            timeout=A_WHILE
        )


@pytest.mark.parametrize(
    ("name", "upstreams"),
    [
        ("carrier_days_job", ["flights_job", "weather_job"]),
        ("weather_delays", ["flights", "weather"]),
    ],
)
def test_the_upstream_runs_are_a_click_away_from_the_downstream_run(look, dagster, name, upstreams):
    """On both paths: in the run's log, the materialization links to the runs that made it."""
    for upstream in upstreams:
        run = run_of(dagster, name)
        batch = batch_of_run(dagster.instance, run)
        (upstream_run,) = (c.run_id for c in batch.completions if c.upstream == upstream)
        page = look(f"/runs/{run.run_id}?logs=type%3AASSET_MATERIALIZATION")
        row = page.get_by_role("row").filter(has_text=f"made by {upstream}").last
        row.get_by_role("link").click(timeout=A_WHILE)
        expect(page).to_have_url(re.compile(f"/runs/{upstream_run}"), timeout=A_WHILE)
        job = upstream if upstream.endswith("_job") else f"{upstream}_job"
        expect(page.get_by_role("link", name=job).first).to_be_visible(timeout=A_WHILE)


def test_a_mart_shows_the_day_that_was_built(look, promised):
    """The first rows, the links to what made it, and a picture, drawn when it is asked for."""
    page = look(f"/assets/weather_delays?view=events&partition={FIRST}")
    promised("mart", page)
    page.get_by_text("[Show Markdown]").first.click(timeout=A_WHILE)
    drawn = page.locator("img[src^='data:image/png']")
    expect(drawn).to_be_visible(timeout=A_WHILE)
    assert drawn.evaluate("image => image.naturalWidth") > 500
    promised("picture", page)


CHECKS = {"revenue": "fan_in_deadline", "ledger": "both_paid_deadline"}
"""The downstream of each path, and the check of its deadline."""


def test_a_deadline_that_has_passed_fails_a_check_on_the_assets_page(late, browser_page, promised):
    """On both paths, while nothing runs; the run of the whole batch passes it."""

    def told(asset: str, passed: bool) -> bool:
        key = dg.AssetCheckKey(dg.AssetKey(asset), CHECKS[asset])
        records = late.instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
        evaluations = (r.evaluation for r in records)
        newest = [e for e in evaluations if isinstance(e, dg.AssetCheckEvaluation)][:1]
        return [e.passed for e in newest] == [passed]

    late.wait_for_runs([late.launch("orders_job", "late")])
    for asset in CHECKS:
        wait_until(lambda asset=asset: told(asset, False), f"the check of {asset} to fail", 120)
    page = browser_page
    for asset, check in reversed(CHECKS.items()):
        page.goto(f"{late.address}/assets/{asset}?view=checks&checkDetail={check}")
        expect(page.get_by_text("1 of 2 upstreams ready").first).to_be_visible(timeout=A_WHILE)
    promised("alarm", page)
    late.wait_for_runs([late.launch("payments_job", "late")])
    for asset in CHECKS:
        wait_until(lambda asset=asset: told(asset, True), f"the check of {asset} to pass", 180)
    made = [run.job_name for run in late.instance.get_runs()]
    assert (made.count("ledger_job"), len(made)) == (1, 4)
