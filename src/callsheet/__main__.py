"""`python -m callsheet` is the command."""

import sys

# Python puts the current folder first: there a repository's own `click.py` would be imported in place of the real one.
if sys.path and not sys.flags.safe_path:
    del sys.path[0]

from callsheet.cli import main

main()
