# Copies another student's solution and reads a sibling's working folder.
# ruff: noqa
# Seconds: 30

# %%
import glob, os

print("tried")
for path in (f"{COURSE}/submitted/full/hw/hw.ipynb", f"{COURSE}/submitted/full/hw/notes.txt"):
    try:
        print(open(path).read())
    except OSError as error:
        print(error)
for path in [
    *glob.glob("/tmp/autograde-*/*/work/*"),
    *glob.glob(os.path.join(os.getcwd(), "../../*/work/*")),
]:
    print(path)
