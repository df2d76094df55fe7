"""Names and texts that other people choose are data: for SQL, HTML, file names and the shell.

And what this project starts is reached from this machine alone, and what it publishes holds no
secret and no private address.
"""

import ast
import re
from pathlib import Path

import dagster as dg
import pytest

from project.defs.ingest.feeds import flights
from project.defs.partitions import DAYS
from project.fan_in import all_upstreams_updated, fan_in_sensor
from project.fan_in.batch import batch_of_run
from project.fan_in.cursor import REQUEST_TAG, REQUEST_TAG_BEFORE
from project.fan_in.sensor import BATCH_TAG, requested_batch
from project.paths import ROOT
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    TaggedJobPathWorld,
    d_job,
    declarative_definitions,
    downstream_job,
    job_path_definitions,
    upstream_asset,
    upstream_job,
    upstream_runs,
    with_condition,
    with_sensor,
)

HOSTILE = {
    "sql": "'; DROP TABLE runs; --",
    "sql, quoted": '"; DELETE FROM run_tags WHERE "1"="1',
    "sql, like": "%_%",
    "html": "<script>alert(1)</script>",
    "html, attribute": "\"><img src=x onerror='alert(1)'>",
    "lines": "one\ntwo\r\n\tthree",
    "shell": "$(touch pwned); `touch pwned` | touch pwned & touch pwned",
    "path": "../../../../etc/passwd",
    "windows path": "C:\\..\\con:",
    "format": "{0} {key!r} %s %(name)s ${HOME}",
    "unicode": "ключ-鍵-🔑-\u202e-\u0000-\ufeff",
    "json": '{"keys": [], "version": 3}',
    "empty looking": " \u00a0\u200b",
    "long": "k" * 10_000,
}
hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)

LONGEST_REASON = 2000
"""Characters; a person reads it in one line of the UI."""


def tagged(**arguments) -> TaggedJobPathWorld:
    arguments = {"wait_while_running": False, "correlate_by": "business_day", **arguments}
    return TaggedJobPathWorld(job_path_definitions(**arguments))


def assert_intact(world) -> None:
    """Every table is there and every run can be read."""
    assert len(world.instance.get_runs()) == world.instance.get_runs_count() > 0
    assert not list(Path.cwd().glob("pwned*"))


@hostile
def test_a_key_is_data_whatever_it_is(text):
    """In a run tag of the upstreams: it pairs with itself and with nothing else, comes back exactly
    in the request's tag, and what it looks like is not done. Also when the cursor is lost."""
    with tagged() as world:
        world.run("A", key=text)
        world.run("B", key="another")
        assert world.wait(minutes=1).tick() == 0
        assert_is_plain(world.skip_reason)
        b = world.run("B", key=text)
        assert world.wait(minutes=1).tick() == 1
        tags = world.instance.get_run_by_id(world.requested[-1]).tags
        assert tags["business_day"] == text
        assert tags[BATCH_TAG].endswith(f"b_job {b[:8]}")
        assert requested_batch(tags).key == text
        assert upstream_runs(tags)["b_job"] == b
        world.lose_state()
        assert world.wait(minutes=1).tick() == 0
        assert_is_plain(world.skip_reason)
        world.run("A", key="another")
        assert world.wait(minutes=1).tick() == 1
        assert_intact(world)


@hostile
def test_a_run_tag_beside_the_key_is_no_business_of_the_sensor(text):
    """Keys and values of other tags of upstream runs, and of the downstream's."""
    with JobPathWorld(job_path_definitions(wait_while_running=False)) as world:
        world.start_downstream(**{"note": text, text[:200]: "note"})
        for letter in "AB":
            run = world.run(letter)
            world.instance.add_run_tags(run, {"note": text, f"note {text}"[:200]: text})
        assert world.wait(minutes=1).tick() == 1
        assert world.wait(minutes=1).tick() == 0
        assert_intact(world)


def assert_is_plain(reason: str) -> None:
    """One line of text of a bearable length."""
    assert len(reason) <= LONGEST_REASON
    assert len(reason.splitlines()) == 1
    assert "\x00" not in reason


REQUEST_TAGS = {
    "no json": "'; DROP TABLE runs; --",
    "too deep": "[" * 100_000,
    "another shape": '{"key": 1, "at": "x", "positions": []}',
    "not finite": '{"key": "k", "at": NaN, "positions": {"a_job": [Infinity, "x"]}}',
    "huge number": '{"key": "k", "at": 1, "positions": {"a_job": [' + "9" * 5000 + ', "x"]}}',
}


