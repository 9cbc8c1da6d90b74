"""Registry addresses, hosts directories, credentials and resolves, decided and worded as measured on the Go code."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from imgframe.errors import InputError
from imgframe.registry import credentials, dockerconfig, hosts, urls

VECTORS = Path(__file__).parent / "data" / "vectors"
ORDER = ("pull", "resolve", "push", "referrers")


def vectors(name):
    return [json.loads(line) for line in (VECTORS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def of_kind(kind):
    return [case for case in vectors("registry_urls") if case["kind"] == kind]


def report(name, cases, left_out=""):
    print(
        f"{name}: {len(cases)} cases {dict(Counter(case['class'] for case in cases))}; left out: {left_out or 'none'}"
    )


def outcome(call):
    """The value, and Go's words where it is refused."""
    try:
        return call(), None
    except InputError as error:
        assert error.go in str(error)
        return None, error.go


def address(text):
    found = urls.parse(text)
    inner = found.namespace.canonical if found.namespace else None
    return {
        "scheme": found.scheme,
        "host": found.host,
        "hostname": found.hostname,
        "port": found.port,
        "path": found.path,
        "raw_query": found.query,
        "canonical": found.canonical,
        "all": found.identifiers,
        "namespace": inner,
        "is_localhost": urls.is_localhost(found.hostname),
    }


def test_addresses():
    cases = of_kind("parse")
    for case in cases:
        found, error = outcome(lambda text=case["text"]: address(text))
        assert error == case["error"], case["id"]
        assert found is None or found == {key: case[key] for key in found}, case["id"]
        local, error = outcome(lambda text=case["text"]: urls.matches_localhost(text))
        assert (bool(local), error) == (case["match_localhost"], case["match_localhost_error"]), case["id"]
    report("addresses", cases)
    assert len(cases) == 364


def view(endpoint):
    falls_back = endpoint.http_fallback
    return {
        "scheme": endpoint.scheme,
        "host": endpoint.host,
        "path": endpoint.path,
        "skip_verify": None if falls_back else endpoint.tls.skip_verify,
        "http_fallback": falls_back,
    }


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("endpoints", {}),
        ("endpoints_insecure", {"insecure": True}),
        ("endpoints_insecure_plain", {"insecure": True, "plain_http": True}),
    ],
)
def test_servers_without_hosts_directories(key, options):
    cases = of_kind("parse")
    for case in cases:
        found, error = outcome(lambda text=case["text"]: hosts.endpoints(text, **options))
        if case[key].get("panic"):
            assert found is None, case["id"]
        else:
            assert error == case[key]["error"], case["id"]
            assert found is None or [view(one) for one in found] == case[key]["endpoints"], case["id"]
    report(key, cases, "the words of cases in which the Go code crashes: any error will do")


def whole(endpoint):
    headers = {name: list(values) for name, values in endpoint.headers.items()}
    capabilities = [one for one in ORDER if one in endpoint.capabilities]
    return view(endpoint) | {"capabilities": capabilities, "headers": headers or None}


def write_roots(folder, roots):
    made = []
    for place, root in enumerate(roots, 1):
        made.append(folder / f"root{place}")
        made[-1].mkdir(parents=True)
        for name, files in root.items():
            (made[-1] / name).mkdir()
            for file, text in files.items():
                (made[-1] / name / file).write_text(text)
    return made


def test_hosts_directories(tmp_path):
    cases = of_kind("hosts_dir")
    for case in cases:
        folder = tmp_path / case["id"]
        roots = write_roots(folder, case["roots"])
        chosen = hosts.directory(urls.parse(case["host"]), roots)
        assert (str(chosen.relative_to(folder)) if chosen else "") == case["host_dir"], case["id"]
        found, error = outcome(
            lambda case=case, roots=roots: hosts.endpoints(case["host"], roots, insecure=case["insecure"])
        )
        assert (error and error.replace(f"{folder}/", "")) == case["error"], case["id"]
        assert [whole(one) for one in found or ()] == case["endpoints"], case["id"]
    report("hosts directories", cases)
    assert len(cases) == 109


