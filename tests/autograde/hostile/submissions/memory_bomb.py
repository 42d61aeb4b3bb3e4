# Takes all the memory that there is.
# ruff: noqa

# %%
print("tried", flush=True)
hoard = []
while True:
    hoard.append(bytearray(50_000_000))
