# Leaves shared memory, message queues and semaphores behind.
# ruff: noqa
# Seconds: 30

# %%
import ctypes, os

libc = ctypes.CDLL(None, use_errno=True)
for number in (29, 68, 64, 240):
    print(libc.syscall(number, 4242, 4096, 0o1666, 0), os.strerror(ctypes.get_errno()))
try:
    from multiprocessing import shared_memory

    kept = shared_memory.SharedMemory("left_by_hostile", create=True, size=1000)
except OSError as error:
    print(error)
print("tried")