HELPER = """#!{python} -IS
import json, sys
server = sys.stdin.read()
with open({log!r}, "a") as log:
    log.write(json.dumps([{name!r}, sys.argv[1], server]) + "\\n")
if {name!r} == "broken":
    print("the vault is sealed")
    sys.exit(1)
answer = {answers!r}.get(server)
print(json.dumps(answer) if answer else "credentials not found in native keychain")
sys.exit(answer is None)
"""
FIELDS = ("username", "password", "identity_token", "registry_token")


def write_helpers(folder, helpers, log):
    folder.mkdir()
    for name, answers in {"broken": {}, **helpers}.items():
        program = folder / f"docker-credential-{name}"
        program.write_text(HELPER.format(python=sys.executable, log=str(log), name=name, answers=answers))
        program.chmod(0o755)


def test_credentials(tmp_path, monkeypatch):
    cases = vectors("credentials")
    for case in cases:
        folder = tmp_path / case["id"]
        folder.mkdir()
        config, log = folder / "config.json", folder / "calls"
        if case["config"] is not None:
            given = case["config"]
            config.write_text(given if isinstance(given, str) else json.dumps(given), encoding="utf-8")
        write_helpers(folder / "bin", case["helpers"], log)
        monkeypatch.setenv("PATH", str(folder / "bin"))
        found, error = outcome(
            lambda config=config, case=case: asyncio.run(
                credentials.find(dockerconfig.load(config), case["host"])
            )
        )
        assert (error and error.replace(f"{folder}/", "")) == case["error"], case["id"]
        if found is not None:
            assert {name: getattr(found.auth, name) for name in FIELDS} == {
                name: case[name] for name in FIELDS
            }, case["id"]
            assert found.server_address == case["server_address"], case["id"]
            assert (found.login.username, found.login.secret) == (case["login_user"], case["login_secret"])
        calls = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        assert calls == case["helper_calls"], case["id"]
    report("credentials", cases, "what Go keeps in memory beside an error")
    assert len(cases) == 153


def in_a_network_of_its_own(*command):
    """The output of a command for which 192.0.2.2 and every port are free."""
    rights = [] if os.geteuid() == 0 else ["--map-root-user"]
    here = Path(__file__).parent
    ran = subprocess.run(
        ["unshare", *rights, "--net", sys.executable, *command],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(here)},
        check=False,
        timeout=200,
    )
    if ran.returncode and "unshare failed" in ran.stderr and "CI" not in os.environ:
        pytest.skip("this machine allows no network namespaces")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def asked(requests):
    """Requests without what differs by intention: our own name as user agent."""
    return [
        (
            one["method"],
            one["url"],
            {name.lower(): value for name, value in one["headers"].items() if name != "User-Agent"},
            one["body"],
        )
        for one in requests
    ]


VARYING = {" (resolver text varies)": "", "LOCAL->": ""}
SAME_PLACE = {"read tcp localhost:5162": "read tcp 127.0.0.1:5162"}


def words(error, changes):
    for old, new in changes.items():
        error = error and error.replace(old, new)
    return error


def test_resolves():
    cases = vectors("resolve_requests")
    here = Path(__file__).parent
    lines = in_a_network_of_its_own(
        str(here / "testbed/scripted_registry.py"), str(VECTORS / "resolve_requests.jsonl")
    ).splitlines()
    assert len(lines) == len(cases) == 128
    for case, line in zip(cases, lines, strict=True):
        found = json.loads(line)
        assert asked(found["requests"]) == asked(case["requests"]), case["id"]
        assert all(one["agent"].startswith("imgframe/") for one in found["requests"])
        assert found["digest"] == case["digest"], case["id"]
        assert words(found["error"], SAME_PLACE) == words(case["error"], VARYING), case["id"]
        if case["error"] is not None:
            assert case["reference"].partition("@")[0].split("/")[-1].split(":")[0] in found["message"]
            assert found["kind"] == kind_of(case["error"]), case["id"]
    report(
        "resolves",
        cases,
        "only the local port of a broken connection and the resolver's own words in 5 errors",
    )


def kind_of(error):
    if error.endswith(": not found") and "rejecting" not in error:
        return "RegistryNotFound"
    denied = ("401 Unauthorized", "403 Forbidden", "authorization failed", "no realm specified")
    return "RegistryDenied" if any(one in error for one in denied) else "RegistryError"
