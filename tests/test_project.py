"""What a stranger relies on: light imports, every public name, names that stay as they are."""

import importlib
import subprocess
import sys

import pytest

import imgframe as imf


def loaded_by(code: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(out.stdout.split())


def test_import_loads_nothing_heavy():
    modules = loaded_by("import imgframe")
    heavy = {
        "pandas",
        "pyarrow",
        "numpy",
        "grpc",
        "matplotlib",
        "aiohttp",
        "ipywidgets",
        "dask",
        "anywidget",
        "typer",
    }
    assert not modules & heavy


def test_frames_load_neither_grpc_nor_matplotlib():
    modules = loaded_by(
        "import imgframe as imf, pandas as pd\nimf.filter_tagged_images()\npd.DataFrame({'name': ['a']}).img.tagged()"
    )
    assert not modules & {"grpc", "matplotlib", "aiohttp", "ipywidgets", "dask", "anywidget"}


def test_accessor_is_there_whichever_is_imported_first():
    for code in ("import imgframe, pandas; imgframe.Filter", "import pandas, imgframe"):
        subprocess.run([sys.executable, "-c", f"{code}; assert hasattr(pandas.DataFrame, 'img')"], check=True)


def test_every_public_name_is_there_and_documented():
    for name in imf.__all__:
        value = getattr(imf, name)
        if callable(value):
            assert (value.__doc__ or "").strip(), name


def test_every_room_exists():
    for room, module in imf._ROOMS.items():
        assert importlib.import_module(module).__doc__, room
        assert getattr(imf, room) is sys.modules[module]


def test_only_what_users_type_is_listed():
    assert dir(imf) == sorted(imf.__all__)
    assert set(dir(imf)) == {"__version__"} | set(imf._HOME) | set(imf._ROOMS)
    insides = {
        "accessor",
        "act",
        "collector",
        "explorer",
        "inventory",
        "nerdctl",
        "node",
        "planning",
        "plans",
        "upstream",
        "usage",
    }
    assert not insides & set(dir(imf))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'imgframe' has no attribute 'colect'"):
        _ = imf.colect
