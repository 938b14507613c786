"""A large folder of photos from `vit-atlas data check` to `dvc repro` with nothing to do: seconds and memory.

    python bench/bench_scale.py [--photos 100000] [--whole] [--folder /tmp]

Makes a project with that many 500x375 JPEGs (no two of the same pixels, nearly-equal ones among them) and a tiny random
ViT, and prints a table of Markdown: what each command took, by the clock and of all processors together (which a busy
machine changes less), and the memory of its largest process at its highest. After prepare and evaluate the other stages
are not run: placeholders take their outs' places, and `dvc commit` calls them done, which is all that `dvc repro` with
nothing to do looks at. With ``--whole`` they are run, and the size of the page is told. Reading photos for training is
compared with torchvision's ImageFolder in a plain loop, in turns, with the same transforms and workers.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from bench_prepare import CLASSES, VARIANTS, pictures, variant

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.project import STAGES, Project, make_project  # noqa: E402 (a script has no package)

READ = 512
"""Photos of each turn of reading."""
IDLE = 5
WATCH = """
import resource, subprocess, sys, time
begin = time.perf_counter()
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"\\n{time.perf_counter() - begin} {used.ru_utime + used.ru_stime} {used.ru_maxrss}")
sys.exit(code)
"""
"""A small process in between: Linux counts the memory of the process that starts a command to that command's."""
SIZE = 224
SETTINGS: dict[str, dict[str, Any]] = {
    "model": {"name": "tiny-vit", "image_size": 32},
    "finetune": {"epochs": 1, "batch_size": 64, "cached_views": 1, "linear_probe": False},
}


