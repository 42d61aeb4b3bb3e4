# Makes files whose names are escapes, line ends, options and right-to-left marks.
# ruff: noqa

# %%
for name in (
    "\x1b]0;owned\x07",
    "-rf",
    "a\nb",
    "\u202egpj.exe",
    "x" * 255,
    "*",
    "~",
    "\udcff",
    "con",
    ".nbgrader",
):
    try:
        open(name, "w").close()
    except (OSError, ValueError) as error:
        print(error)
print("tried")
