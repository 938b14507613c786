"""What recording attention costs: time and memory beside the plain SDPA forward and beside eager attention.

    python bench/bench_attention.py
    python bench/bench_attention.py --sizes 518 --repeat 9

On the embedded ViT-S/14 (12 layers, 6 heads), for each image size, batch 1:

- sdpa: the plain forward;
- rows: the same with the class token's rows of all layers recorded (AttentionRecorder);
- eager: transformers' own `output_attentions=True`, which keeps every N x N map;
- rollout: forward and attention rollout through all layers.

Times are the medians of ``--repeat`` runs that take turns within one process. Memory is the peak of the process while
it runs once, less what it held before, each way in a process of its own (Linux: VmHWM, reset before the run).
"""

import argparse
import json
import subprocess
import sys
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


def prepare(size: int) -> dict[str, Callable[[], object]]:
    """The ways at one image size, on a photo of noise."""
    classifier = load_pretrained(ModelSettings(name="embedded", revision=None, image_size=size), ["a", "b"], seed=0)
    return ways(classifier, torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0)))


def seconds(size: int, repeat: int) -> dict[str, float]:
    """Median time of each way, the ways taking turns so that a busy machine is busy for all of them."""
    runs = prepare(size)
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(repeat + 1):
        for name, run in runs.items():
            if name == "eager" and turn > 2:
                continue
            begin = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - begin)
    return {name: median(taken) for name, taken in times.items() if taken}


def peak_megabytes(way: str, size: int) -> float:
    """Peak memory of one run, less what the process held before, in MB (10^6 bytes), measured in this process."""
    run = prepare(size)[way]
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    kept = run()
    peak = _status("VmHWM")
    del kept
    return (peak - before) * 1024 / 1e6


def measured_in_own_process(way: str, size: int) -> float:
    """:func:`peak_megabytes` in a fresh process."""
    command = [sys.executable, __file__, "--memory", way, "--sizes", str(size)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


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
    parser.add_argument("--repeat", type=int, default=5, help="timed runs of each way")
    parser.add_argument("--memory", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        print(json.dumps(peak_megabytes(arguments.memory, arguments.sizes[0])))
        return
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'size':>5} {'way':8} {'seconds':>8} {'of sdpa':>8} {'peak MB':>8} {'over sdpa':>10}")
    for size in arguments.sizes:
        times = seconds(size, arguments.repeat)
        peaks = {way: measured_in_own_process(way, size) for way in WAYS}
        for way in WAYS:
            print(
                f"{size:5d} {way:8} {times[way]:8.2f} {times[way] / times['sdpa']:8.2f} {peaks[way]:8.0f} "
                f"{peaks[way] - peaks['sdpa']:+10.0f}"
            )


if __name__ == "__main__":
    main()
