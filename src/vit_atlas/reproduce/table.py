"""A reproduction in words: for people, and as JSON for programs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from vit_atlas.reproduce.run import Reproduction

SHOWN = 40
"""Rows of numbers that moved which the table shows before it says how many more there are."""


def as_text(result: Reproduction) -> str:
    """Draw the table of outs, the numbers that moved, the notes, and the verdict on the last line."""
    lines = [
        f"revision  {result.revision.sha[:12]} ({result.revision.name}): {result.revision.subject()}",
        f"data      from {result.source}" + "".join(f"; {path} {digest[:8]}" for path, digest in result.data.items()),
        f"time      {result.seconds:.0f} s",
        "",
    ]
    outs = [(row.stage, row.out, _short(row.committed), _short(row.now), row.verdict) for row in result.outs]
    lines += _table(("stage", "out", "committed", "now", "verdict"), outs)
    counts = Counter(row.verdict for row in result.metrics)
    if counts:
        lines += ["", "numbers: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())]
    moved = sorted((row for row in result.metrics if row.verdict != "equal"), key=lambda row: row.verdict != "differs")
    if moved:
        rows = [
            (row.file, row.metric, _value(row.committed), _value(row.now), row.tolerance, row.verdict)
            for row in moved[:SHOWN]
        ]
        lines += ["", *_table(("file", "metric", "committed", "now", "tolerance", "verdict"), rows)]
        lines += [f"... and {len(moved) - SHOWN} more (--json has all)"] if len(moved) > SHOWN else []
    lines += ["", *(f"note: {note}" for note in result.notes)] if result.notes else []
    return "\n".join([*lines, "", _verdict(result)])


def as_json(result: Reproduction) -> dict[str, Any]:
    """Give all of a reproduction in JSON's types."""
    return {
        "revision": result.revision.name,
        "commit": result.revision.sha,
        "verdict": result.verdict,
        "against": result.against,
        "data": {"from": result.source, "hashes": result.data},
        "seconds": round(result.seconds, 1),
        "outs": [asdict(row) for row in result.outs],
        "metrics": [asdict(row) for row in result.metrics],
        "notes": result.notes,
    }


def _verdict(result: Reproduction) -> str:
    if result.verdict == "exact":
        equal = sum(row.verdict == "equal" for row in result.outs)
        page = ", and the page was made from the same inputs" if equal < len(result.outs) else ""
        return f"exact: {equal} outs are byte for byte what dvc.lock records{page}"
    if result.verdict == "within tolerance":
        return "within tolerance: bytes differ, every number that was compared is within its tolerance"
    named = ", ".join(result.against[:5]) + (f" and {len(result.against) - 5} more" if len(result.against) > 5 else "")
    return f"differs: {named}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]


def _short(digest: str | None) -> str:
    return digest[:8] if digest else "-"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "-" if value is None else str(value)
    return text if len(text) <= 30 else f"{text[:27]}..."
