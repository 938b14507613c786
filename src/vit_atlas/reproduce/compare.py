"""Two results of one revision: the one that was committed, and the one that was just made."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import md5
from pathlib import PurePosixPath
from typing import Any, Literal, TypeGuard

from vit_atlas import paths
from vit_atlas.estimates import Estimate
from vit_atlas.io.plain import flatten

TOLERANCE = 0.05
"""How far a number without an interval of its own may move, as a part of the larger of 1 and its size."""
EXACT_STAGES = frozenset({"prepare"})
"""No arithmetic in these depends on the processor: their outs and numbers are the same everywhere, or wrong."""
SPREADS = {"article_noun": 0.15, "other_neighbours": 0.15, "noun_mass_layer": 0.1, "": 0.03}
"""Standard deviations between trainings of a captioner that are assumed where one was committed, by the beginning of a
number's name, as seen on the sample. It is trained from random weights: on a processor that rounds otherwise it ends as
another training does."""
CHOICES = frozenset({"winner", "head", "probe_c", "layer"})
"""Last parts of names: the best of several that are nearly equal. They are reported, not judged."""
VIEW = paths.REPORT.as_posix()
"""The page names the commit that was checked out when it was made: with equal inputs its own hash says nothing."""

Verdict = Literal["equal", "within", "differs", "not judged", "missing", "view"]
Overall = Literal["exact", "within tolerance", "differs"]


@dataclass(frozen=True)
class OutRow:
    """One out of one stage; the hashes are DVC's."""

    stage: str
    out: str
    committed: str | None
    now: str | None
    verdict: Verdict


@dataclass(frozen=True)
class MetricRow:
    """One value of one metrics file; ``tolerance`` is in words."""

    file: str
    metric: str
    committed: Any
    now: Any
    tolerance: str
    verdict: Verdict


def hashes(entry: Mapping[str, Any], kind: Literal["deps", "outs"]) -> dict[str, str]:
    """Read the hashes of a stage's deps or outs from its entry in dvc.lock, by path."""
    return {str(item["path"]): str(item.get("md5", "")) for item in entry.get(kind) or []}


def compare_outs(committed: Mapping[str, Any], now: Mapping[str, Any]) -> list[OutRow]:
    """Compare the outs of the stages that were run, by their hashes in the two dvc.lock files.

    Args:
        committed: the stages of the revision's dvc.lock, by name.
        now: the same of the new one, only stages that were run.
    """
    rows = []
    for stage, entry in now.items():
        old, new = hashes(committed.get(stage, {}), "outs"), hashes(entry, "outs")
        same_inputs = hashes(committed.get(stage, {}), "deps") == hashes(entry, "deps")
        for out in sorted(old.keys() | new.keys()):
            before, after = old.get(out), new.get(out)
            verdict: Verdict = "equal" if before == after else "differs" if before and after else "missing"
            if verdict == "differs" and out == VIEW and same_inputs:
                verdict = "view"
            rows.append(OutRow(stage, out, before, after, verdict))
    return rows


def compare_metrics(
    file: str, committed: Any, now: Any, tolerance: float = TOLERANCE, exact: bool = False
) -> list[MetricRow]:
    """Compare the values of one metrics file.

    A number with a bootstrap interval (``accuracy`` has ``accuracy_low`` and ``accuracy_high``) must lie in the
    committed interval; an end of the interval may move by half its width; any other number by ``tolerance``, as a part
    of the larger of 1 and its size. Where several trainings were committed, a number may also lie where one more
    training is to be expected (Student's t); a number of captions also where one was, by :data:`SPREADS`. Text, lists,
    and all values where ``exact``, must be equal.
    """
    old, new = flatten(committed), flatten(now)
    return [
        _judge(file, name, old.get(name), new.get(name), {} if exact else old, -1.0 if exact else tolerance)
        for name in [*old, *(name for name in new if name not in old)]
    ]


def _judge(file: str, name: str, old: Any, new: Any, others: Mapping[str, Any], tolerance: float) -> MetricRow:
    if old == new:
        return MetricRow(file, name, old, new, "", "equal")
    if tolerance < 0:
        return MetricRow(file, name, old, new, "none", "differs")
    if name.rpartition(".")[2] in CHOICES:
        return MetricRow(file, name, old, new, "a choice", "not judged")
    if not (_number(old) and _number(new)):
        return MetricRow(file, name, old, new, "none", "differs")
    low, high, words = _room(PurePosixPath(file).stem, name, old, others, tolerance)
    return MetricRow(file, name, old, new, words, "within" if low <= new <= high else "differs")


