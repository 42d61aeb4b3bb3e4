"""`python -m mlsys` is the command `mlsys`, for where scripts are not on the path."""

from mlsys.cli import main

main()
