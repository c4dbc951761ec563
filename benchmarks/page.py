"""The page to choose a person on, with 200 people, in Chromium: opening it, and what a click costs.

    python benchmarks/page.py     # results to benchmarks/results/page.json; needs Playwright and /usr/bin/chromium

Opening lasts until the first card is drawn. An action lasts from the click until the browser has painted its effect.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from measuring import Figures, environment, keep
from sightline.viewer.page import PageNotes, PersonOnPage, write_person_page

PEOPLE, CROPS, SIZE_HW, ROUNDS = 200, 12, (128, 64), 5
NOTES = PageNotes("two hundred people", "osnet.onnx", "onnx", "ab" * 16, 0.7, True)
PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def people() -> list[PersonOnPage]:
    rng = np.random.default_rng(0)
    return [
        PersonOnPage(
            str(number),
            tuple(rng.integers(0, 256, (CROPS, *SIZE_HW, 3), np.uint8)),
            first_s=number * 10.0,
            last_s=number * 10.0 + 8,
            frames=np.arange(number * 100, number * 100 + 80),
            quality=0.5,
        )
        for number in range(PEOPLE)
    ]


def similarity() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    vectors = np.random.default_rng(1).standard_normal((PEOPLE, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T


def timed(page: Page, act: str) -> float:
    """Milliseconds of clicking the first that fits the selector, the paint after it included."""
    target = page.locator(act).first
    target.scroll_into_view_if_needed()
    page.evaluate(PAINTED)
    element = target.element_handle()
    started = time.perf_counter()
    page.evaluate("async element => { element.click(); await (" + PAINTED + ")(); }", element)
    return 1000 * (time.perf_counter() - started)


def visit(page: Page, address: str) -> Figures:
    started = time.perf_counter()
    page.goto(address)
    page.locator(".pick").first.wait_for()
    page.evaluate(PAINTED)
    figures = {"open ms": 1000 * (time.perf_counter() - started)}
    figures["show all ms"] = timed(page, "#more")
    figures["select ms"] = timed(page, ".pick >> nth=3")
    figures["select a second ms"] = timed(page, ".pick >> nth=150")
    figures["theme ms"] = timed(page, "#theme")
    return figures


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = write_person_page(Path(folder), people(), similarity=similarity(), notes=NOTES)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        rounds = []
        for _ in range(ROUNDS):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            rounds.append(visit(context.new_page(), path.as_uri()))
            context.close()
        version = browser.version
        browser.close()
    medians = {name: statistics.median(found[name] for found in rounds) for name in rounds[0]}
    print("  ".join(f"{name} {value:.0f}" for name, value in medians.items()))
    found = {**environment(("sightline",)), "Chromium": version}
    keep("page", {"environment": found, "medians": {"200 people": medians}})


if __name__ == "__main__":
    main()
