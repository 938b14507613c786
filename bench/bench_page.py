"""How large and how quick the page is: ``python bench/bench_page.py``, or ``--photos 10000 --rounds 9``.

For each number of photos a result is made up in a temporary folder: all of the photos are in the gallery, two thirds of
them with a thumbnail, and twelve photos are drawn with noise for attention, which nothing can compress. The page of it
is opened from disk in Chromium without a network, all on one core. Told are, one row a page,

- its size, and what it says that it left out;
- the first contentful paint (median over ``--rounds`` openings);
- from an input to the end of the frame that shows its effect, over ``--turns`` turns of every interaction: median,
  95th percentile, and the slowest;
- frames a second while the map of all photos is dragged for ``--frames`` frames (the browser makes at most 60), and the
  95th percentile of the time between two frames.

Nothing else should run on the machine meanwhile.
"""

import argparse
import io
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.report import browsers, synthetic
from tests.tiny_settings import tiny_settings
from vit_atlas.io.arrays import read_arrays, write_arrays
from vit_atlas.io.files import write_json
from vit_atlas.report import gallery, render_report

DRAWN, SIDE, LAYERS, HEADS = 12, 14, 12, 12
"""Photos in the attention explorer, patches a side, and the size of the network: a ViT-B/16 at 224 pixels."""

PAINTED = """async (work) => {
    const start = performance.now();
    work();
    await new Promise(done => requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = done;
        channel.port2.postMessage(0);
    }));
    return performance.now() - start;
}"""
"""Milliseconds from the input to the end of the frame that shows it."""

INTERACTIONS = """async (turns) => {
    const painted = PAINTED;
    const byId = (id) => document.getElementById(id);
    const change = (id, value) => () => {
        byId(id).value = value;
        for (const name of ["input", "change"]) byId(id).dispatchEvent(new Event(name, { bubbles: true }));
    };
    const point = (id, x, y) => () => {
        const box = byId(id).getBoundingClientRect();
        byId(id).dispatchEvent(new PointerEvent("pointermove",
            { clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true }));
    };
    const press = (id, key) => () => byId(id).dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    const nth = (selector, place) => () => {
        const all = document.querySelectorAll(selector);
        if (all.length) all[place % all.length].click();
    };
    const kinds = {
        "point at a patch": (turn) => [point("attention-board", (turn % 7 + .5) / 7, .4)],
        "layer": (turn) => [nth("#attention-layers button", turn)],
        "head": (turn) => [nth("#attention-heads button", turn)],
        "photo": (turn) => [nth("#attention .photos button", turn)],
        "method": (turn) => [change("attention-method", turn % 2 ? "gaussian" : "")],
        "opacity": (turn) => [change("attention-opacity", 20 + turn)],
        "word": (turn) => [nth("#captions-words .word", turn)],
        "class": (turn) => [nth("[data-class]", turn)],
        "guess": (turn) => [change("photos-guess", String(turn % 50))],
        "all classes": () => [change("photos-guess", ""), change("photos-truth", "")],
        "kind": (turn) => [change("photos-kind", turn % 2 ? "wrong" : "all")],
        "order": (turn) => [change("photos-sort", turn % 2 ? "sure" : "unsure")],
        "split": (turn) => [change("photos-split", turn % 2 ? "" : "0")],
        "look of a photo": (turn) => [nth("#photos-list button:not([disabled])", turn)],
        "look of all": (turn) => [() => { byId("photos-maps").click(); }],
        "more": () => [nth("#photos-more", 0)],
        "point on the map": (turn) => [point("map-canvas", .3 + turn * .01, .45)],
        "zoom": (turn) => [press("map-canvas", turn % 2 ? "+" : "-")],
        "move": (turn) => [press("map-canvas", turn % 2 ? "ArrowLeft" : "ArrowRight")],
        "neighbours": () => [press("map-canvas", "Enter")],
        "colour": (turn) => [change("map-colour", turn % 2 ? "right" : "truth")],
        "layout": (turn) => [change("map-layout", turn % 2 ? "pca" : "tsne")],
        "light and dark": () => [nth("#scheme", 0)],
    };
    const found = [];
    for (let turn = 0; turn < turns; turn++)
        for (const [name, works] of Object.entries(kinds))
            for (const work of works(turn)) {
                found.push([name, await painted(work)]);
                await new Promise(done => setTimeout(done, 5));
            }
    return found;
}""".replace("PAINTED", PAINTED)

