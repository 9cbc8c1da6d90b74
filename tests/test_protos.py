"""Our .proto files against the facts: every number, type, label, enum value, path and shape."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FieldDescriptor

import imgframe._proto as generated

ROOT = Path(__file__).resolve().parent.parent
FACTS = json.loads((ROOT / "tests/data/wire-facts.json").read_text(encoding="utf-8"))
MODULES = sorted(path.stem for path in (ROOT / "imgframe/_proto").glob("*_pb2.py"))
FILES = [importlib.import_module(f"imgframe._proto.{name}").DESCRIPTOR for name in MODULES]
SCALARS = {
    getattr(FieldDescriptor, name): name.removeprefix("TYPE_").lower()
    for name in dir(FieldDescriptor)
    if name.startswith("TYPE_")
}


def messages_of(container):
    for message in container:
        if not message.GetOptions().map_entry:
            yield message
            yield from messages_of(message.nested_types)


MESSAGES = {m.full_name: m for file in FILES for m in messages_of(file.message_types_by_name.values())}
SERVICES = {s.full_name: s for file in FILES for s in file.services_by_name.values()}
ENUMS = {e.full_name: e for file in FILES for e in file.enum_types_by_name.values()}


def described(field):
    """One of our fields in the words of the facts."""
    facts = {"name": field.name, "number": field.number, "type": SCALARS[field.type]}
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields_by_number[1], field.message_type.fields_by_number[2]
        return facts | {"type": "map", "map_key": SCALARS[key.type], "map_value": SCALARS[value.type]}
    if field.message_type is not None or field.enum_type is not None:
        facts["type_name"] = (field.message_type or field.enum_type).full_name
    if field.is_repeated:
        facts["repeated"] = True
    if field.containing_oneof is not None:
        facts["optional"] = True
    return facts


def test_the_facts_cover_what_we_generate_and_nothing_is_missing():
    assert MESSAGES.keys() == {name for name in FACTS["messages"] if not name.startswith("google.protobuf.")}
    assert ENUMS.keys() == FACTS["enums"].keys()
    assert SERVICES.keys() == {service["full_name"] for service in FACTS["services"].values()}
    print(f"{len(MESSAGES)} messages, {len(ENUMS)} enums, {len(SERVICES)} services compared")


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_fields_equal_the_facts(name):
    facts = {field["name"]: field for field in FACTS["messages"][name]["fields"]}
    for field in MESSAGES[name].fields:
        expected = {key: value for key, value in facts[field.name].items() if key != "in_versions"}
        assert described(field) == expected
    assert MESSAGES[name].fields or not facts


@pytest.mark.parametrize("name", sorted(ENUMS))
def test_enum_values_equal_the_facts(name):
    assert {v.name: v.number for v in ENUMS[name].values} == FACTS["enums"][name]["values"]


@pytest.mark.parametrize("service", FACTS["services"].values(), ids=lambda service: service["service"])
def test_methods_equal_the_facts(service):
    ours = {}
    for method in SERVICES[service["full_name"]].methods:
        client = "stream" if method.client_streaming else "unary"
        server = "stream" if method.server_streaming else "unary"
        ours[method.name] = {
            "path": f"/{service['full_name']}/{method.name}",
            "shape": f"{client}_{server}",
            "request": method.input_type.full_name,
            "response": method.output_type.full_name,
        }
    facts = {
        name: {key: value for key, value in rpc.items() if key != "in_versions"}
        for name, rpc in service["rpcs"].items()
    }
    assert ours == facts


def test_another_package_may_register_the_same_messages():
    """A stub package that put containerd's own names into the default pool does not disturb ours."""
    file = descriptor_pb2.FileDescriptorProto(
        name="other/images.proto", package="containerd.services.images.v1"
    )
    file.message_type.add(name="Image").field.add(name="other", number=1, type=9, label=1)
    descriptor_pool.Default().Add(file)
    theirs = descriptor_pool.Default().FindMessageTypeByName("containerd.services.images.v1.Image")
    assert [f.name for f in theirs.fields] == ["other"]
    ours = generated.POOL.FindMessageTypeByName("containerd.services.images.v1.Image")
    assert [f.name for f in ours.fields] == ["name", "labels", "target", "created_at", "updated_at"]


def test_regenerating_changes_nothing():
    done = subprocess.run(
        [sys.executable, ROOT / "tools/gen_protos.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
