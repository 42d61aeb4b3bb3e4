"""`python -m dashboards [PORT]` serves the dashboards and opens the browser."""

import sys

from dashboards.launch import LaunchError, serve

try:
    code = serve(int(sys.argv[1]) if len(sys.argv) > 1 else None)
except ValueError:
    code = f"The port must be a whole number, not {sys.argv[1]!r}."
except LaunchError as error:
    code = str(error)
sys.exit(code)
