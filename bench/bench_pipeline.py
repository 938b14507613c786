"""How long the pipeline takes, stage by stage, at two commits: measured in one run, told as ratios.

    python bench/bench_pipeline.py OLD NEW
    python bench/bench_pipeline.py OLD NEW --data data --rounds 3 --idle-rounds 12

Each commit is cloned into a temporary folder, gets a copy of ``--data`` and runs with its own code in this environment.
The commits take turns: with ``--rounds 3`` the order is OLD NEW NEW OLD OLD NEW. Every round starts from nothing: no
cache of DVC, no checkpoints. Told are, for each commit,

- ``dvc repro`` and every stage of it (median over the rounds);
- ``dvc repro`` with nothing to do, beside that of a repository with one empty stage (medians of alternating rounds);
- going back: after ``attention.layer`` was changed and the pipeline run, the time to return to the first settings.

Nothing else should run on the machine meanwhile.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OTHER_LAYER = "attention.layer=-2"


class Clone:
    """A commit in a folder of its own, with data."""

    def __init__(self, repository: Path, revision: str, folder: Path, data: Path) -> None:
        self.folder = folder
        run(repository, "git", "clone", "--quiet", str(repository), str(folder))
        run(folder, "git", "checkout", "--quiet", "--detach", revision)
        shutil.copytree(data, folder / "data", symlinks=True)

    def reset(self) -> None:
        """Forget every result: outs, caches, checkpoints, changed files."""
        run(self.folder, "git", "checkout", "--quiet", "--", ".")
        run(self.folder, "git", "clean", "--quiet", "-ffdx", "--exclude", "/data")
        run(self.folder, "dvc", "commit", "--quiet", "--force", "data.dvc")

    def repro(self) -> dict[str, float]:
        """Seconds of every stage that ran, of all together (``total``)."""
        start = time.perf_counter()
        seconds: dict[str, float] = {}
        stage, since = "", start
        with subprocess.Popen(
            ["dvc", "repro"], cwd=self.folder, env=environment(self.folder), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if name := re.match(r"Running stage '([^']+)'", line):
                    now = time.perf_counter()
                    if stage:
                        seconds[stage] = now - since
                    stage, since = name[1], now
        if process.returncode:
            sys.exit(f"`dvc repro` failed in {self.folder}")
        end = time.perf_counter()
        if stage:
            seconds[stage] = end - since
        return seconds | {"total": end - start}


def run(folder: Path, *command: str) -> None:
    """Run a command there; stop with what it said where it fails."""
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed in {folder}:\n{done.stdout}{done.stderr}")


def environment(folder: Path) -> dict[str, str]:
    """This environment, with the folder's own package first."""
    return {**os.environ, "PYTHONPATH": str(folder / "src"), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}


def timed(folder: Path, *command: str) -> float:
    """Seconds that a command takes."""
    start = time.perf_counter()
    run(folder, *command)
    return time.perf_counter() - start


def idle(clones: dict[str, Clone], empty: Path, rounds: int) -> dict[str, float]:
    """Median seconds of `dvc repro` with nothing to do, the folders taking turns."""
    places = {name: clone.folder for name, clone in clones.items()} | {"empty repository": empty}
    times: dict[str, list[float]] = {name: [] for name in places}
    for turn in range(rounds + 1):
        for name in places if turn % 2 else reversed(places):
            seconds = timed(places[name], "dvc", "repro")
            if turn:  # The first round warms up.
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def empty_repository(folder: Path) -> Path:
    """A DVC repository of one stage that does nothing."""
    folder.mkdir()
    run(folder, "git", "init", "--quiet")
    run(folder, "dvc", "init", "--quiet")
    (folder / "file").touch()
    (folder / "dvc.yaml").write_text("stages:\n  nothing:\n    cmd: 'true'\n    deps: [file]\n")
    run(folder, "dvc", "repro")
    return folder


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="a commit, branch or tag")
    parser.add_argument("new", help="the one to compare with it")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the data folder that both use")
    parser.add_argument("--rounds", type=int, default=1, help="whole runs of each commit")
    parser.add_argument("--idle-rounds", type=int, default=12, help="runs with nothing to do, of each")
    arguments = parser.parse_args()
    repository = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as scratch:
        names = {"old": arguments.old, "new": arguments.new}
        clones = {
            name: Clone(repository, revision, Path(scratch) / name, arguments.data) for name, revision in names.items()
        }
        whole: dict[str, list[dict[str, float]]] = {name: [] for name in clones}
        for turn in range(arguments.rounds):
            for name in clones if turn % 2 == 0 else reversed(clones):
                clones[name].reset()
                whole[name].append(clones[name].repro())
                print(f"round {turn + 1}, {name}: {whole[name][-1]['total']:.1f} s", file=sys.stderr)
        stages = list(dict.fromkeys(stage for results in whole.values() for result in results for stage in result))
        medians = {
            name: {stage: statistics.median(r[stage] for r in results if stage in r) for stage in results[0]}
            for name, results in whole.items()
        }
        print(f"{'seconds':16} {'old':>8} {'new':>8} {'new/old':>8}")
        for stage in stages:
            print_row(stage, medians["old"].get(stage), medians["new"].get(stage))
        resting = idle(clones, empty_repository(Path(scratch) / "empty"), arguments.idle_rounds)
        print_row("nothing to do", resting["old"], resting["new"])
        base = resting["empty repository"]
        print(f"{'of an empty':16} {resting['old'] / base:8.2f} {resting['new'] / base:8.2f} repository's {base:.2f} s")
        back = {}
        for name, clone in clones.items():
            run(clone.folder, "dvc", "exp", "run", "--quiet", "--set-param", OTHER_LAYER)
            run(clone.folder, "git", "checkout", "--quiet", "--", "params.yaml")
            back[name] = timed(clone.folder, "dvc", "repro")
        print_row("going back", back["old"], back["new"])


def print_row(name: str, old: float | None, new: float | None) -> None:
    """One line of the table; a stage that a commit does not have is left blank."""
    cells = [f"{value:8.2f}" if value is not None else " " * 8 for value in (old, new)]
    ratio = f"{new / old:8.2f}" if old and new else ""
    print(f"{name:16} {cells[0]} {cells[1]} {ratio}")


if __name__ == "__main__":
    main()
