# Matches a pattern that takes exponential time.
# ruff: noqa

# %%
import re

print("tried", flush=True)
re.match(r"(a|a|a|a)*$", "a" * 60 + "b")
