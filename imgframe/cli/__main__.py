"""``python -m imgframe.cli``."""

from imgframe.cli.main import main

main()
