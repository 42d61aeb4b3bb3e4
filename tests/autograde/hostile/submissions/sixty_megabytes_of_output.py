# Prints sixty megabytes.
# ruff: noqa

# %%
print("tried")
for _ in range(600):
    print("x" * 100_000)
