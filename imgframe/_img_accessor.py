"""Registers ``DataFrame.img`` without loading pandas: called when imgframe is imported, a public name is used, a frame is made."""

from __future__ import annotations

import importlib
import sys


def register_where_pandas_is_loaded() -> bool:
    """Register the accessor unless pandas is still to be loaded, or is just being loaded; whether it is registered.

    Example:
        >>> import pandas
        >>> register_where_pandas_is_loaded(), hasattr(pandas.DataFrame, "img")
        (True, True)
    """
    pandas = sys.modules.get("pandas")
    if pandas is None or getattr(getattr(pandas, "__spec__", None), "_initializing", False):
        return False
    if not hasattr(pandas.DataFrame, "img"):
        importlib.import_module("imgframe.accessor").register(pandas)  # on a floor above all who call this
    return True