@pytest.mark.parametrize("text", REQUEST_TAGS.values(), ids=REQUEST_TAGS)
@pytest.mark.parametrize("key", [None, "monday"], ids=["plain", "by key"])
def test_a_forged_request_tag_on_a_downstream_run_is_not_believed(text, key):
    """Somebody starts the downstream with this sensor's name and a request that is none."""
    requests = dict.fromkeys((REQUEST_TAG, REQUEST_TAG_BEFORE), text)
    forged = {"fan_in/sensor": "sensor", **requests, BATCH_TAG: text[:100]}
    with tagged() if key else JobPathWorld(job_path_definitions(wait_while_running=False)) as world:
        world.start_downstream(key=key, **forged)
        world.run("A", key=key)
        world.run("B", key=key)
        assert world.wait(minutes=1).tick() == 1
        world.lose_state()
        assert world.wait(minutes=1).tick() == 0
        batch = requested_batch(world.instance.get_run_by_id(world.requested[-1]).tags)
        assert {c.upstream for c in batch.completions} == {"a_job", "b_job"}
        assert_intact(world)


PARTITION_TEXTS = {name: text for name, text in HOSTILE.items() if name not in ("lines", "unicode")}


@pytest.mark.parametrize("text", PARTITION_TEXTS.values(), ids=PARTITION_TEXTS)
@pytest.mark.parametrize("path", ["job", "declarative"])
def test_a_partition_key_is_data_whatever_it_is(text, path):
    """As a partition of upstreams and downstream: it fires once, for itself, on both paths."""
    keys = (text, "plain")
    if path == "declarative":
        world = DeclarativeWorld(
            with_condition(all_upstreams_updated(wait_while_running=False), keys=keys)
        )
    else:
        sensor = fan_in_sensor(
            name="sensor",
            upstream_jobs=[upstream_job(letter) for letter in "AB"],
            job=downstream_job(keys),
            correlate_by="dagster/partition",
            wait_while_running=False,
        )
        world = JobPathWorld(with_sensor(sensor, keys=keys))
    with world:
        world.run("A", key=text)
        world.run("B", key="plain")
        assert world.wait(minutes=1).tick() == 0
        world.run("B", key=text)
        assert world.wait(minutes=1).tick() == 1
        assert world.key_of(world.requested[-1]) == text
        run = world.instance.get_run_by_id(world.requested[-1])
        batch = batch_of_run(world.instance, run, world.downstream_asset)
        assert batch.key == text
        assert len(batch.completions) == 2
        assert [world.wait(minutes=1).tick() for _ in range(2)] == [0, 0]
        assert_intact(world)


@hostile
def test_a_key_that_is_no_partition_of_the_downstream_is_not_requested(text):
    """Neither for days nor for a grid of partitions: the reason tells, and no tick fails."""
    grid = dg.MultiPartitionsDefinition(
        {
            "day": dg.DailyPartitionsDefinition("2026-01-01"),
            "region": dg.StaticPartitionsDefinition(["north"]),
        }
    )
    for partitions in (dg.DailyPartitionsDefinition("2026-01-01"), grid):

        @dg.job(name="d_job", partitions_def=partitions)
        def downstream() -> None: ...

        jobs = [upstream_job(letter) for letter in "AB"]
        sensor = fan_in_sensor(
            name="sensor", upstream_jobs=jobs, job=downstream, correlate_by="dagster/partition"
        )
        definitions = dg.Definitions(
            assets=[upstream_asset(letter) for letter in "AB"],
            jobs=[*jobs, downstream],
            sensors=[sensor],
        )
        with JobPathWorld(definitions) as world:
            world.run("A", key=text)
            world.run("B", key=text)
            assert [world.wait(minutes=1).tick() for _ in range(2)] == [0, 0]
            assert "is not a partition of d_job" in world.skip_reason
            assert_is_plain(world.skip_reason)


LOCATIONS = {name: text for name, text in HOSTILE.items() if name != "long"}


