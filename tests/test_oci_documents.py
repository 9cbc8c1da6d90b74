"""The two decoders agree on every document, and hostile documents cost an error, never a crash or a hang."""

import json
import random
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from testbed.image_checks import check_blobs, find_platforms
from testbed.oci_vectors import store

from imgframe import oci, platforms
from imgframe.collector.summaries import layer_rows, summarise
from imgframe.collector.table_builder import TableBuilder
from imgframe.errors import DocumentError
from imgframe.golang.json import decoder, scanner
from imgframe.nerdctl.documents import config_in, listed_platforms
from imgframe.oci import fast_path, go_structs

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
WAYS = {
    "manifest": (fast_path.manifest, go_structs.MANIFEST, oci.decode_manifest),
    "index": (fast_path.index, go_structs.INDEX, oci.decode_index),
    "config": (fast_path.config, go_structs.CONFIG, oci.decode_config),
}

texts = st.sampled_from(["", "a", "linux", "é", 'q"', "\\u0041", "\u2028", "<&>"]) | st.text(max_size=5)
string_maps = st.dictionaries(texts, texts, max_size=3)
string_lists = st.lists(texts, max_size=3)
times = st.sampled_from(
    [
        "2024-01-02T03:04:05Z",
        "2024-02-30T00:00:00Z",
        "2024-02-29T00:00:00.123456789012+24:00",
        "0001-01-01T00:00:00Z",
        "x",
    ]
)
integers = st.sampled_from([0, -1, 2**63 - 1, 2**63, -(2**63), 1.5]) | st.integers()
odd = st.none() | st.booleans() | integers | texts | st.lists(st.none() | texts, max_size=2) | string_maps


def kinds(stray):
    """Documents of each kind; ``stray`` values stand in the place of some right ones."""

    def objects(**fields):
        return st.fixed_dictionaries({}, optional={name: value | stray for name, value in fields.items()})

    platform = objects(
        **{
            "architecture": texts,
            "os": texts,
            "os.version": texts,
            "os.features": string_lists,
            "variant": texts,
        }
    )
    descriptor = objects(
        mediaType=texts,
        digest=texts,
        size=integers,
        urls=string_lists,
        annotations=string_maps,
        data=st.sampled_from(["", "YQ==", "YQ="]),
        platform=platform,
        artifactType=texts,
    )
    shared = {
        "schemaVersion": integers,
        "mediaType": texts,
        "annotations": string_maps,
        "subject": descriptor,
    }
    run = objects(
        User=texts,
        ExposedPorts=st.dictionaries(texts, st.just({}), max_size=2),
        Env=string_lists,
        Cmd=string_lists,
        Labels=string_maps,
        ArgsEscaped=st.booleans(),
        Healthcheck=objects(Test=string_lists, Interval=integers),
        OnBuild=string_lists,
    )
    return {
        "manifest": objects(config=descriptor, layers=st.lists(descriptor, max_size=3), **shared),
        "index": objects(manifests=st.lists(descriptor, max_size=3), **shared),
        "config": objects(
            created=times,
            os=texts,
            config=run,
            rootfs=objects(type=texts, diff_ids=string_lists),
            history=st.lists(objects(created=times, created_by=texts, empty_layer=st.booleans()), max_size=3),
            container_config=run,
        ),
    }


RIGHT, STRAY = kinds(st.nothing()), kinds(odd)


def outcome(function, *args):
    try:
        return function(*args), None
    except DocumentError as error:
        return None, str(error)


def agree(kind, data):
    """Whether the fast way took the document; then the exact way must give the same."""
    fast, exact, _ = WAYS[kind]
    found = fast(data)
    if found is not None:
        assert outcome(decoder.decode, scanner.parse(data), exact) == (found, None)
    return found is not None


@pytest.mark.parametrize("kind", WAYS)
def test_both_ways_agree_on_generated_documents(kind):
    taken = []

    @settings(max_examples=600, deadline=None)
    @given(RIGHT[kind] | STRAY[kind], st.sampled_from([None, 1]), st.booleans())
    def run_(document, indent, ascii_):
        taken.append(
            agree(kind, json.dumps(document, indent=indent, ensure_ascii=ascii_).encode("utf-8", "replace"))
        )

    run_()
    assert sum(taken) > len(taken) / 20, "the fast way is hardly ever taken"
    print(f"{kind}: {len(taken)} documents, {sum(taken)} by the fast way")


