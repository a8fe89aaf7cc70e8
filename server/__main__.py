"""`python -m server` is the command `isthmus`."""

from server.cli import main

main()