PAN = """async (frames) => {
    const canvas = document.getElementById("map-canvas");
    canvas.scrollIntoView({ block: "center", behavior: "instant" });
    const box = canvas.getBoundingClientRect();
    const send = (name, x, y) => canvas.dispatchEvent(new PointerEvent(name,
        { clientX: box.left + x, clientY: box.top + y, pointerId: 1, bubbles: true }));
    canvas.setPointerCapture = () => {};
    const frame = () => new Promise(requestAnimationFrame);
    send("pointermove", 200, 200);
    await frame();
    const times = [await frame()];
    send("pointerdown", 200, 200);
    for (let number = 1; number <= frames; number++) {
        send("pointermove", 200 + 80 * Math.sin(number / 15), 200 + 60 * Math.cos(number / 15));
        times.push(await frame());
    }
    send("pointerup", 200, 200);
    return times.slice(1).map((time, place) => time - times[place]);
}"""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5, help="openings of each page")
    parser.add_argument("--turns", type=int, default=10, help="of every interaction")
    parser.add_argument("--frames", type=int, default=180, help="for which the map is dragged")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # What is started from here on inherits it.
    print("| photos | size | left out | first paint | input to frame: median, 95th percentile, slowest | dragging |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as driver:
        os.chdir(scratch)
        browser = driver.chromium.launch(executable_path=browsers.CHROMIUM, args=browsers.FLAGS)
        for photos in options.photos:
            make_up(photos, options.classes)
            page = Path("index.html").resolve()
            page.write_text(render_report(tiny_settings(model={"name": "google/vit"})), encoding="utf-8")
            left_out = gallery.left_out(gallery.gallery(gallery.read_gallery(), 15), {"photos": photos})
            size = f"{page.stat().st_size / 1e6:.1f} MB"
            print(f"| {photos:,} | {size} | {left_out} | {measure(browser, page, options)} |", flush=True)
        browser.close()


def measure(browser: Any, page: Path, options: argparse.Namespace) -> str:
    """The columns that a browser measures, in the table's form."""
    paints = []
    for _ in range(options.rounds):
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        opened.goto(page.as_uri())
        opened.evaluate("async () => { for (const name in Atlas.ready) await Atlas.ready[name]; }")
        paints.append(opened.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        if len(paints) < options.rounds:
            opened.close()
    found = opened.evaluate(INTERACTIONS, options.turns)
    times = [time for _, time in found]
    slowest, longest = max(found, key=lambda one: one[1])
    gaps = opened.evaluate(PAN, options.frames)
    opened.close()
    return (
        f"{statistics.median(paints):.0f} ms | {statistics.median(times):.0f}, {np.quantile(times, 0.95):.0f}, "
        f"{longest:.0f} ms ({slowest}) | {1000 * len(gaps) / sum(gaps):.0f} frames/s, {np.quantile(gaps, 0.95):.0f} ms"
    )


def make_up(photos: int, classes: int) -> None:
    """A finished result of this many photos in the current folder, a fifth of them in the test."""
    names = [f"class {number:03}" for number in range(classes)]
    synthetic.PHOTOS, synthetic.LAYERS, synthetic.HEADS = DRAWN, LAYERS, HEADS
    synthetic.ROWS = synthetic.COLUMNS = SIDE
    synthetic.PATCHES = SIDE * SIDE
    synthetic.fill(names[0])
    synthetic.write_gallery(names, photos, thumbnail())
    scramble(Path("build/attention/explorer.npz"))
    write_json("metrics/prepare.json", {"photos": photos, "classes": classes, "train": photos // 5 * 4, "val": 0,
                                        "test": photos // 5, "rejected_count": 0, "rejected": {}})  # fmt: skip
    write_json("build/prepared/classes.json", names)
    chance = np.random.default_rng(0)
    truth = np.array(names)[np.arange(photos // 5) % classes]
    guess = np.where(chance.random(len(truth)) < 0.8, truth, chance.choice(names, len(truth)))
    right = {name: float((guess == name)[truth == name].mean()) for name in names}
    write_table("plots/evaluate/confusion.csv", {"actual": truth, "predicted": guess})
    write_table(
        "build/predictions.csv",
        {
            "image_id": [f"{name}/{place}.jpg" for place, name in enumerate(truth)],
            "class_name": truth,
            "predicted_name": guess,
            "confidence": chance.random(len(truth)).round(4),
            "correct": truth == guess,
        },
    )
    scores = {name: list(right.values()) for name in ("precision", "recall", "recall_low", "recall_high", "f1")}
    write_table(
        "plots/evaluate/per_class.csv",
        {"class_name": names, "photos": photos // 5 // classes, **scores, "taken_for": names[::-1]},
    )


def write_table(path: str, columns: dict[str, Any]) -> None:
    """Write ``columns`` as CSV."""
    pd.DataFrame(columns).to_csv(path, index=False)


def thumbnail() -> bytes:
    """A JPEG of 128 x 96 pixels with about as many bytes as one of a photo."""
    chance = np.random.default_rng(0)
    coarse = Image.fromarray(chance.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    coarse.resize((128, 96), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=72, optimize=True)
    return buffer.getvalue()


def scramble(path: Path) -> None:
    """Put noise in the place of all codes."""
    chance = np.random.default_rng(0)
    arrays = read_arrays(path, "attn-viz")
    noise = {
        name: chance.integers(0, 64, values.shape, dtype=np.uint8)
        for name, values in arrays.items()
        if values.dtype == np.uint8
    }
    write_arrays(path, arrays | noise)


if __name__ == "__main__":
    main()