def _room(part: str, name: str, old: float, others: Mapping[str, Any], tolerance: float) -> tuple[float, float, str]:
    """Between which two numbers the new one must lie, and that in words."""
    own = re.sub(r"^by_seed\.\d+\.", "", name)
    estimate = Estimate.read(others, own) or Estimate()
    low, high = _another_training(own, others)
    if low >= high and not own.removesuffix("_low").removesuffix("_high").endswith(("_over_seeds", "_sd")):
        low, high = _assumed(part, own, old, tolerance)
    if low < high:
        ends = [low, high, old, *(end for end in (estimate.low, estimate.high) if end is not None)]
        low, high = min(ends), max(ends)
        return low, high, f"in [{low:.4g}, {high:.4g}], where another training may lie"
    if estimate.low is not None and estimate.high is not None:
        return estimate.low, estimate.high, f"in [{estimate.low:.4g}, {estimate.high:.4g}]"
    around = Estimate.read(others, name.removesuffix("_low").removesuffix("_high")) or Estimate()
    room = tolerance * max(1.0, abs(old))
    if around.low is not None and around.high is not None:
        room = (around.high - around.low) / 2
    return old - room, old + room, f"+/- {room:.4g}"


def _another_training(name: str, others: Mapping[str, Any]) -> tuple[float, float]:
    """The 95 % interval of one more training's number, from several that were committed; empty where there were none.

    The photos are the same in a repetition, but on another processor the training may be another one.
    """
    from scipy.stats import t

    mean, deviation, count = (others.get(key) for key in (f"{name}_over_seeds", f"{name}_sd", "trainings"))
    if not (_number(mean) and _number(deviation) and _number(count)) or count < 2:
        return 0.0, 0.0
    reach = float(t.ppf(0.975, count - 1)) * deviation * math.sqrt(1 + 1 / count)
    return mean - reach, mean + reach


def _assumed(part: str, name: str, old: float, tolerance: float) -> tuple[float, float]:
    """The 95 % interval of another training's number around that of the one committed; empty where none is assumed."""
    if part != "caption":
        return 0.0, 0.0
    spread = next(spread for start, spread in SPREADS.items() if name.startswith(start))
    reach = max(1.96 * math.sqrt(2) * spread, tolerance * abs(old))
    return old - reach, old + reach


def _number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def stale_stages(committed: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[str]]:
    """Name what changed after dvc.lock was written: by stage, the deps (not made by a stage), settings and commands."""
    made = {out for entry in now.values() for out in hashes(entry, "outs")}
    stale = {}
    for stage, entry in now.items():
        old = committed.get(stage)
        if old is None:
            stale[stage] = ["the whole stage"]
            continue
        before, after = hashes(old, "deps"), hashes(entry, "deps")
        changed = [
            path
            for path in sorted(before.keys() | after.keys())
            if before.get(path) != after.get(path) and not any(_overlap(path, out) for out in made)
        ]
        changed += [key for key in ("cmd", "params") if old.get(key) != entry.get(key)]
        if changed:
            stale[stage] = changed
    return stale


def inconsistent(file: str, content: bytes, committed: Mapping[str, Any]) -> bool:
    """Tell whether a metrics file in git is another than the one dvc.lock speaks of."""
    recorded = [
        digest for entry in committed.values() for path, digest in hashes(entry, "outs").items() if path == file
    ]
    return bool(recorded) and md5(content, usedforsecurity=False).hexdigest() not in recorded


def judge(outs: Iterable[OutRow], metrics: Iterable[MetricRow], now: Mapping[str, Any]) -> tuple[Overall, list[str]]:
    """Come to one verdict, and say what speaks against it.

    Outs that differ are within tolerance when numbers that are within tolerance speak for them: numbers that their
    stage writes or reads, or that a later stage makes of them.
    """
    rows, numbers = list(outs), list(metrics)
    wrong = [row for row in numbers if row.verdict == "differs"]
    reasons = [f"{row.file} {row.metric}" for row in wrong]
    judged = {row.file for row in numbers}
    for row in rows:
        if row.verdict in ("equal", "view"):
            continue
        if row.verdict == "missing" or row.stage in EXACT_STAGES or not _vouched(row.stage, now, judged):
            reasons.append(f"{row.stage} {row.out}")
    if reasons:
        return "differs", reasons
    return ("exact" if all(row.verdict in ("equal", "view") for row in rows) else "within tolerance"), []


def _vouched(stage: str, now: Mapping[str, Any], judged: set[str]) -> bool:
    later = _downstream(stage, now)
    written = {out for name in later for out in hashes(now[name], "outs")}
    return bool(judged & (written | set(hashes(now[stage], "deps"))))


def _downstream(stage: str, now: Mapping[str, Any]) -> set[str]:
    """Name a stage and all that read, directly or not, what it makes."""
    found, waiting = {stage}, [stage]
    while waiting:
        made = hashes(now[waiting.pop()], "outs")
        for name, entry in now.items():
            if name not in found and any(_overlap(dep, out) for dep in hashes(entry, "deps") for out in made):
                found.add(name)
                waiting.append(name)
    return found


def _overlap(one: str, other: str) -> bool:
    first, second = PurePosixPath(one), PurePosixPath(other)
    return first.is_relative_to(second) or second.is_relative_to(first)
