"""Fixtures of the real test bed: daemons and registries are started when a test first asks for them."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from testbed import ctr_stores, daemons, debian, secret_watch
from testbed.certificates import Authority
from testbed.ctr_stores import FilledStore
from testbed.daemons import DEFAULT_RELEASES, RELEASES, Daemon
from testbed.registries import SECRET, USER, Registry, basic_settings, tls_settings, token_settings
from testbed.web_servers import FaultyProxy, TokenServer

hypothesis.settings.register_profile("loaded", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("loaded")

_CI = os.environ.get("CI") == "true"
_untested: dict[str, int] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of our own."""
    parser.addoption(
        "--kubelet-vectors", metavar="FILE", help="cases of the kubelet's image collection to replay"
    )


def require_daemons(what: str, release: str = "1.7") -> None:
    """Skips the test where real daemons cannot be had; with CI=true that is a failure."""
    try:
        for suite in debian.SUITES:
            debian.packages(suite)
        daemons.program("containerd", release)
    except debian.Unavailable as lack:
        if _CI:
            pytest.fail(f"{what} not tested: {lack}", pytrace=False)
        pytest.skip(f"NOT TESTED on real daemons: {lack}")


@pytest.fixture(scope="session", params=RELEASES)
def containerd(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A running daemon, once per version; tests share it, so each works in `containerd.new_namespace()`."""
    require_daemons(f"containerd {request.param}", request.param)
    with Daemon(request.param) as daemon:
        yield daemon
        assert not secret_watch.found(daemon.log_text())


@pytest.fixture
def fresh_daemon() -> Iterator[Callable[..., Daemon]]:
    """A factory `fresh_daemon("2.1")` of daemons of the test's own, to be killed, filled and spoilt."""
    require_daemons("a containerd of its own")
    started: list[Daemon] = []

    def start(release: str = RELEASES[-1], **options: Any) -> Daemon:
        require_daemons(f"a containerd {release} of its own", release)
        started.append(Daemon(release, **options))
        return started[-1]

    yield start
    logs = [
        daemon.log_text() for daemon in started if daemon.log.exists()
    ]  # one that was stopped took its log along
    for daemon in started:
        daemon.stop()
    assert not any(map(secret_watch.found, logs))


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A docker-registry on loopback over plain HTTP that serves `ctr_stores.catalogue()`; push under names of your own."""
    require_daemons("docker-registry")
    with Registry() as served:
        ctr_stores.serve(served)
        yield served
        assert not secret_watch.found(served.log_text())


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority that nobody else knows."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def tls_registry(registry: Registry, authority: Authority) -> Iterator[Registry]:
    """HTTPS with a certificate of `authority`, over the store of `registry`."""
    settings = registry.shared_settings() | tls_settings(authority)
    with Registry(config=settings, scheme="https", trust=authority.client_context()) as served:
        yield served


@pytest.fixture(scope="session")
def basic_registry(registry: Registry) -> Iterator[Registry]:
    """Wants basic auth of registries.USER with registries.SECRET, over the store of `registry`."""
    with Registry(config=registry.shared_settings() | basic_settings(registry.folder)) as served:
        yield served
        assert not secret_watch.found(served.log_text())


@pytest.fixture(scope="session")
def token_server(authority: Authority) -> Iterator[TokenServer]:
    """Gives tokens to registries.USER, and to anyone for pulling; remembers its `requests`."""
    with TokenServer(authority.token_signer(), {USER: SECRET}) as server:
        yield server


@pytest.fixture(scope="session")
def token_registry(registry: Registry, authority: Authority, token_server: TokenServer) -> Iterator[Registry]:
    """Wants tokens of `token_server`, over the store of `registry`."""
    with Registry(config=registry.shared_settings() | token_settings(token_server, authority)) as served:
        yield served
        assert not secret_watch.found(served.log_text())


@pytest.fixture
def faulty_registry(registry: Registry) -> Iterator[FaultyProxy]:
    """A proxy before `registry` that misbehaves as the test says with `add(...)`."""
    with FaultyProxy(registry.host) as proxy:
        yield proxy


@pytest.fixture
def other_host(registry: Registry) -> Iterator[FaultyProxy]:
    """The same registry under another host, for redirects; remembers its `requests`."""
    with FaultyProxy(registry.host, address="127.0.0.2") as proxy:
        yield proxy


@pytest.fixture(scope="session")
def stores(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], FilledStore]]:
    """`stores("pulled" | "generated", release)`: a daemon filled by `ctr`, made once; to be read, never changed."""
    filled: dict[tuple[str, str], FilledStore] = {}

    def get(kind: str, release: str) -> FilledStore:
        if (kind, release) not in filled:
            require_daemons(f"a {kind} store on containerd {release}", release)
            registry = request.getfixturevalue("registry") if kind == "pulled" else None
            filled[kind, release] = ctr_stores.filled(Daemon(release), registry)
        return filled[kind, release]

    yield get
    for store in filled.values():
        store.daemon.stop()


@pytest.fixture(scope="session", params=RELEASES)
def pulled_store(request: pytest.FixtureRequest, stores: Callable[[str, str], FilledStore]) -> FilledStore:
    """A daemon with images pulled by `ctr` from the registry, containers, leases, holes, ingests in three namespaces."""
    return stores("pulled", request.param)


@pytest.fixture(scope="session", params=RELEASES)
def generated_store(request: pytest.FixtureRequest, stores: Callable[[str, str], FilledStore]) -> FilledStore:
    """A daemon with 1,000 generated images imported by `ctr`."""
    return stores("generated", request.param)


@pytest.fixture(
    scope="session", params=[f"{kind}-{release}" for kind in ("pulled", "generated") for release in RELEASES]
)
def filled_store(request: pytest.FixtureRequest, stores: Callable[[str, str], FilledStore]) -> FilledStore:
    """Each of the above in turn."""
    return stores(*request.param.split("-"))


_SHARED = {
    "containerd": "containerd-",
    "pulled_store": "pulled-",
    "generated_store": "generated-",
    "filled_store": "",
}


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on one shared daemon go to one worker, so that each version is started and filled once.

    Those on a release beyond the default ones are marked, unless they are to run on every release.
    """
    for item in items:
        names = getattr(item, "fixturenames", ())
        if not _releases_of(item) <= {*DEFAULT_RELEASES} and not item.get_closest_marker("every_release"):
            item.add_marker(pytest.mark.other_release)
        for shared, prefix in _SHARED.items():
            if shared in names:
                item.add_marker(pytest.mark.xdist_group(f"{prefix}{item.callspec.params[shared]}"))  # type: ignore[attr-defined]
        if {*_SHARED, "fresh_daemon"} & set(names):
            item.add_marker(pytest.mark.daemon)
        if "registry" in names:
            item.add_marker(pytest.mark.registry)


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt here and in programs started here, also where a shell's background job ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _releases_of(item: pytest.Item) -> set[str]:
    """The releases of containerd that a test was parametrised with."""
    callspec = getattr(item, "callspec", None)
    values = (
        [callspec.params[name] for name in (*_SHARED, "daemon", "release") if name in callspec.params]
        if callspec
        else []
    )
    return {str(value).rpartition("-")[2] for value in values}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds what the chosen tests need before any test's time runs: the first build takes minutes."""
    if session.config.option.collectonly or not any(
        item.get_closest_marker("daemon") for item in session.items
    ):
        return
    wanted = set().union(*map(_releases_of, session.items))
    for release in sorted(wanted | {RELEASES[-1]}):
        with contextlib.suppress(debian.Unavailable):
            daemons.program("containerd", release)


@pytest.fixture(scope="session", autouse=True)
def secret_watch_of_the_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[secret_watch.Watch]:
    """The marked credential is in no error, log record, or output of a program; at the end, in no file of this worker."""
    watch = secret_watch.Watch()
    with watch.on():
        yield watch
    assert not watch.take()
    assert not secret_watch.in_files(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def no_secret_is_left(
    request: pytest.FixtureRequest, secret_watch_of_the_run: secret_watch.Watch
) -> Iterator[None]:
    """Names the test that has shown the marked credential, or left it in a file."""
    yield
    assert not secret_watch_of_the_run.take()
    folder = getattr(request.node, "funcargs", {}).get("tmp_path")
    if (
        folder is not None and "imgframe.registry" in sys.modules
    ):  # else no credential was ever read in this process
        assert not secret_watch.in_files(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A test that prints or logs the marked credential fails."""
    report = yield
    if report.passed and any(secret_watch.found(text) for _, text in report.sections):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} printed or logged the marked credential in {call.when}"
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Counts what was left out for want of daemons, on the controller too."""
    if report.skipped and isinstance(report.longrepr, tuple) and "NOT TESTED" in report.longrepr[2]:
        reason = report.longrepr[2].removeprefix("Skipped: ")
        _untested[reason] = _untested.get(reason, 0) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One loud line per reason."""
    for reason, count in _untested.items():
        terminalreporter.write_line(f"{reason} ({count} tests)", red=True, bold=True)
