"""Documents, chain IDs and the choice of a manifest: every vector, and what hostile documents do."""

import collections

from testbed.image_checks import check_blobs, find_platforms
from testbed.oci_vectors import as_record, lines, matcher

from imgframe import oci
from imgframe.errors import DocumentError, NotFound
from imgframe.nerdctl.documents import listed_platforms


def descriptor(record):
    return oci.Descriptor(record["mediaType"], record["digest"], record["size"])


def outcome(function, *args):
    try:
        return function(*args), None
    except DocumentError as error:
        return None, error


def same_error(error, text, not_found, where):
    """Texts about missing blobs are peculiar to a store: there only the kind of error is compared."""
    assert (error is None) == (text is None), (where, error, text)
    if text is not None:
        if not_found is not None:
            assert isinstance(error, NotFound) == not_found, where
        if "blob not found" in text:
            assert isinstance(error, NotFound), where
        elif "calculating blob path" in text:  # the local store's words; a daemon's are in read_documents
            assert "failed validation" in str(error), where
        else:
            assert str(error) == text, where


def test_chain_ids():
    records = lines("chain_ids.jsonl")
    for number, record in enumerate(records):
        ids = oci.chain_ids(record["diff_ids"])
        assert ids == record["chain_ids"], number
        assert oci.chain_id(record["diff_ids"]) == record["chain_id"], number
    print(f"chain_ids.jsonl: {len(records)} of {len(records)} vectors checked")
    assert len(records) == 17


def test_every_resolution():
    records = lines("index_resolution.jsonl.gz")
    counts = collections.Counter()
    for record in records:
        counts[record["class"]] += 1
        blobs = {digest: text.encode() for digest, text in record["blobs"].items()}
        documents = oci.Documents(blobs.get)
        target = descriptor(record["target"])
        for number, result in enumerate(record["results"]):
            counts["choices"] += 1
            check_choice(target, matcher(result["matcher"]), documents, result, (record["id"], number))
        found, error = find_platforms(target, documents)
        assert [as_record(one) for one in found] == (record["platforms"] or []), record["id"]
        same_error(error, record.get("platforms_error"), None, record["id"])
        shown, error = outcome(listed_platforms, target, documents)
        same_error(error, record.get("list_error"), None, record["id"])
        ours = {
            name: {"platform": name, "config": one.manifest.config.digest, "blob_size": one.blob_size}
            for name, one in (shown or {}).items()
        }
        expected = {
            name: one for name, one in record["list"].items() if is_there(one["config"], record["blobs"])
        }
        counts["left out"] += len(record["list"]) - len(expected)
        assert ours == expected, record["id"]
    print(
        f"index_resolution.jsonl.gz: {len(records)} of {len(records)} stores, {counts['choices']} choices checked; left out: "
        f"{counts['left out']} rows of listings whose documents are not in the store (the measuring process remembered "
        "equal ones from an earlier case)"
    )
    assert counts["left out"] == 2
    assert len(records) == 197
    assert counts["choices"] == 1896


def is_there(config, blobs):
    """Whether the store of a case has the config and a manifest that names it."""
    return config in blobs and any(config in text for text in blobs.values())


def check_choice(target, chosen, documents, result, where):
    found, error = outcome(oci.find_manifest, target, chosen, documents)
    same_error(error, result.get("error"), result.get("not_found", False), where)
    checked, problem = outcome(check_blobs, target, chosen, documents)
    if "check" in result:
        same_error(problem, result["check"].get("error"), None, where)
        if problem is None:
            ours = {
                "available": checked.available,
                "required": len(checked.required),
                "present": len(checked.present),
                "missing": len(checked.missing),
            }
            assert ours == {key: result["check"][key] for key in ours}, where
    if error is not None:
        return
    place, manifest = found
    assert place.digest == result["manifest"], where
    assert manifest.config.digest == result.get("config", ""), where
    config, problem = outcome(documents.config, manifest.config)
    same_error(problem, result.get("rootfs_error"), result.get("rootfs_not_found", False), where)
    if problem is None:
        assert list(config.rootfs.diff_ids) == (result.get("diff_ids") or []), where
    resolved = oci.resolve(target, chosen, documents)
    assert (resolved.manifest_descriptor, resolved.manifest, resolved.config) == (place, manifest, config), (
        where
    )
    assert (resolved.config_error is None) == (problem is None), where
