"""Feeds the codec mutated messages without end, guided by coverage. Run it by hand where atheris is
installed (it is no dependency of ours: it has no wheel for every platform):

    pip install atheris
    python tests/autograde/hostile/fuzz_codec.py -max_total_time=600 -rss_limit_mb=2000

A message must decode to a value, which then travels as it is, or raise CodecError;
anything else is a finding, and so is a message that takes more than a few seconds.
"""

import datetime as dt
import sys
import tempfile
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path


def seeds() -> list[bytes]:
    """Honest messages of each kind, from which mutation starts."""
    import numpy as np
    import pandas as pd

    from autograde.protect.codec import encode

    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", "v"])})
    values = [
        None, True, 2**70, -1.5, "text", b"bytes", [1, (2, {"k": {3}})], Decimal("1.5"),
        Fraction(1, 3), dt.datetime(2026, 1, 1, tzinfo=dt.UTC), np.arange(6).reshape(2, 3),
        np.array(["a", "bc"]), np.float32(1), frame, frame.set_index(["a", "b"]), frame["b"],
        pd.date_range("2026", periods=2, tz="UTC"), pd.array([1, None], dtype="Int64"),
        [row := [0], {"a": row}, row], defaultdict(list, a=[1]), Path("a/b"), float("nan"), np.nan,
        {"a": 1}.keys(), {"a": [1]}.values(), {"a": 1}.items(), pd.cut([1, 9], [0, 4, 10]),
        pd.Period("2026-01"), pd.Interval(0, 1), np.ma.masked_array([1.0, 2.0], mask=[0, 1]),
    ]  # fmt: skip
    return [encode(value) for value in values]


def check(message: bytes) -> None:
    """One message; raises for a finding."""
    from autograde.protect.codec import CodecError, Limits, decode, encode

    try:
        value = decode(message, limits=Limits(size=1_000_000, depth=50, nodes=10_000))
        again = encode(value)
    except CodecError:
        return
    if len(encode(decode(again))) != len(again):  # a set has no order
        raise AssertionError(f"not stable: {message!r}")


def main() -> None:
    import atheris

    # Only what is imported here for the first time is instrumented, so nothing above imports it.
    with atheris.instrument_imports(include=["autograde.protect"]):
        from autograde.protect import codec, tables  # noqa: F401

    with tempfile.TemporaryDirectory() as corpus:
        for number, message in enumerate(seeds()):
            (Path(corpus) / str(number)).write_bytes(message)
        atheris.Setup([*sys.argv, corpus], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
