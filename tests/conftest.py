"""Fixtures of the real test bed: daemons and registries are started when a test first asks for them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import debian
import pytest
from daemons import VERSIONS, Daemon

_CI = os.environ.get("CI") == "true"
_untested: dict[str, int] = {}


def require_daemons(what: str) -> None:
    """Skips the test where real daemons cannot be had; with CI=true that is a failure."""
    try:
        for suite in debian.SUITES:
            debian.packages(suite)
    except debian.Unavailable as lack:
        if _CI:
            pytest.fail(f"{what} not tested: {lack}", pytrace=False)
        pytest.skip(f"NOT TESTED on real daemons: {lack}")


@pytest.fixture(scope="session", params=VERSIONS)
def containerd(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A running daemon, once per version; tests share it, so each works in `containerd.new_namespace()`."""
    require_daemons(f"containerd {request.param}")
    with Daemon(request.param) as daemon:
        yield daemon


@pytest.fixture
def fresh_daemon() -> Iterator[Callable[..., Daemon]]:
    """A factory `fresh_daemon("2.1")` of daemons of the test's own, to be killed, filled and spoilt."""
    require_daemons("a containerd of its own")
    started: list[Daemon] = []

    def start(release: str = VERSIONS[-1], *, parent: Path | None = None, config: str = "") -> Daemon:
        started.append(Daemon(release, parent=parent, config=config))
        return started[-1]

    yield start
    for daemon in started:
        daemon.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on one shared daemon go to one worker, so that each version is started and filled once."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if "containerd" in names:
            release = item.callspec.params["containerd"]  # type: ignore[attr-defined]
            item.add_marker(pytest.mark.xdist_group(f"containerd-{release}"))
        if {"containerd", "fresh_daemon"} & set(names):
            item.add_marker(pytest.mark.daemon)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Counts what was left out for want of daemons, on the controller too."""
    if report.skipped and isinstance(report.longrepr, tuple) and "NOT TESTED" in report.longrepr[2]:
        reason = report.longrepr[2].removeprefix("Skipped: ")
        _untested[reason] = _untested.get(reason, 0) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One loud line per reason."""
    for reason, count in _untested.items():
        terminalreporter.write_line(f"{reason} ({count} tests)", red=True, bold=True)