@pytest.mark.parametrize("text", LOCATIONS.values(), ids=LOCATIONS)
def test_the_name_of_a_code_location_is_data_whatever_it_is(text):
    """Dagster keeps the names of jobs to letters, digits and underscores; those of other code
    locations are anything. The request's tag keys are legal all the same."""
    upstream = dg.JobSelector(location_name=text, job_name="a_job")
    sensor = fan_in_sensor(name="sensor", upstream_jobs=[upstream, upstream_job("B")], job=d_job)
    with JobPathWorld(with_sensor(sensor)) as world:
        world.run("B")
        assert world.wait(minutes=1).tick() == 0
        assert_is_plain(world.skip_reason)
        world.run_elsewhere("A", text)
        assert world.wait(minutes=1).tick() == 1
        tags = world.instance.get_run_by_id(world.requested[-1]).tags
        own = [key for key in tags if key.startswith("fan_in/")]
        assert all(re.fullmatch(r"fan_in/[A-Za-z0-9_.-]{1,63}", key) for key in own)
        assert set(upstream_runs(tags)) == {f"a_job@{text}", "b_job"}
        assert_intact(world)


EVALUATION_IDS = {
    "no number": "1; DROP TABLE runs",
    "negative": "-1",
    "other digits": "٣",
    "too great for SQL": "9" * 20,
    "too great for Python": "9" * 5000,
    "another's": "12345",
}


@pytest.mark.parametrize("text", EVALUATION_IDS.values(), ids=EVALUATION_IDS)
def test_a_forged_evaluation_id_on_a_downstream_run_is_not_believed(text):
    """Somebody starts the downstream asset with a tag in which Dagster keeps a number. It is a run
    by hand like any other, and uses up what came before."""
    with DeclarativeWorld(declarative_definitions()) as world:
        world.run("A")
        world.wait(minutes=1).start_downstream(**{"dagster/asset_evaluation_id": text})
        world.wait(minutes=1).run("B")
        assert [world.wait(minutes=1).tick() for _ in range(2)] == [0, 0]
        world.run("A")
        assert [world.wait(minutes=1).tick() for _ in range(2)] == [1, 0]
        assert_intact(world)


def test_a_feeds_day_is_a_day_before_any_sql_or_file_sees_it():
    """The day of a run becomes a file name and stands in dbt's SQL. Dagster makes no run of a feed
    or a mart whose partition is no day."""
    job = dg.define_asset_job("flights_job", selection=[flights])
    job = dg.Definitions(assets=[flights], jobs=[job]).resolve_job_def("flights_job")
    with dg.DagsterInstance.ephemeral() as instance:
        for text in ("2013-01-01' or '1'='1", "../2013-01-01", "2013-01-01; touch pwned"):
            assert not DAYS.has_partition_key(text)
            with pytest.raises(ValueError, match="does not match format"):
                instance.create_run_for_job(job, tags={"dagster/partition": text})
        instance.create_run_for_job(job, tags={"dagster/partition": "2013-01-01"})
        assert instance.get_runs_count() == 1


SECRET = "hunter2-not-to-be-told"


@pytest.mark.parametrize("path", ["job", "declarative"])
def test_nothing_of_an_upstream_run_but_its_name_id_and_time_is_passed_on(path, monkeypatch, capfd):
    """A secret in the environment, in an upstream's tags or in a run's by hand is in no tag of the
    request, no cursor, no reason, no stored evaluation and no log line."""
    monkeypatch.setenv("DATABASE_PASSWORD", SECRET)
    if path == "job":
        world = JobPathWorld(job_path_definitions(wait_while_running=False))
    else:
        world = DeclarativeWorld(declarative_definitions())
    with world:
        world.start_downstream(token=SECRET)
        for letter in "AB":
            assert world.wait(minutes=1).tick() == 0
            assert SECRET not in f"{world.skip_reason}{world.cursor}"
            world.instance.add_run_tags(world.run(letter), {"token": SECRET})
        assert world.wait(minutes=1).tick() == 1
        told = [world.cursor, *world.instance.get_run_by_id(world.requested[-1]).tags.values()]
        told += [dg.serialize_value(evaluation) for evaluation in world.evaluations]
        assert not [text for text in told if text and SECRET in text]
    assert SECRET not in "".join(capfd.readouterr())


# --- the source ----------------------------------------------------------------------------------

SOURCES = sorted((ROOT / "project").rglob("*.py"))
DATABASES = {"sqlalchemy", "sqlite3", "psycopg2", "psycopg", "alembic"}
ASKS_A_DATABASE = {"execute", "executemany", "exec_driver_sql", "text", "sql", "connect"}
SHELL = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
READS_CODE = {"eval", "exec", "compile", "__import__", "pickle.loads", "pickle.load", "yaml.load"}
SPEAK_TO_THE_WAREHOUSE = {
    "project/defs/ingest/landing.py",
    "project/defs/metadata.py",
    "project/local/account.py",
}
"""Of what is in them, only a ``date`` and names that stand in the source get into SQL."""


