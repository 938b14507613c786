"""What recording attention costs: time and memory beside the plain SDPA forward and beside eager attention.

    python bench/bench_attention.py
    python bench/bench_attention.py --sizes 518 --ways sdpa rows

On a DINOv2 ViT-S/14 (12 layers, 6 heads) of each library, transformers' (the embedded ViT) and timm's (random weights),
for each image size, batch 1:

- sdpa: the plain forward;
- rows: the same with the class token's rows of all layers recorded (AttentionRecorder);
- eager: transformers' own `output_attentions=True`, which keeps every N x N map; timm's has no such thing;
- rollout: forward and attention rollout through all layers.

Times are the medians of ``--repeat`` runs that take turns within one process, the first way another one every round.
Memory is the peak of the process while it runs once, less what it held before, each time in a process of its own
(Linux: VmHWM, reset before the run); the median of three.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from vit_atlas.attention.maps import rollout
from vit_atlas.attention.passes import run_pass
from vit_atlas.attention.recorder import AttentionRecorder
from vit_atlas.models.classifier import Classifier, load_pretrained
from vit_atlas.settings import ModelSettings

WAYS = ("sdpa", "rows", "eager", "rollout")
LIBRARIES = ("transformers", "timm")


def ways(classifier: Classifier, pixels: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Each way of running the model as a function without arguments."""
    model = classifier.model

    def sdpa() -> None:
        with torch.inference_mode():
            model(pixels)

    def rows() -> list[torch.Tensor]:
        with torch.inference_mode(), AttentionRecorder(model) as recorder:
            model(pixels)
        return [recorder.rows(layer) for layer in range(recorder.layer_count)]

    def eager() -> object:
        model.set_attn_implementation("eager")
        with torch.inference_mode():
            attentions = model(pixels, output_attentions=True).attentions
        model.set_attn_implementation("sdpa")
        return attentions

    def rolled() -> torch.Tensor:
        return rollout(run_pass(classifier, pixels, gradients=False, layers=False))

    return {"sdpa": sdpa, "rows": rows, "eager": eager, "rollout": rolled}


def prepare(library: str, size: int) -> dict[str, Callable[[], object]]:
    """The ways of a library's model at one image size, on a photo of noise."""
    with tempfile.TemporaryDirectory() as folder:
        name = "embedded" if library == "transformers" else save_timm(folder)
        classifier = load_pretrained(ModelSettings(name=name, revision=None, image_size=size), ["a", "b"], seed=0)
    found = ways(classifier, torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0)))
    if library == "timm":
        del found["eager"]
    return found


def save_timm(folder: str) -> str:
    """Write timm's DINOv2 ViT-S/14 with random weights as the hub would serve it; returns the folder."""
    from transformers import AutoModelForImageClassification, TimmWrapperConfig, ViTImageProcessor

    torch.manual_seed(0)
    config = TimmWrapperConfig(architecture="vit_small_patch14_dinov2")
    model = AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    model.save_pretrained(folder)
    ViTImageProcessor().save_pretrained(folder)
    return folder


def seconds(library: str, size: int, repeat: int, asked: list[str]) -> dict[str, float]:
    """Median time of each way, the ways taking turns so that a busy machine is busy for all of them."""
    runs = {name: run for name, run in prepare(library, size).items() if name in asked}
    names = list(runs)
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeat + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            if name == "eager" and turn > 2:
                continue
            begin = time.perf_counter()
            runs[name]()
            if turn:
                times[name].append(time.perf_counter() - begin)
    return {name: median(taken) for name, taken in times.items() if taken}


def peak_megabytes(library: str, way: str, size: int) -> float:
    """Peak memory of one run, less what the process held before, in MB (10^6 bytes), measured in this process."""
    run = prepare(library, size)[way]
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    kept = run()
    peak = _status("VmHWM")
    del kept
    return (peak - before) * 1024 / 1e6


def measured_in_own_process(library: str, way: str, size: int) -> float:
    """:func:`peak_megabytes` in fresh processes, the median of three."""
    command = [sys.executable, __file__, "--memory", way, "--libraries", library, "--sizes", str(size)]
    return median(
        float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)) for _ in range(3)
    )


def _status(key: str) -> int:
    """A line of /proc/self/status in kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise KeyError(key)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[518, 896], help="image sides in pixels, multiples of 14"
    )
    parser.add_argument("--repeat", type=int, default=12, help="timed runs of each way")
    parser.add_argument("--libraries", choices=LIBRARIES, nargs="+", default=list(LIBRARIES))
    parser.add_argument("--ways", choices=WAYS, nargs="+", default=list(WAYS))
    parser.add_argument("--memory", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        print(json.dumps(peak_megabytes(arguments.libraries[0], arguments.memory, arguments.sizes[0])))
        return
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'library':12} {'size':>5} {'way':8} {'seconds':>8} {'of sdpa':>8} {'peak MB':>8} {'over sdpa':>10}")
    for library in arguments.libraries:
        for size in arguments.sizes:
            times = seconds(library, size, arguments.repeat, ["sdpa", *arguments.ways])
            peaks = {way: measured_in_own_process(library, way, size) for way in times}
            for way, taken in times.items():
                print(
                    f"{library:12} {size:5d} {way:8} {taken:8.3f} {taken / times['sdpa']:8.3f} {peaks[way]:8.0f} "
                    f"{peaks[way] - peaks['sdpa']:+10.0f}"
                )


if __name__ == "__main__":
    main()
