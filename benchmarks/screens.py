"""Pictures of Dagster's pages for the documentation, taken by a real browser."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
WIDTH = 1440
SETTLE_MS = 8_000
"""Dagster's pages draw themselves in steps and say of none that it was the last."""


def take(browser: Browser | None, address: str, name: str, *, height: int = 900) -> None:
    """Open an address and save what it shows as `docs/images/{name}.png`; nothing without a browser."""
    if browser is None:
        return
    page = browser.new_page(viewport={"width": WIDTH, "height": height})
    page.goto(address)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=IMAGES / f"{name}.png")
    page.close()
