# Makes folders that nobody may enter and files that nobody may remove.
# ruff: noqa

# %%
import os

os.makedirs("locked/inner/most")
open("locked/inner/file", "w").close()
for path in ("locked/inner/most", "locked/inner", "locked"):
    os.chmod(path, 0)
os.mkfifo("pipe")
print("tried")
