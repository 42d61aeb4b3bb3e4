# Makes empty files until the disk has no room for another name.
# ruff: noqa

# %%
print("tried", flush=True)
for number in range(1_000_000):
    open(f"empty{number}", "w").close()
