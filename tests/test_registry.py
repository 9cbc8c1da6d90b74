"""Registries as they are: real ones on loopback, over TLS, with passwords and tokens, and a proxy that misbehaves."""

import asyncio
import base64
import hashlib
import json
import logging
import re
import ssl
import traceback

import pytest
from testbed import ctr_stores
from testbed.registries import SECRET, USER, write_hosts
from testbed.web_servers import FaultyProxy, Server, send

from imgframe import oci
from imgframe.errors import InputError, InsecureWarning, RegistryDenied, RegistryError, RegistryNotFound
from imgframe.registry import Registry, auth, dockerconfig, urls
from imgframe.registry import remote_image as remote_module

NAME = f"{ctr_stores.HOST}/team/rich:1.0"
PACKED = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()


@pytest.fixture
def quick(monkeypatch):
    """Short pauses for tests that use up all tries."""
    monkeypatch.setattr(remote_module, "_FIRST_PAUSE", 0.01)


def with_registry(work, **options):
    """Runs `await work(registry)`."""

    async def inside():
        async with Registry(**options) as registry:
            return await work(registry)

    return asyncio.run(inside())


def login(folder, host, **fields):
    """A config.json with credentials for a host."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = fields or {"auth": PACKED}
    (folder / "config.json").write_text(json.dumps({"auths": {host: entry}}))
    return folder


def manifest_of(image):
    """The first manifest of an image and what it was pushed as."""
    while image.children:
        image = image.children[0]
    return image, oci.Descriptor(image.descriptor["mediaType"], image.digest, len(image.blobs[image.digest]))


def layer_of(image):
    document = manifest_of(image)[0].document
    wanted = max(document["layers"], key=lambda one: one["size"])
    return oci.Descriptor(wanted["mediaType"], wanted["digest"], wanted["size"])


async def whole(remote, wanted, offset=0):
    return b"".join([piece async for piece in remote.blob(wanted, offset)])


async def everything(registry, name=NAME):
    """Target, its document, and a layer of the first manifest."""
    remote = registry.image(name)
    target = await remote.resolve()
    document = await remote.document(target)
    return target, document


def served(name="team/rich", tag="1.0"):
    return ctr_stores.catalogue()[name, tag]


def assert_served(found, image=None):
    image = image or served()
    target, document = found
    assert (target.digest, target.media_type) == (image.digest, image.descriptor["mediaType"])
    assert document == image.blobs[image.digest]
    assert target.size == len(document)


def assert_no_secret(*things):
    """Neither the marker nor what it looks like on the wire is in any text of these."""
    for thing in things:
        texts = [str(thing), repr(thing)]
        if isinstance(thing, BaseException):
            texts += traceback.format_exception(thing)
            texts.append(repr(vars(thing)))
        for text in texts:
            assert SECRET not in text
            assert PACKED not in text


def test_plain_http(registry):
    assert_served(with_registry(lambda one: everything(one, f"{registry.host}/team/rich:1.0")))


def test_a_name_that_is_not_there(registry):
    name = f"{registry.host}/team/none:1"
    with pytest.raises(RegistryNotFound, match="not found") as caught:
        with_registry(lambda one: one.image(name).resolve())
    assert (caught.value.reference, caught.value.host, caught.value.status) == (name, registry.host, 404)
    assert caught.value.go == f"{name}: not found"


def test_its_own_authority(tls_registry, authority, tmp_path):
    trusting = write_hosts(tmp_path / "trusting", {ctr_stores.HOST: tls_registry.url}, ca=str(authority.ca))
    assert_served(with_registry(everything, hosts_dirs=[trusting]))
    hosts = write_hosts(tmp_path / "hosts", {ctr_stores.HOST: tls_registry.url})
    with pytest.raises(RegistryError, match="x509: certificate signed by unknown authority") as caught:
        with_registry(everything, hosts_dirs=[hosts])
    assert "name its authority with 'ca' in hosts.toml" in str(caught.value)
    with pytest.warns(InsecureWarning, match="not checked") as warned:
        assert_served(with_registry(everything, hosts_dirs=[hosts], insecure=True))
    assert len(warned) == 1
    assert_served(
        with_registry(
            everything,
            hosts_dirs=[
                write_hosts(tmp_path / "skip", {ctr_stores.HOST: tls_registry.url}, skip_verify=True)
            ],
        )
    )


def test_client_certificates(registry, authority, tmp_path):
    context = authority.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca)
    certificate, key = authority.issue("client")
    with FaultyProxy(registry.host, tls=context) as strict:
        names = {ctr_stores.HOST: strict.url}
        shown = write_hosts(
            tmp_path / "shown", names, ca=str(authority.ca), client=[[str(certificate), str(key)]]
        )
        assert_served(with_registry(everything, hosts_dirs=[shown]))
        bare = write_hosts(tmp_path / "bare", names, ca=str(authority.ca))
        with pytest.raises(RegistryError, match=f"failed to do request: .*{re.escape(strict.host)}"):
            with_registry(everything, hosts_dirs=[bare], timeout=5)


def test_passwords(basic_registry, tmp_path):
    name = f"{basic_registry.host}/team/rich:1.0"
    known = login(tmp_path / "known", basic_registry.host)
    assert_served(with_registry(lambda one: everything(one, name), docker_config=known))
    wrong = login(tmp_path / "wrong", basic_registry.host, username=USER, password=f"not-{SECRET}")
    with pytest.raises(RegistryDenied, match="401 Unauthorized") as caught:
        with_registry(lambda one: one.image(name).resolve(), docker_config=wrong)
    assert_no_secret(caught.value)
    with pytest.raises(RegistryDenied, match="no basic auth credentials"):
        with_registry(lambda one: one.image(name).resolve(), docker_config=tmp_path / "none")
    with FaultyProxy(basic_registry.host) as counting:
        wrong = login(tmp_path / "again", counting.host, username=USER, password=f"not-{SECRET}")
        with pytest.raises(RegistryDenied):
            name = f"{counting.host}/team/rich:1.0"
            with_registry(lambda one: one.image(name).resolve(), docker_config=wrong)
        assert sum("authorization" in one.headers for one in counting.requests) == 1


def test_tokens(token_registry, token_server, tmp_path):
    name = f"{token_registry.host}/team/rich:1.0"
    assert_served(with_registry(lambda one: everything(one, name), docker_config=tmp_path / "none"))
    for fields in ({"auth": PACKED}, {"identitytoken": f"identity-of-{USER}"}):
        token_server.requests.clear()
        known = login(tmp_path / "known", token_registry.host, **fields)
        assert_served(with_registry(lambda one: everything(one, name), docker_config=known))
        assert [one.method for one in token_server.requests] == ["POST"]
    wrong = login(tmp_path / "wrong", token_registry.host, username=USER, password=f"not-{SECRET}")
    with pytest.raises(RegistryDenied, match="failed to authorize") as caught:
        with_registry(lambda one: one.image(name).resolve(), docker_config=wrong)
    assert_no_secret(caught.value)


def test_one_token_for_all_that_is_read_of_a_repository(token_registry, token_server, tmp_path):
    token_server.requests.clear()

    async def many(registry):
        remote = registry.image(f"{token_registry.host}/team/rich:1.0")
        wanted = await remote.resolve()
        await asyncio.gather(*(remote.document(wanted) for _ in range(8)))

    with_registry(many, docker_config=tmp_path)
    assert len(token_server.requests) == 1


def test_a_busy_server_is_asked_again_after_the_pause_it_asks_for(registry, faulty_registry):
    faulty_registry.clear()
    limit = faulty_registry.add("GET .*/manifests/", times=1, status=429, headers={"Retry-After": "1"})
    broken = faulty_registry.add("GET .*/manifests/", times=1, status=500)

    async def timed(one):
        began = asyncio.get_running_loop().time()
        found = await everything(one, f"{faulty_registry.host}/team/rich:1.0")
        return found, asyncio.get_running_loop().time() - began

    found, seconds = with_registry(timed)
    assert_served(found)
    assert (limit.hits, broken.hits) == (1, 1)
    assert seconds >= 1


@pytest.mark.usefixtures("quick")
def test_a_server_that_stays_broken(faulty_registry):
    faulty_registry.clear()
    faulty_registry.add("GET .*/manifests/", status=503)
    with pytest.raises(RegistryError, match="503 Service Unavailable") as caught:
        with_registry(lambda one: everything(one, f"{faulty_registry.host}/team/rich:1.0"))
    assert caught.value.status == 503
    assert len([one for one in faulty_registry.requests if one.method == "GET"]) == 5


@pytest.mark.parametrize("cuts", [1, 3])
def test_a_blob_goes_on_where_it_broke_off(faulty_registry, cuts):
    faulty_registry.clear()
    image = served("library/tools", "latest")
    layer = layer_of(image)
    step = layer.size // (cuts + 1)
    faulty_registry.add(f"GET .*/blobs/{layer.digest}", times=cuts, cut=step)

    async def read(one):
        return await whole(one.image(f"{faulty_registry.host}/library/tools"), layer)

    assert with_registry(read) == image.blobs[layer.digest]
    ranges = [one.headers.get("range") for one in faulty_registry.requests if "/blobs/" in one.path]
    assert ranges == [None, *(f"bytes={step * (n + 1)}-" for n in range(cuts))]


@pytest.mark.parametrize("ignoring", [False, True])
def test_a_blob_from_an_offset(faulty_registry, ignoring):
    faulty_registry.clear()
    image = served("library/tools", "latest")
    layer = layer_of(image)
    data = image.blobs[layer.digest]
    if ignoring:  # a server that does not know ranges gives everything
        faulty_registry.add(
            "GET .*/blobs/", status=200, body=data, headers={"Content-Type": "application/octet-stream"}
        )

    async def read(one):
        remote = one.image(f"{faulty_registry.host}/library/tools")
        return [await whole(remote, layer, offset) for offset in (0, 1, layer.size - 1, layer.size)]

    assert with_registry(read) == [data, data[1:], data[-1:], b""]


@pytest.mark.usefixtures("quick")
def test_a_blob_that_is_too_long_or_ends_for_ever(faulty_registry):
    faulty_registry.clear()
    image = served("team/base", "1")
    layer = layer_of(image)
    short = oci.Descriptor(layer.media_type, layer.digest, layer.size - 1)

    async def read(one, wanted):
        return await whole(one.image(f"{faulty_registry.host}/team/base:1"), wanted)

    with pytest.raises(RegistryError, match=rf"longer than its descriptor says \({layer.size - 1} bytes\)"):
        with_registry(lambda one: read(one, short))
    faulty_registry.add("GET .*/blobs/", cut=0)
    with pytest.raises(RegistryError, match="unexpected EOF"):
        with_registry(lambda one: read(one, layer))


@pytest.mark.usefixtures("quick")
def test_bytes_that_are_not_what_was_asked_for(faulty_registry):
    faulty_registry.clear()
    name = f"{faulty_registry.host}/team/rich:1.0"
    once = faulty_registry.add("GET .*/manifests/", times=1, corrupt=True)
    assert_served(with_registry(lambda one: everything(one, name)))
    assert once.hits == 1
    faulty_registry.add("GET .*/manifests/", corrupt=True)
    with pytest.raises(RegistryError, match=f"other bytes than {served().digest}"):
        with_registry(lambda one: everything(one, name))
    faulty_registry.clear()
    lie = "sha256:" + "0" * 64
    faulty_registry.add("HEAD .*/manifests/", digest=lie)
    with pytest.raises(RegistryError, match=f"{lie} is not in the registry"):
        with_registry(lambda one: everything(one, name))


def test_a_server_that_hangs(faulty_registry):
    faulty_registry.clear()
    faulty_registry.add("HEAD .*/manifests/", hang=True)
    with pytest.raises(RegistryError, match=r"no answer within 0\.5 s; try again"):
        with_registry(lambda one: one.image(f"{faulty_registry.host}/team/rich:1.0").resolve(), timeout=0.5)


def test_mirrors_stand_in_for_each_other(registry, faulty_registry, tmp_path):
    faulty_registry.clear()
    faulty_registry.add("manifests|blobs", status=500)
    folder = tmp_path / "hosts" / ctr_stores.HOST
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(f'server = "{registry.url}"\n[host."{faulty_registry.url}"]\n')
    image = served("team/base", "1")
    layer = layer_of(image)

    async def read(one):
        remote = one.image(f"{ctr_stores.HOST}/team/base:1")
        return await everything(one, remote.reference), await whole(remote, layer)

    found, data = with_registry(read, hosts_dirs=[tmp_path / "hosts"])
    assert_served(found, image)
    assert data == image.blobs[layer.digest]
    assert {one.path.partition("?")[2] for one in faulty_registry.requests} == {f"ns={ctr_stores.HOST}"}


def test_passwords_do_not_follow_to_another_host(basic_registry, other_host, tmp_path):
    with FaultyProxy(basic_registry.host) as proxy:
        other_host.clear()
        proxy.add("GET .*/blobs/", redirect=other_host.url)
        image = served("team/base", "1")
        layer = layer_of(image)
        folder = tmp_path / "hosts" / ctr_stores.HOST
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(
            f'[host."{proxy.url}"]\n[host."{proxy.url}".header]\nx-key = "{SECRET}"\n'
        )

        async def read(one):
            remote = one.image(f"{ctr_stores.HOST}/team/base:1")
            await remote.resolve()
            return await whole(remote, layer)

        known = login(tmp_path / "known", proxy.host)
        assert (
            with_registry(read, docker_config=known, hosts_dirs=[tmp_path / "hosts"])
            == image.blobs[layer.digest]
        )
        assert proxy.requests[-1].headers["authorization"] == f"Basic {PACKED}"
        assert proxy.requests[-1].headers["x-key"] == SECRET
        (followed,) = other_host.requests
        assert "authorization" not in followed.headers
        assert SECRET not in repr(followed)


class Parrot(Server):
    """Says back the key that its hosts.toml holds."""

    def answer(self, request, handler):
        body = json.dumps({"errors": [{"code": "DENIED", "message": request.headers["x-key"]}]}).encode()
        send(handler, 403, {}, body)


def test_the_keys_of_a_hosts_file_are_secrets_too(tmp_path):
    with Parrot() as parrot:
        folder = tmp_path / ctr_stores.HOST
        folder.mkdir()
        (folder / "hosts.toml").write_text(f'server = "{parrot.url}"\n[header]\nx-key = "{SECRET}"\n')
        with pytest.raises(RegistryDenied, match="denied: <secret>") as caught:
            with_registry(lambda one: one.image(f"{ctr_stores.HOST}/a:1").resolve(), hosts_dirs=tmp_path)
    assert_no_secret(caught.value)


class Echo(Server):
    """Says back all that it is told, and sends clients to a signed place that refuses them."""

    def answer(self, request, handler):
        shown = request.headers.get("authorization", "")
        body = json.dumps({"errors": [{"code": "DENIED", "message": f"{shown} {SECRET}"}]}).encode()
        if not shown:
            send(handler, 401, {"WWW-Authenticate": f'Basic realm="{SECRET}"'})
        elif "/blobs/" in request.path:
            send(handler, 307, {"Location": f"http://127.0.0.2:1/x?signature={SECRET}"})
        else:
            send(handler, 403, {"Content-Type": "application/json"}, body)


@pytest.mark.usefixtures("quick")
def test_nothing_repeats_a_secret(tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    layer = oci.Descriptor("", "sha256:" + "0" * 64, 3)
    with Echo() as echo:
        known = login(tmp_path, echo.host)

        async def read(one):
            remote = one.image(f"{echo.host}/a/b:1")
            assert_no_secret(one, remote, remote._session, vars(one), vars(remote))
            with pytest.raises(RegistryDenied) as refused:
                await remote.resolve()
            with pytest.raises(RegistryError, match=r"127\.0\.0\.2:1") as unreachable:
                await whole(remote, layer)
            assert_no_secret(one, remote, remote._session, remote._session.credentials)
            return refused.value, unreachable.value

        refused, unreachable = with_registry(read, docker_config=known)
    assert "denied: Basic <secret> <secret>" in refused.go
    assert "127.0.0.2:1/x" in str(unreachable)
    assert "signature" not in str(unreachable)
    assert_no_secret(refused, unreachable, caplog.text, *capfd.readouterr())


class Forward(Server):
    """A proxy that answers itself."""

    def answer(self, request, handler):
        headers = {"Docker-Content-Digest": "sha256:" + "1" * 64, "Content-Type": "x", "Content-Length": "7"}
        send(handler, 200, headers)


def test_proxies_of_the_environment(registry, monkeypatch):
    with Forward() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "other.invalid")
        found = with_registry(lambda one: one.image("far.invalid/a:1").resolve(), plain_http=True)
        assert found.digest == "sha256:" + "1" * 64
        assert [one.path for one in proxy.requests] == ["http://far.invalid/v2/a/manifests/1"]
        assert_served(with_registry(lambda one: everything(one, f"{registry.host}/team/rich:1.0")))
        with pytest.raises(RegistryError, match="no such host"):
            with_registry(lambda one: one.image("other.invalid/a:1").resolve(), plain_http=True)
        assert len(proxy.requests) == 1


def test_a_push_with_mounts_and_tags(token_registry, token_server, tmp_path):
    known = login(tmp_path, token_registry.host)
    image, manifest = manifest_of(served("team/child", "1"))
    fresh = b"not seen before" * 1000
    blob = oci.Descriptor("x", f"sha256:{hashlib.sha256(fresh).hexdigest()}", len(fresh))

    async def pieces():
        for at in range(0, len(fresh), 1000):
            yield fresh[at : at + 1000]

    async def push(one):
        remote = one.image(f"{token_registry.host}/pushed/here:1")
        document = image.document
        parts = [
            oci.Descriptor(part["mediaType"], part["digest"], part["size"])
            for part in (document["config"], *document["layers"])
        ]
        before = [await remote.exists(part) for part in parts]
        mounted = [await remote.mount(part, "team/child") for part in parts]
        elsewhere = await remote.mount(blob, "team/child")
        await remote.upload(blob, pieces)
        stored = await remote.put_manifest(image.blobs[image.digest], manifest.media_type, "1")
        after = [await remote.exists(part) for part in (*parts, blob, manifest)]
        return (
            before,
            mounted,
            elsewhere,
            stored,
            after,
            await everything(one, remote.reference),
            await whole(remote, blob),
        )

    before, mounted, elsewhere, stored, after, found, data = with_registry(push, docker_config=known)
    assert not any(before)
    assert all(mounted)
    assert not elsewhere
    assert stored == image.digest
    assert all(after)
    assert_served(found, image)
    assert data == fresh


def test_a_push_that_is_refused_says_why(registry):
    async def push(one):
        remote = one.image(f"{registry.host}/pushed/half:1")
        data = served("team/child", "1")
        await remote.put_manifest(data.blobs[data.digest], data.descriptor["mediaType"], "1")

    with pytest.raises(RegistryError, match="blob unknown") as caught:
        with_registry(push)
    assert "400 Bad Request" in str(caught.value)
    assert str(caught.value).startswith(f"{registry.host}/pushed/half:1: ")


@pytest.mark.usefixtures("quick")
def test_an_upload_begins_again_when_it_breaks(faulty_registry):
    faulty_registry.clear()
    faulty_registry.add("PUT .*/blobs/uploads/", times=1, status=503)
    data = b"again" * 999
    blob = oci.Descriptor("x", f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    calls = []

    async def pieces():
        calls.append(1)
        yield data

    async def push(one):
        remote = one.image(f"{faulty_registry.host}/pushed/again:1")
        await remote.upload(blob, pieces)
        return await whole(remote, blob)

    assert with_registry(push) == data
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("text", "go"),
    [
        (
            "Bad Ref",
            "invalid reference format: repository name (library/Bad Ref) must be lowercase",
        ),
        ("ipfs://x", "object required"),
        ("oci-archive://x", "image must be loaded from archive before parsing image reference"),
        ("sha256:" + "0" * 64, "object required"),
    ],
)
def test_names_that_are_in_no_registry(text, go):
    with pytest.raises(RegistryError, match=re.escape(text)) as refused:
        with_registry(lambda one: asyncio.sleep(0, one.image(text)))
    assert (refused.value.reference, refused.value.go) == (text, go)


def test_no_warning_without_insecure(recwarn):
    Registry()
    assert not recwarn.list


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("https://[a]/", 'invalid host: ParseAddr("a"): unable to parse IP'),
        ("[1.2.3.4]:80", "invalid IP-literal"),
        ("x[::1]", "invalid IP-literal"),
        ("[1:2]", 'invalid host: ParseAddr("1:2"): address string too short'),
        (
            "[::g]",
            'invalid host: ParseAddr("::g"): each colon-separated field must have at least one digit (at "g")',
        ),
        ("[::1.2.3.256]", 'invalid host: ParseAddr("::1.2.3.256"): IPv4 field has value >255'),
        ("[::1%25%00]", 'invalid URL escape "%00"'),
        ("u s@a:b", 'invalid port ":b" after host'),  # the host first, then the user
        ("u s@a", "net/url: invalid userinfo"),
        ("u%zz@a", 'invalid URL escape "%zz"'),
        ("nerdctl-experimental://a:b:c", 'invalid port ":c" after host'),
        ("a:1:2", 'invalid port ":1:2" after host'),
        ("a#%zz", 'invalid URL escape "%zz"'),
        ("a%4é", 'invalid URL escape "%4\\xc3"'),
    ],
)
def test_addresses_that_go_refuses(text, problem):
    """Measured with nerdctl 2.3.5 and Go 1.26."""
    shown = text if "://" in text else f"https://{text}"
    with pytest.raises(InputError) as caught:
        urls.parse(text)
    assert caught.value.go == f'unparsable registry URL\nparse "{shown}": {problem}'


def test_a_host_of_another_scheme_may_have_colons_and_a_zone_may_be_escaped():
    found = urls.parse("nerdctl-experimental://a:443:1/v1?ns=docker.io")
    assert (found.hostname, found.port) == ("a:443", "1")
    assert urls.parse("[fe80::1%25a%20b]:80").hostname == "fe80::1%a b"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '{"HttpHeaders": 1}',
            "number into Go struct field ConfigFile.HttpHeaders of type map[string]string",
        ),
        ('{"psFormat": []}', "array into Go struct field ConfigFile.psFormat of type string"),
        (
            '{"proxies": {"a": "b"}}',
            "string into Go struct field ConfigFile.proxies of type configfile.ProxyConfig",
        ),
        (
            '{"plugins": {"a": "b"}}',
            "string into Go struct field ConfigFile.plugins of type map[string]string",
        ),
        (
            '{"auths": {"a": {"serveraddress": true}}}',
            "bool into Go struct field AuthConfig.auths.serveraddress of type string",
        ),
    ],
)
def test_a_config_file_with_any_field_of_a_wrong_type_is_refused(tmp_path, text, problem):
    """Measured with docker/cli 29.6.1: what has nothing to do with credentials counts too."""
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        dockerconfig.load(file)
    assert caught.value.go.endswith(f": json: cannot unmarshal {problem}")


def test_fields_that_docker_does_not_know_may_hold_anything(tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"auths": {"a": {"email": 1, "auth": "dTr/"}}, "experimental": 1}')
    found = dockerconfig.load(file).auth("a")
    assert (found.username, found.password) == ("u", "\ufffd")


@pytest.mark.parametrize(
    ("headers", "read"),
    [
        (["Bearer a=b c=d"], [("bearer", {"a": "b"})]),
        (['Bearer realm="a'], [("bearer", {"realm": ""})]),
        (['Bearer realm="a\\"b\\\\",x=y'], [("bearer", {"realm": 'a"b\\', "x": "y"})]),
        (
            ["Basic", "digest a=1", "Negotiate", "BEARER A=,B=c"],
            [("bearer", {"a": "", "b": "c"}), ("digest", {"a": "1"}), ("basic", {})],
        ),
        ([" Basic realm=x", "Basic/realm", 'Bearerrealm="a"'], [("basic", {})]),
        (['Bearer realm="x",,service="y"'], [("bearer", {"realm": "x"})]),
    ],
)
def test_challenges_are_read_as_containerd_reads_them(headers, read):
    """Measured with containerd's core/remotes/docker/auth."""
    assert [(one.scheme, one.parameters) for one in auth.challenges(headers)] == read
