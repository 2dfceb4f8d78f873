"""The command line: ``outlive``, also ``python -m outlive``. One file per noun."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """The console script."""
    if find_spec("cyclopts") is None or find_spec("rich") is None:
        print("outlive: the command line needs its extra; install it: pip install 'outlive[cli]'", file=sys.stderr)
        sys.exit(2)
    from outlive.cli.app import start

    sys.exit(start(sys.argv[1:]))
