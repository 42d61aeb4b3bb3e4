# Writes more, in many files, than a submission may.
# ruff: noqa

# %%
print("tried", flush=True)
for number in range(10_000):
    with open(f"part{number}", "wb") as file:
        file.write(bytes(4_000_000))
