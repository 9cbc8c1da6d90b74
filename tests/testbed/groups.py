"""Which tests a run takes."""

PURE = "not (daemon or registry or browser or soak)"
"""What needs nothing but Python: pytest's ``-m``."""
