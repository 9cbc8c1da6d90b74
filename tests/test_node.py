"""Nodes: addresses, nodes.toml, discovery on this machine."""

import pickle
import platform
import socket

import pytest

from imgframe.errors import NodeError
from imgframe.node import WELL_KNOWN, Node, discover, load_nodes, nodes_of


@pytest.mark.parametrize(
    "address",
    [
        "/srv/c.sock",
        "unix:///srv/c.sock",
        "unix:/srv/c.sock",
        "/srv/./x/../c.sock",
        {"address": "/srv/c.sock"},
    ],
)
def test_every_way_to_write_an_address_means_the_same_node(address):
    node = Node.of(address)
    assert (node.path, node.address, node.name) == ("/srv/c.sock", "unix:///srv/c.sock", "/srv/c.sock")
    assert node == Node("/srv/c.sock")
    assert hash(node) == hash(Node("/srv/c.sock"))


def test_usual_sockets_are_called_after_the_host():
    host = platform.node() or "localhost"
    assert Node("/run/containerd/containerd.sock").name == host
    assert Node("/run/k3s/containerd/containerd.sock").name == f"{host}:k3s"
    assert len({Node(path).name for path in WELL_KNOWN}) == len(WELL_KNOWN)


def test_a_node_survives_pickling_and_cannot_be_changed():
    node = Node("/a", name="n", namespaces=["x"], labels={"team": "t"}, disk_total=5)
    assert pickle.loads(pickle.dumps(node)) == node
    assert node.namespaces == ("x",)
    with pytest.raises(AttributeError):
        node.name = "other"
    with pytest.raises(TypeError):
        node.labels["team"] = "other"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("tcp://10.0.0.1:1234", "needs TLS"),
        ("ssh://web-1", "ssh -L"),
        ("http://x", "unknown scheme 'http'"),
        ("unix://relative", "is not the path of a socket"),
        ("", "must be a path or a unix:// address"),
        ("/a\0b", "is not the path of a socket"),
        (5, "5 is not a node"),
        ({"name": "x"}, "has no address"),
        ({"address": "/a", "adress": "/b"}, "unknown adress"),
        ({"address": "/a", "labels": {"team": 1}}, "labels of a node must map names to text"),
        ({"address": "/a", "namespaces": "default"}, "list of names"),
        ({"address": "/a", "disk_total": "five"}, "number of bytes"),
        ({"address": "/a", "name": 7}, "must be text"),
        ({"address": 7}, "not 7"),
    ],
)
def test_what_is_no_node_is_refused_with_a_sentence(value, sentence):
    with pytest.raises(NodeError, match=sentence):
        Node.of(value)


def test_several_nodes_keep_their_order_and_need_different_names():
    assert [node.path for node in nodes_of(["/b", Node("/a")])] == ["/b", "/a"]
    assert nodes_of("/a") == nodes_of(Node("/a")) == (Node("/a"),)
    with pytest.raises(NodeError, match=r"name 'n': /a and /b"):
        nodes_of([Node("/a", name="n"), Node("/b", name="n")])
    with pytest.raises(NodeError, match="no nodes"):
        nodes_of([])


def test_nodes_toml(tmp_path):
    file = tmp_path / "nodes.toml"
    file.write_text(
        """
        [defaults]
        namespaces = ["k8s.io"]
        labels = {zone = "a", team = "none"}
        [[node]]
        name = "web-1"
        address = "unix:///run/web-1.sock"
        disk_total = 1000
        labels = {team = "shop"}
        [[node]]
        address = "/run/web-2.sock"
        namespaces = ["default"]
        """
    )
    one, two = load_nodes(file)
    assert (one.name, one.namespaces, one.disk_total) == ("web-1", ("k8s.io",), 1000)
    assert dict(one.labels) == {"zone": "a", "team": "shop"}
    assert (two.name, two.namespaces, dict(two.labels)) == (
        "/run/web-2.sock",
        ("default",),
        {"zone": "a", "team": "none"},
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[node]\n", "is not TOML"),
        ("", "lists no node"),
        ("node = 5", "lists no node"),
        ("node = [5]", "node 1 is not a table"),
        ("nodes = []\n", "unknown nodes"),
        ("[[node]]\nname = 'x'", "node 1 has no address"),
        ("[[node]]\naddress = '/a'\n[[node]]\naddress = '/a'", "two nodes have the name '/a'"),
        ("[[node]]\naddress = 'tcp://a:1'", "node 1: tcp://a:1"),
        ("[defaults]\naddress = '/a'\n[[node]]\naddress = '/a'", r"\[defaults\]: unknown address"),
    ],
)
def test_a_bad_nodes_toml_says_what_and_where(tmp_path, text, sentence):
    (tmp_path / "nodes.toml").write_text(text)
    with pytest.raises(NodeError, match=sentence):
        load_nodes(tmp_path / "nodes.toml")


def test_a_missing_or_binary_nodes_toml(tmp_path):
    with pytest.raises(NodeError, match="No such file"):
        load_nodes(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(NodeError, match="is not TOML"):
        load_nodes(tmp_path / "b.toml")


def test_discovery_takes_the_environment_first(monkeypatch):
    monkeypatch.setenv("CONTAINERD_ADDRESS", "/somewhere/else.sock")
    assert nodes_of(None) == (Node("/somewhere/else.sock"),)


def test_discovery_finds_every_usual_socket_once(monkeypatch, tmp_path):
    monkeypatch.delenv("CONTAINERD_ADDRESS", raising=False)
    first, link, none = (str(tmp_path / name) for name in ("a.sock", "link.sock", "none.sock"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(first)
        (tmp_path / "link.sock").symlink_to(first)
        monkeypatch.setattr("imgframe.node.WELL_KNOWN", {first: "", link: "x", none: "y"})
        assert [node.path for node in discover()] == [first]
    monkeypatch.setattr("imgframe.node.WELL_KNOWN", {none: ""})
    with pytest.raises(NodeError, match=f"looked at {none}"):
        discover()


def test_discovery_looks_into_a_rootless_containerd(monkeypatch, tmp_path):
    monkeypatch.delenv("CONTAINERD_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("imgframe.node.WELL_KNOWN", {})
    (tmp_path / "containerd-rootless").mkdir()
    (tmp_path / "containerd-rootless/child_pid").write_text("4194999\n")
    with pytest.raises(NodeError, match=r"looked at /proc/4194999/root/run/containerd/containerd\.sock"):
        discover()
