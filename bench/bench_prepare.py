"""prepare on many files, some of them broken in fifteen ways: photos a second, memory, and what a second run costs.

    python bench/bench_prepare.py [OLD NEW] [--files 20000] [--folder /tmp]

Makes a folder of 500x375 JPEGs, no two of the same pixels, of which 2 % are broken, and runs the prepare stage on it
three times: at first, again, and after 100 photos were added. Prints for each run the seconds, the photos a second and
how many cores were busy; the memory of all its processes at its highest, and of the largest worker in the first and the
last quarter of the run; and how many broken files the stage named, of how many. Linux only (it reads /proc).

With two commits, the stage of each runs on the same folder, in turn and from nothing, and the ratio of the
medians of ``--rounds`` such turns is printed.
"""

import argparse
import csv
import io
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.data.broken_files import BROKEN, place_broken  # noqa: E402 (a script has no package)

CLASSES = 20
SIZE = (500, 375)
VARIANTS = 256
"""Photos that are made of one picture, by other factors for its brightness and its colours."""


@dataclass
class Use:
    """What a run took: seconds, cores busy, and the memory in MB at each look, of all processes and of a worker."""

    seconds: float = 0.0
    cores: float = 0.0
    said: str = ""
    whole: list[float] = field(default_factory=list)
    worker: list[float] = field(default_factory=list)


