"""A submission's folder can be measured and removed whatever stands in it."""

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from autograde.protect.folder import holds_more_than, remove_tree

TREES = st.recursive(st.none(), lambda inner: st.lists(inner, max_size=4), max_leaves=20)


def build(folder: Path, tree: list | None) -> int:
    """Make a tree of folders (lists) and empty files (None); returns how many names it has."""
    names = 0
    for number, part in enumerate(tree or []):
        names += 1
        if part is None:
            (folder / str(number)).touch()
        else:
            (folder / str(number)).mkdir()
            names += build(folder / str(number), part)
    return names


@given(TREES)
@settings(max_examples=40)
def test_any_tree_is_removed_and_each_name_in_it_counts(tree):
    top = Path(tempfile.mkdtemp())
    names = build(top, tree)
    assert not holds_more_than(top, 8192 * names + 1)
    assert holds_more_than(top, 4096 * names - 1) == (names > 0)
    remove_tree(top)
    assert not top.exists()


def test_folders_deeper_than_a_path_may_be_long_are_found_and_removed(tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    here = Path.cwd()
    try:
        os.chdir(top)
        for _ in range(2500):
            Path("d").mkdir()
            os.chdir("d")
        Path("bottom").touch()
    finally:
        os.chdir(here)
    assert holds_more_than(top, 10**12)
    remove_tree(top)
    assert not top.exists()


def test_closed_folders_are_removed_and_links_are_not_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    top = tmp_path / "top"
    (top / "closed" / "inner").mkdir(parents=True)
    (top / "link").symlink_to(kept)
    (top / "closed" / "inner" / "link").symlink_to(kept)
    (top / "closed").chmod(0)
    os.mkfifo(top / "pipe")
    remove_tree(top)
    assert not top.exists()
    assert (kept / "file").read_text() == "x"
