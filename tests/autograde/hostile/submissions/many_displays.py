# Shows thousands of rich displays, each of a megabyte.
# ruff: noqa

# %%
from IPython.display import HTML, display

print("tried")
for _ in range(2000):
    display(HTML("<b>" + "x" * 1_000_000))
