"""The registries of the test bed do what they are for, as containerd's own `ctr` and Python's HTTP client see them."""

import http.client

import pytest
from testbed import ctr_stores
from testbed.daemons import CtrError
from testbed.registries import SECRET, USER, write_hosts

MANIFEST = "application/vnd.oci.image.index.v1+json"


def pull(daemon, folder, url, *options, **settings):
    hosts = write_hosts(folder / "hosts", {ctr_stores.HOST: url}, **settings)
    namespace = daemon.new_namespace()
    daemon.ctr(
        "images",
        "pull",
        "--hosts-dir",
        hosts,
        *options,
        f"{ctr_stores.HOST}/team/base:1",
        namespace=namespace,
    )
    return daemon.ctr("images", "ls", "-q", namespace=namespace).split()


def test_tls_with_its_own_authority(containerd, tls_registry, authority, tmp_path):
    assert pull(containerd, tmp_path, tls_registry.url, ca=str(authority.ca)) == [
        f"{ctr_stores.HOST}/team/base:1"
    ]
    with pytest.raises(CtrError, match="certificate signed by unknown authority"):
        pull(containerd, tmp_path / "untrusting", tls_registry.url)


def test_basic_auth(containerd, basic_registry, tmp_path):
    user = ("--user", f"{USER}:{SECRET}")
    assert pull(containerd, tmp_path, basic_registry.url, *user) == [f"{ctr_stores.HOST}/team/base:1"]
    with pytest.raises(CtrError, match="401"):
        pull(containerd, tmp_path, basic_registry.url, "--user", f"{USER}:wrong")


def test_tokens(containerd, token_registry, token_server, tmp_path):
    assert pull(containerd, tmp_path, token_registry.url) == [f"{ctr_stores.HOST}/team/base:1"]
    before = len(token_server.requests)
    assert pull(containerd, tmp_path, token_registry.url, "--user", f"{USER}:{SECRET}") == [
        f"{ctr_stores.HOST}/team/base:1"
    ]
    assert len(token_server.requests) > before


def ask(host, path="/v2/team/rich/manifests/1.0", method="GET", timeout=120):
    connection = http.client.HTTPConnection(host, timeout=timeout)
    try:
        connection.request(method, path, headers={"Accept": MANIFEST, "Authorization": "Basic eDp5"})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def test_the_proxy_passes_everything_on(registry, faulty_registry):
    image = ctr_stores.catalogue()["team/rich", "1.0"]
    status, headers, body = ask(faulty_registry.host)
    assert (status, body) == (200, image.blobs[image.digest])
    assert headers["Docker-Content-Digest"] == image.digest
    assert ask(faulty_registry.host, method="HEAD")[1]["Content-Length"] == str(len(body))


def test_each_fault_of_the_proxy(faulty_registry, other_host):
    image = ctr_stores.catalogue()["team/rich", "1.0"]
    whole = image.blobs[image.digest]
    faulty_registry.add("GET .*/manifests/", times=1, status=429, headers={"Retry-After": "1"})
    assert ask(faulty_registry.host)[:1] == (429,)
    assert ask(faulty_registry.host)[0] == 200
    faulty_registry.add("manifests", times=1, digest="sha256:" + "0" * 64)
    assert ask(faulty_registry.host)[1]["Docker-Content-Digest"] != image.digest
    faulty_registry.add("manifests", times=1, corrupt=True)
    assert ask(faulty_registry.host)[2] != whole
    faulty_registry.add("manifests", times=1, cut=10)
    with pytest.raises(http.client.IncompleteRead) as cut:
        ask(faulty_registry.host)
    assert cut.value.partial == whole[:10]
    faulty_registry.add("manifests", times=1, redirect=other_host.url)
    status, headers, _ = ask(faulty_registry.host)
    assert (status, headers["Location"]) == (307, f"{other_host.url}/v2/team/rich/manifests/1.0")
    assert ask(other_host.host)[2] == whole
    assert other_host.requests[-1].headers["authorization"] == "Basic eDp5"
    hang = faulty_registry.add("manifests", times=1, hang=True)
    with pytest.raises(TimeoutError):
        ask(faulty_registry.host, timeout=0.2)
    assert hang.struck.wait(60)  # whoever asks may have gone before the proxy read the question
    assert hang.hits == 1
