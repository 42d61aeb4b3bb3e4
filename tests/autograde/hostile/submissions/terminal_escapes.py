# Prints terminal escapes that retitle, clear and answer as if typed.
# ruff: noqa

# %%
import sys

print("tried \x1b]0;owned\x07\x1b[2J\x1b[6n\x1bP$q\x1b\\\x9b31m\x00\x08\r")
print("\x1b]52;c;b3duZWQ=\x07", file=sys.stderr)
raise ValueError("\x1b]8;;http://127.0.0.1:9/\x07click\x1b]8;;\x07")
