"""`python -m callsheet` is the command."""

from callsheet.cli import main

main()
