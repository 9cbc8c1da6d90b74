"""data/node, the inventory that comes with the project, is readable, small, whole, and says nothing of where it was made."""

from pathlib import Path

import imgframe as imf
from imgframe.schema import TABLES

FOLDER = Path(__file__).parent.parent / "data/node"


def test_it_opens_whole_and_small():
    inventory = imf.open_inventory(FOLDER)
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 300_000
    assert inventory.arrow("errors").num_rows == 0
    assert inventory.arrow("images").num_rows > 100
    assert inventory.images["unpacked_size"].notna().all()
    assert set(inventory.containers["status"]) == {"running", "none"}


def test_its_columns_are_those_of_today():
    inventory = imf.open_inventory(FOLDER)
    for name, schema in TABLES.items():
        assert inventory.arrow(name).schema.equals(schema), name


def test_it_names_no_temporary_folder():
    inventory = imf.open_inventory(FOLDER)
    for name in TABLES:
        text = str(inventory.arrow(name).to_pylist())
        assert not [
            word for word in ("imgf-", "imgr-", "/var/tmp", "/dev/shm", "127.0.0.1") if word in text
        ], name
