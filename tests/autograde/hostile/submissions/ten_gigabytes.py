# Writes ten gigabytes into one file.
# ruff: noqa

# %%
print("tried", flush=True)
with open("big", "wb") as file:
    for _ in range(10_000):
        file.write(bytes(1_000_000))
