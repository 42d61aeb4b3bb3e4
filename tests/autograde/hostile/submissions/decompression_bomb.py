# Unpacks a gigabyte out of a megabyte.
# ruff: noqa

# %%
import io, zipfile, zlib

print("tried", flush=True)
packed = zlib.compress(bytes(10**9), 9)
print(len(zlib.decompress(packed)))
files = [zlib.decompress(packed) for _ in range(100)]
