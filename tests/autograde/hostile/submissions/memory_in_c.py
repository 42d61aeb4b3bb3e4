# Takes memory by C calls, past Python's accounts.
# ruff: noqa

# %%
import ctypes, mmap

print("tried", flush=True)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
for _ in range(1000):
    place = libc.malloc(ctypes.c_size_t(100_000_000))
    if not place:
        break
    ctypes.memset(place, 1, 1_000_000)
raise MemoryError(str([mmap.mmap(-1, 500_000_000) for _ in range(100)]))