def pictures(count: int) -> list[bytes]:
    """JPEGs of smooth colours with grain, 40 to 60 KB each as photos of this size are."""
    made = []
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
        grain = rng.normal(0, 7, (SIZE[1], SIZE[0], 1))
        pixels = (np.asarray(coarse) * 0.6 + 50 + grain).clip(0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
        made.append(buffer.getvalue())
    return made


def variant(jpeg: bytes, number: int) -> bytes:
    """``jpeg`` with other quantizers for the mean brightness and colours of its blocks: other pixels, the same work."""
    changed = bytearray(jpeg)
    first = changed.index(b"\xff\xdb") + 5
    second = changed.index(b"\xff\xdb", first) + 5
    changed[first], changed[second] = 3 + number % 16, 3 + number // 16
    return bytes(changed)


def write_photos(folder: Path, count: int) -> dict[str, str]:
    """Write the photos and the broken files; return what prepare must say of the latter."""
    folders = [folder / f"class_{number:02d}" for number in range(CLASSES)]
    for place in folders:
        place.mkdir(parents=True)
    copies = max(1, count * 2 // 100 // len(BROKEN))
    sound = count - copies * len(BROKEN)
    made = pictures(-(-(sound + 100) // VARIANTS))
    for number in range(sound):
        content = variant(made[number // VARIANTS], number % VARIANTS)
        (folders[number % CLASSES] / f"{number:06d}.jpg").write_bytes(content)
    expected = place_broken(folders[0], copies)
    add_photos(folder, made[-1])
    return {f"{folders[0].name}/{name}": kind for name, kind in expected.items()}


def add_photos(folder: Path, jpeg: bytes) -> None:
    """Keep 100 photos more beside the classes, for the third run."""
    (folder / "new").mkdir()
    for number in range(100):
        (folder / "new" / f"new_{number}.jpg").write_bytes(variant(jpeg, VARIANTS - 1 - number))


def run_stage(project: Path, code: Path = ROOT) -> Use:
    """Run the prepare stage of ``code`` in ``project`` and watch it."""
    write_params(project, code)
    use = Use()
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, code / "stages" / "prepare.py"],
            cwd=project,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(code / "src")},
        )
        while process.poll() is None:
            look(process.pid, use)
            time.sleep(0.25)
        use.seconds = time.perf_counter() - begin
        log.seek(0)
        text = log.read()
    if process.returncode:
        sys.exit(text[-2000:])
    use.said = "".join(f"  {line}\n" for line in text.splitlines() if " decoded, " in line)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    use.cores = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / use.seconds
    return use


def write_params(project: Path, code: Path) -> None:
    """Settings of ``code``, with a limit that photos of the bench pass."""
    text = (code / "params.yaml").read_text()
    (project / "params.yaml").write_text(re.sub(r"max_pixels: \d+", "max_pixels: 1000000", text))


def compare(project: Path, commits: list[str], files: int, rounds: int) -> None:
    """Run the stage of each commit in turn, and print the ratio of the median times."""
    times: dict[str, list[float]] = {commit: [] for commit in commits}
    with tempfile.TemporaryDirectory(prefix="bench-code-") as name:
        for commit in commits:
            archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
            (Path(name) / commit).mkdir()
            subprocess.run(["tar", "x"], cwd=Path(name) / commit, input=archive, check=True)
        for commit in [*commits, *reversed(commits)] * rounds:
            shutil.rmtree(project / ".verify-cache", ignore_errors=True)
            use = run_stage(project, Path(name) / commit)
            tell(commit, use, files)
            times[commit].append(use.seconds)
    old, new = (median(times[commit]) for commit in commits)
    sys.stdout.write(f"{commits[1]} takes {new / old:.2f} times as long as {commits[0]}\n")


def look(process: int, use: Use) -> None:
    """Note the memory of ``process`` and its workers; pages that they share count once (PSS)."""
    try:
        workers = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        sizes = [proportional(int(worker)) for worker in workers]
        use.whole.append(proportional(process) + sum(sizes))
        use.worker.append(max(sizes, default=0.0))
    except (FileNotFoundError, ProcessLookupError):
        return


def proportional(process: int) -> float:
    """Memory of one process in MB, its share of shared pages included."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024


def named(project: Path, expected: dict[str, str]) -> tuple[int, int]:
    """How many of the broken files, and of their kinds, the table of rejected files names rightly; all, or it ends."""
    with (project / "build/prepared/rejected.csv").open(newline="", encoding="utf-8") as handle:
        found = {row["file"]: row["kind"] for row in csv.DictReader(handle)}
    if found != expected:
        wrong = {name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)}
        sys.exit(f"{len(wrong)} files are named wrongly, such as {min(wrong)}")
    return len(found), len(BROKEN)


def tell(title: str, use: Use, files: int) -> None:
    """Print one run."""
    quarter = max(1, len(use.worker) // 4)
    workers = f"largest worker {max(use.worker[:quarter]):.0f} then {max(use.worker[-quarter:]):.0f} MB"
    sys.stdout.write(
        f"{title}: {use.seconds:.1f} s, {files / use.seconds:.0f} files/s, {use.cores:.2f} cores busy; "
        f"memory {max(use.whole):.0f} MB, {workers}\n{use.said}"
    )


def main() -> None:
    """Make the folder, run the stage three times, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs="*", metavar="COMMIT", help="two commits to compare")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=6, help="turns there and back: each commit runs twice as often")
    parser.add_argument("--folder", type=Path, help="where to make them; the system's temporary folder if not given")
    options = parser.parse_args()
    if len(options.commits) not in (0, 2):
        parser.error("give two commits, or none")
    with tempfile.TemporaryDirectory(prefix="bench-prepare-", dir=options.folder) as name:
        project = Path(name)
        data = project / "data" / "classification"
        begin = time.perf_counter()
        expected = write_photos(data, options.files)
        (data / "new").rename(project / "new")
        os.sync()
        sys.stdout.write(f"{options.files} files made in {time.perf_counter() - begin:.0f} s\n")
        if options.commits:
            compare(project, options.commits, options.files, options.rounds)
            return
        tell("first run", run_stage(project), options.files)
        sys.stdout.write("  named: {} broken files of {} kinds, all\n".format(*named(project, expected)))
        tell("again", run_stage(project), options.files)
        for path in (project / "new").iterdir():
            path.rename(data / "class_01" / path.name)
        tell("100 photos added", run_stage(project), options.files + 100)
        named(project, expected)


if __name__ == "__main__":
    main()
