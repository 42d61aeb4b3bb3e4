"""A real browser for the tests of pages, one a file: it holds an event loop while it is open."""

import shutil
from collections.abc import Iterator

import pytest
from looking import LIMIT
from playwright.sync_api import Browser, expect, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=1000 * LIMIT / 3)
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", "--disable-dev-shm-usage"],
            timeout=1000 * LIMIT,
        )
        yield browser
        browser.close()