def mutated(data, chance):
    """The document with a few bytes changed: keys renamed, doubled, cut, or plain noise."""
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data) + 1)
        what = chance.random()
        if what < 0.3:
            data = data[:at] + data[at + chance.randrange(1, 6) :]
        elif what < 0.5:
            data = (
                data[:at]
                + chance.choice([b'"', b"{", b"}", b",", b"null", b"\\", b"\x00", b"\xff", b"1e5"])
                + data[at:]
            )
        elif what < 0.8:
            keys = list(re.finditer(rb'"[A-Za-z._]+":', data))
            if keys:
                key = chance.choice(keys)
                data = (
                    data[: key.start()]
                    + chance.choice([key[0].upper(), key[0].lower(), b'"config":'])
                    + data[key.end() :]
                )
        else:
            pairs = list(re.finditer(rb'"[A-Za-z._]+":(?:"[^"]*"|[0-9]+|\{\}|\[\])', data))
            if pairs:
                pair = chance.choice(pairs)
                data = data[: pair.end()] + b"," + pair[0] + data[pair.end() :]
    return data


@pytest.mark.parametrize("kind", WAYS)
def test_both_ways_agree_on_recorded_documents_and_their_mutations(kind):
    chance = random.Random(20260)
    recorded = [
        data
        for number in range(1, 5)
        for data in store(f"store-{number}")[1].values()
        if data[:1] == b"{" and len(data) < 20_000
    ]
    taken = sum(agree(kind, data) for data in recorded)
    changed = [mutated(chance.choice(recorded), chance) for _ in range(8000)]
    bent = sum(agree(kind, data) for data in changed)
    assert taken > 100 or kind == "index"
    print(f"{kind}: {len(recorded)} recorded, {taken} by the fast way; 8000 mutated, {bent} by the fast way")


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:0123eE+-.\\untrfals ', max_size=40).map(str.encode))
@example(b'"\xed\xa0\x80"')
@settings(max_examples=3000, deadline=None)
def test_any_bytes_are_a_tree_or_one_sentence(data):
    tree, error = outcome(scanner.parse, data)
    assert (tree is None) == (error is not None)
    try:
        json.loads(data.decode(), parse_constant=pytest.fail)
    except (ValueError, RecursionError):
        accepted = False
    else:
        accepted = True
    assert error is None or not accepted, "Python's json accepts it; Go's does too"


@given(st.lists(st.text(max_size=5)), st.text(max_size=5))
def test_the_chain_of_one_more_layer_is_the_chain_before_and_one_more(diff_ids, last):
    chain = oci.chain_ids([*diff_ids, last])
    assert chain[:-1] == oci.chain_ids(diff_ids)
    assert oci.chain_id([*diff_ids, last]) == oci.chain_id(
        [oci.chain_id(diff_ids), last] if diff_ids else [last]
    )


# --- hostile documents


@pytest.mark.parametrize("decode", [way[2] for way in WAYS.values()], ids=WAYS)
@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"7",
        b'"x"',
        b"",
        b"\xef\xbb\xbf{}",
        b'{"mediaType": NaN}',
        b"{} {}",
        b'{"a":' * 10_001,
        b"[" * 5_000_000,
        b'{"layers":' + b"[" * 10_001 + b"]" * 10_001 + b"}",
        b'{"a":"\n"}',
    ],
    ids=lambda data: repr(data[:20]),
)
def test_refused_everywhere(decode, data):
    with pytest.raises(DocumentError) as caught:
        decode(data)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("decode", [way[2] for way in WAYS.values()], ids=WAYS)
def test_a_large_document_is_refused_before_it_is_read(decode):
    with pytest.raises(DocumentError, match="over the limit") as caught:
        decode(b" " * (100 << 20))
    assert caught.value.code == "too_large"


def test_a_depth_that_go_reads_is_read():
    unknown = b"[" * 9_999 + b"]" * 9_999
    assert oci.decode_config(b'{"os":"linux","unknown":' + unknown + b"}").os == "linux"


def test_ten_thousand_layers_and_a_hundred_thousand_labels():
    layers = [
        {"mediaType": "l", "digest": f"sha256:{number:064x}", "size": number} for number in range(10_000)
    ]
    found = oci.decode_manifest(json.dumps({"layers": layers}).encode())
    assert sum(layer.size for layer in found.layers) == sum(range(10_000))
    labels = {f"key-{number}": str(number) for number in range(100_000)}
    data = json.dumps({"config": {"labels": labels}}).encode()
    assert oci.decode_config(data).config.labels == labels
    assert oci.decode_config(data.replace(b"labels", b"Labels")).config.labels == labels


