"""What all tests share: `needs_root`, counts of what was tried and not run, temporary folders, seeds and properties.

A test that cannot run here is reported ("not run: N"). With CI=true the machine is prepared for all of them, so there
it is a failure. Two variables steer longer runs (`make crash`): FARKEEP_TEST_LONG=1 and FARKEEP_TEST_SEED=NUMBER.
"""

import os
import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.places import remove_tree
from tests.support.scratch import scratch_folder, usual_place
from tests.support.tally import Tally, counting, tallied

IS_CI = os.environ.get("CI", "").lower() in ("1", "true")
IS_LONG = os.environ.get("FARKEEP_TEST_LONG", "") == "1"
SEED = int(os.environ.get("FARKEEP_TEST_SEED", "1"))
_SHOWN_MAX = 5
_FOLDER = pytest.StashKey[Path]()

# No deadlines and no check for slow data: how fast a shared machine is says nothing about right or wrong.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("steady", _patient, derandomize=True)
settings.register_profile("long", _patient, max_examples=1000)
settings.load_profile("long" if IS_LONG else "steady")


@pytest.fixture(scope="session")
def seed() -> int:
    """The number that generated runs start from: 1, or FARKEEP_TEST_SEED."""
    return SEED


@pytest.fixture(scope="session")
def is_long_run() -> bool:
    """True when a run may take as long as it needs."""
    return IS_LONG


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Tally:
    """Counts what a test tried, `tally("bit flips", 2000)`: the run's end says how many there were in all."""
    return counting(record_property)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A temporary folder that is removed whatever modes and path lengths were built in it."""
    with scratch_folder(usual_place()) as made:
        yield made


@pytest.fixture
def no_sync_of_restores(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is restored need not outlive this machine."""
    monkeypatch.setattr("siteagent.jobs.restore.sync_target", lambda handle: None)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give the run a temporary folder of its own, which is removed at the end unless a test failed."""
    is_worker = hasattr(config, "workerinput")
    if not is_worker and not config.option.basetemp:
        config.stash[_FOLDER] = Path(tempfile.mkdtemp(prefix="farkeep-test-", dir=usual_place()))
        config.option.basetemp = str(config.stash[_FOLDER] / "run")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait for a disk or for a command."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Do not run what needs root when this user is not root."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("needs_root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a test that is not run has failed."""
    report = yield
    if IS_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"CI=true, and this test was not run: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI a file of tests that is not run has failed."""
    report = yield
    if IS_CI and report.skipped:
        report.outcome, report.longrepr = "failed", f"CI=true, and these tests were not run: {_reason(report)}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was tried, how to repeat a failure, and how many tests were not run."""
    for line in tallied(report for report in terminalreporter.stats.get("passed", []) if report.when == "call"):
        terminalreporter.write_line(line)
    failed = [*terminalreporter.stats.get("failed", []), *terminalreporter.stats.get("error", [])]
    for node in list(dict.fromkeys(report.nodeid for report in failed))[:_SHOWN_MAX]:
        terminalreporter.write_line(f"again: {_setting()}.venv/bin/python -m pytest {shlex.quote(node)}")
    if failed and _FOLDER in config.stash:
        terminalreporter.write_line(f"kept: {config.stash[_FOLDER]}")
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(map(_reason, skipped)).most_common()
    detail = f" ({'; '.join(f'{count}: {reason}' for reason, count in reasons)})" if reasons else ""
    terminalreporter.write_line(f"not run: {len(skipped)}{detail}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remove the run's temporary folder when everything passed."""
    folder = session.config.stash.get(_FOLDER, None)
    if folder is not None and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        remove_tree(folder)


def _setting() -> str:
    return f"FARKEEP_TEST_LONG=1 FARKEEP_TEST_SEED={SEED} " if IS_LONG else ""


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    place = report.longrepr
    return place[2].removeprefix("Skipped: ") if isinstance(place, tuple) else str(place)
