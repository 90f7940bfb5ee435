"""`python -m attnaudit`."""

from attnaudit.cli import main

main()