def main() -> None:
    """Make the project, run the commands, print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--whole", action="store_true", help="run all stages, report among them")
    parser.add_argument("--workers", type=int, default=2, help="processes that read photos for training")
    parser.add_argument("--turns", type=int, default=12, help="of reading; 0 compares no reading")
    parser.add_argument("--folder", type=Path, help="where to make it; the system's temporary folder if not given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-scale-", dir=options.folder) as name:
        project = make_project(ROOT, Path(name) / "project")
        for section, values in SETTINGS.items():
            project.set(section, **values)
        shutil.rmtree(project.folder / "data" / "classification")
        write_photos(project.folder / "data" / "classification", options.photos)
        print(f"| {options.photos:,} photos of 500x375 | seconds | of the processor | largest process, MB |")
        print("|---|---|---|---|", flush=True)
        timed(project, "`vit-atlas data check`", "vit-atlas", "data", "check", "data/classification")
        timed(project, "`dvc add data`", "dvc", "add", "--quiet", "data")
        timed(project, "prepare, first", sys.executable, "stages/prepare.py")
        timed(project, "prepare, second", sys.executable, "stages/prepare.py")
        write_model(project)
        timed(project, f"evaluate, {options.photos // 5:,} test photos", sys.executable, "stages/evaluate.py")
        if options.whole:
            timed(project, "`dvc repro`, all stages", "dvc", "repro", "--quiet")
        else:
            pretend(project)
        timed(project, f"`dvc repro` with nothing to do (median of {IDLE})", "dvc", "repro", "--quiet", times=IDLE)
        if options.whole:
            timed(project, "report", sys.executable, "stages/report.py")
            print(f"\nThe page has {(project.folder / 'report/index.html').stat().st_size / 1e6:.2f} MB.")
        os.chdir(project.folder)
        if options.turns:
            compare_reading(options.workers, options.turns)


def write_photos(folder: Path, count: int) -> None:
    """Write ``count`` photos into folders of classes."""
    folders = [folder / f"class_{number:02d}" for number in range(CLASSES)]
    for place in folders:
        place.mkdir(parents=True)
    made = pictures(-(-count // VARIANTS))
    for number in range(count):
        content = variant(made[number // VARIANTS], number % VARIANTS)
        (folders[number % CLASSES] / f"{number:06d}.jpg").write_bytes(content)


def timed(project: Project, title: str, *command: str, times: int = 1) -> None:
    """Run a command and print what it took: the median of several times, and the largest process of all."""
    seconds, computed, largest = [], [], 0
    environment = project.environment() | {"PYTHONPATH": str(ROOT / "src"), "MLFLOW_TRACKING_URI": "none://"}
    for _ in range(times):
        done = subprocess.run(
            [sys.executable, "-c", WATCH, *command], cwd=project.folder, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)}:\n{done.stdout[-1000:]}{done.stderr[-3000:]}")
        took, processor, memory = done.stdout.rsplit("\n", 2)[1].split()
        seconds.append(float(took))
        computed.append(float(processor))
        largest = max(largest, int(memory))
    row = f"{statistics.median(seconds):.1f} | {statistics.median(computed):.1f} | {largest / 1024:.0f}"
    print(f"| {title} | {row} |", flush=True)


def write_model(project: Project) -> None:
    """A random model where finetune writes it, and no linear probe."""
    code = (
        "from vit_atlas.data.manifest import read_classes\n"
        "from vit_atlas.finetune.probe import write_probe\n"
        "from vit_atlas.models.classifier import load_pretrained\n"
        "from vit_atlas.settings import load_settings\n"
        "load_pretrained(load_settings().model, read_classes(), 0).save('build/model')\n"
        "write_probe(None, {})\n"
    )
    project.run(sys.executable, "-c", code)


def pretend(project: Project) -> None:
    """Put small files where outs are missing, and have DVC call every stage done."""
    stages = yaml.safe_load((project.folder / "dvc.yaml").read_text())["stages"]
    for name in STAGES:
        for out in stages[name]["outs"]:
            path = project.folder / (out if isinstance(out, str) else next(iter(out)))
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{path.name}\n")
    project.run("dvc", "commit", "--quiet", "--force")


def compare_reading(workers: int, turns: int) -> None:
    """Print how many photos a second training reads, beside a plain loop over the same files."""
    import torch
    from torch.utils.data import DataLoader, Subset
    from torchvision.datasets import ImageFolder

    from vit_atlas.data.augmentation import PhotoAugmentation
    from vit_atlas.data.manifest import Manifest
    from vit_atlas.settings import load_settings
    from vit_atlas.training.datasets import AugmentedPhotos, EpochSampler

    torch.set_num_threads(1)
    augment = load_settings().augment
    augmentation = PhotoAugmentation(augment, (SIZE, SIZE), (0.5,) * 3, (0.5,) * 3, 3, 0)
    train = Manifest.read().require("train")
    ours = AugmentedPhotos(train, augmentation)
    draws = list(EpochSampler(len(train), 0))[:READ]
    plain = Subset(
        ImageFolder("data/classification", transform=plain_transforms(augment)), [index for _, index in draws]
    )
    loops: dict[str, Callable[[], DataLoader[Any]]] = {
        "ours": lambda: DataLoader(ours, sampler=draws, batch_size=64, num_workers=workers),
        "ImageFolder": lambda: DataLoader(plain, batch_size=64, num_workers=workers),
    }
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(turns):
        for name in loops if turn % 2 == 0 else reversed(loops):
            begin = time.perf_counter()
            for _ in loops[name]():
                pass
            rates[name].append(len(draws) / (time.perf_counter() - begin))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(
        f"\nReading for training, {workers} workers, {SIZE} px (medians of {turns} alternating turns of {len(draws)} "
        f"photos): {medians['ours']:.0f} photos/s, ImageFolder {medians['ImageFolder']:.0f}; ratio "
        f"{medians['ours'] / medians['ImageFolder']:.2f}"
    )


def plain_transforms(augment: Any) -> Any:
    """The same augmentation as torchvision's examples write it, with its own randomness."""
    import torch
    from torchvision.transforms import InterpolationMode, v2

    return v2.Compose(
        [
            v2.PILToTensor(),
            v2.RandomResizedCrop(
                SIZE,
                scale=augment.crop_scale,
                ratio=augment.crop_ratio,
                interpolation=InterpolationMode.BICUBIC,
                antialias=True,
            ),
            v2.RandomHorizontalFlip(augment.horizontal_flip),
            v2.AutoAugment(interpolation=InterpolationMode.BILINEAR, fill=[128, 128, 128]),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )


if __name__ == "__main__":
    main()
