# Writes into /tmp, /dev/shm, the packages, the home and the folder above.
# ruff: noqa
# Seconds: 30

# %%
import numpy, os, tempfile

for folder in (
    "/tmp",
    "/var/tmp",
    "/dev/shm",
    os.path.dirname(numpy.__file__),
    HOME,
    COURSE,
    "..",
    "/",
    "/run",
    "/etc/cron.d",
):
    try:
        with open(os.path.join(folder, "left_by_hostile"), "w") as file:
            file.write("x")
        print("wrote to", folder)
    except OSError as error:
        print(error)
print("tried")