ASK_DAGSTERS_TABLES = {
    f"project/fan_in/{module}.py" for module in ("event_rows", "evaluation_records", "stored_order")
}
"""What no public method can be asked at once for all assets."""


def names(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_no_source_file_speaks_sql_to_dagsters_storage_or_uses_a_shell(path):
    """Dagster's storages are asked through Dagster's own methods, or by expressions over Dagster's
    own tables, in which no text becomes SQL; programs are started by lists of arguments, and no
    text is run as code."""
    tree = ast.parse(path.read_text())
    by_expressions = {"sqlalchemy"} if names(path) in ASK_DAGSTERS_TABLES else set()
    assert not (imported(tree) & DATABASES) - by_expressions
    assert not by_expressions or "text(" not in path.read_text().replace("_text(", "")
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {ast.unparse(call.func) for call in calls}
    assert not called & (SHELL | READS_CODE)
    assert not [call for call in calls for keyword in call.keywords if keyword.arg == "shell"]
    asks = {name.rpartition(".")[2] for name in called} & ASKS_A_DATABASE
    assert not asks or names(path) in SPEAK_TO_THE_WAREHOUSE or by_expressions


def test_the_rule_about_sources_sees_what_it_is_about():
    """Each of the two files that speak to the warehouse would be refused among the others."""
    for name in SPEAK_TO_THE_WAREHOUSE:
        tree = ast.parse((ROOT / name).read_text())
        assert "duckdb" in imported(tree)
    tree = ast.parse("import sqlite3\nfrom sqlalchemy import text")
    assert imported(tree) >= {"sqlite3", "sqlalchemy"}


# --- what is started and what is published -------------------------------------------------------


def test_all_that_is_started_here_listens_on_loopback_only():
    """Every host that the source names; the end-to-end test looks at the sockets themselves."""
    hosts = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "HOST":
                hosts[names(path)] = ast.literal_eval(node.value)
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert "0.0.0.0" not in node.value
    assert hosts == {"project/local/programs.py": "127.0.0.1"}


FOLDERS = (".ci", "benchmarks", "dbt_project", "deploy", "docs", "project", "tests")
MADE = {"target", "logs", "__pycache__"}
FILES = sorted(
    path
    for path in [*ROOT.iterdir(), *(p for folder in FOLDERS for p in (ROOT / folder).rglob("*"))]
    if path.is_file() and not MADE & set(path.relative_to(ROOT).parts) and path.name != ".git"
)
PUBLIC_HOSTS = {
    # Names of formats and licences in plots and schemas, which nothing opens.
    *("www.w3.org", "purl.org", "creativecommons.org", "matplotlib.org", "www.apache.org"),
    "json-schema.org",
    *("127.0.0.1", "localhost"),
}
SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|xox[abp]-[0-9]"
    r"|glpat-[\w-]{20}|eyJhbGciOi[A-Z]|://[^/\s:@'\"]+:[^/\s:@'\"]+@"
)


def test_the_tree_holds_no_secret_and_names_no_host_but_public_ones():
    """Keys, tokens, addresses with a password in them; and where packages were taken from."""
    assert len(FILES) > 80
    for path in FILES:
        text = path.read_text(errors="replace")
        assert not SECRETS.search(text), names(path)
        hosts = set(re.findall(r"https?://([A-Za-z0-9.-]+)", text))
        assert hosts <= PUBLIC_HOSTS, names(path)


# Put together here, or this file would hold them.
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("postgresql://me:", "word@db/x"),
        ("AKIA", "A" * 16),
        ("ghp_", "a" * 36),
        ("-----BEGIN RSA ", "PRIVATE KEY-----"),
    ],
)
def test_a_secret_would_be_seen(start, end):
    """The pattern finds what it is for."""
    assert SECRETS.search(start + end)


def test_the_lock_names_packages_versions_and_hashes_and_nothing_else():
    """No index, no link, no path: what is installed is told by its hash, wherever it comes from."""
    lock = (ROOT / "requirements.lock").read_text()
    requirement = r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,._-]+\])?==[\w.+!-]+( ; [^\\]+)?"
    one = re.compile(requirement + r"( \\\n    --hash=sha256:[0-9a-f]{64})+\n")
    assert len(one.findall(lock)) > 100
    assert one.sub("", lock) == ""