def nested(depth, *, width=1):
    """A chain of indexes, each of which lists the next ``width`` times; digests are what read calls them."""
    blobs = {}
    for level in range(depth):
        kind = INDEX if level + 1 < depth else MANIFEST
        entry = {"mediaType": kind, "digest": f"sha256:{level + 1:064x}", "size": 1}
        blobs[f"sha256:{level:064x}"] = json.dumps({"manifests": [entry] * width}).encode()
    manifest = {"config": {"digest": "sha256:" + "f" * 64, "size": 1}}
    blobs[f"sha256:{depth:064x}"] = json.dumps(manifest).encode()
    blobs["sha256:" + "f" * 64] = b'{"os":"linux","architecture":"amd64"}'
    return oci.Descriptor(INDEX, f"sha256:{0:064x}", 1), blobs


def walks(target, documents):
    """Everything that walks through a store."""
    yield lambda: oci.find_manifest(target, platforms.default(), documents)
    yield lambda: oci.find_manifest(target, None, documents)
    yield lambda: check_blobs(target, platforms.all_(), documents)
    yield lambda: oci.resolve(target, platforms.default(), documents)
    yield lambda: config_in(target, platforms.default(), documents)


def test_a_hundred_indexes_inside_each_other_are_walked():
    target, blobs = nested(100)
    last = f"sha256:{100:064x}"
    documents = oci.Documents(blobs.get)
    assert oci.find_manifest(target, platforms.default(), documents)[0].digest == last
    assert oci.find_manifest(target, None, documents)[0].digest == last
    assert find_platforms(target, documents) == ([], None)


def test_an_index_that_contains_itself_ends():
    target = oci.Descriptor(INDEX, f"sha256:{0:064x}", 1)
    entry = {"mediaType": INDEX, "digest": target.digest, "size": 1}
    for blobs in (
        {target.digest: json.dumps({"manifests": [entry]}).encode()},
        {
            target.digest: json.dumps({"manifests": [{**entry, "digest": f"sha256:{1:064x}"}]}).encode(),
            f"sha256:{1:064x}": json.dumps({"manifests": [entry]}).encode(),
        },
    ):
        documents = oci.Documents(blobs.get)
        for walk in walks(target, documents):
            with pytest.raises(DocumentError, match="contains itself") as caught:
                walk()
            assert caught.value.code == "cycle"
        assert find_platforms(target, documents)[1].code == "cycle"
        assert listed_platforms(target, documents) == {}


def test_an_index_that_doubles_at_every_level_ends():
    target, blobs = nested(64, width=2)
    documents = oci.Documents(blobs.get)
    with pytest.raises(DocumentError, match="leads to more than") as caught:
        oci.find_manifest(target, None, documents)
    assert caught.value.code == "too_large"
    assert find_platforms(target, documents)[1].code == "too_large"


def collected_config(data):
    """What a collection keeps of a config: its summary, and its rows in the tables."""
    rows = TableBuilder()
    return summarise("config", "d", data, rows), rows.tables()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59.999999999Z", None),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("2262-04-11T23:47:16.854775807Z", 2**63 - 1),
        ("2262-04-11T23:47:16.854775808Z", None),
    ],
)
def test_times_outside_the_range_of_the_tables_are_unknown(text, shown):
    data = json.dumps({"created": text, "history": [{"created": text}]}).encode()
    assert oci.decode_config(data).created == text
    _, tables = collected_config(data)
    assert tables["configs"]["created"].cast("int64").to_pylist() == [shown]
    assert tables["history"]["created"].cast("int64").to_pylist() == [shown]


def test_layers_know_their_diff_ids_only_where_the_config_has_them():
    rows = TableBuilder()
    manifest = summarise("manifest", "m", b'{"layers":[{"digest":"a"},{"digest":"b"}]}', rows)
    config, _ = collected_config(b'{"rootfs":{"diff_ids":["sha256:1"]}}')
    layer_rows(rows, "m", manifest, config)
    layer_rows(rows, "m", manifest, None)
    layers = rows.tables()["layers"]
    assert layers["diff_id"].to_pylist()[:2] == ["sha256:1", None]
    assert layers["chain_id"].to_pylist() == ["sha256:1", None, None, None]


def test_hostile_text_stays_text():
    label = "<script>\u0000\u202e'\";\\"
    data = json.dumps({"config": {"Labels": {label: label}}}).encode()
    assert oci.decode_config(data).config.labels == {label: label}
    _, tables = collected_config(data)
    assert json.loads(tables["configs"]["labels"][0].as_py()) == {label: label}


@pytest.mark.parametrize(("zone", "named"), [("+99:99", "minute"), ("+99:é", "hour"), ("+99:00", "hour")])
def test_go_names_the_last_part_of_a_zone_that_is_out_of_range(zone, named):
    text = f"2024-02-29T12:34:56{zone}"
    with pytest.raises(DocumentError, match=f"time zone offset {named} out of range$"):
        oci.decode_config(f'{{"created": "{text}"}}'.encode())
