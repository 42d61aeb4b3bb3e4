"""A program whose main thread ends before its other thread has saved everything.

python -m mlsys.serving.concurrency.daemon [--daemon]
"""

from __future__ import annotations

import sys
import threading
import time

ORDERS = 5
two_are_saved = threading.Event()


def save(orders: int) -> None:
    for number in range(1, orders + 1):
        print(f"saving order {number}", end=" ")
        time.sleep(0.1)
        print("... done")
        if number == 2:
            two_are_saved.set()


def main(*, daemon: bool) -> None:
    threading.Thread(target=save, args=(ORDERS,), name="saver", daemon=daemon).start()
    two_are_saved.wait()
    time.sleep(0.05)
    print("| the main thread ends |", end=" ")


if __name__ == "__main__":
    main(daemon="--daemon" in sys.argv[1:])
