# Deletes siblings, the release, the sources and what stands around its folder.
# ruff: noqa
# Seconds: 30

# %%
import os, shutil

for path in (
    f"{COURSE}/submitted",
    f"{COURSE}/release",
    f"{COURSE}/source",
    COURSE,
    HOME,
    "..",
    "../..",
    "/tmp",
):
    shutil.rmtree(path, ignore_errors=True)
print("tried")
