"""`python -m server` is the command `admittance`."""

from server.cli import main

main()
