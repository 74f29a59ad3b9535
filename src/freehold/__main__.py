"""`python -m freehold` is the command `freehold`."""

from freehold.cli import main

main()
