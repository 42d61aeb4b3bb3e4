# Installs and downloads from the network in a magic and by a program.
# ruff: noqa

# %%
import subprocess, sys

print("tried")
done = subprocess.run(
    [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-input",
        "--retries",
        "0",
        "--timeout",
        "1",
        "left-pad",
    ],
    capture_output=True,
    text=True,
)
print(done.returncode, done.stderr[-300:])
