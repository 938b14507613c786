"""A comparison in words: for a terminal, for a pull request, and as JSON for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from vit_atlas.comparison.compare import Comparison
from vit_atlas.comparison.paired import LEVEL, Row

SHOWN = 20
"""Changed photos that are named before it is said how many more there are."""
HEAD = ("number", "old", "new", "difference", "p", "seen from", "verdict")


def as_text(found: Comparison) -> str:
    """Draw the table of numbers, the photos that changed, the notes, and the verdicts on the last line."""
    lines = [f"old  {found.old}", f"new  {found.new}", ""]
    if found.rows:
        rows = [HEAD, *(cells(row) for row in found.rows if not _equal(row))]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        lines += ["", *legend(found)]
    lines += ["", *(f"{name:16} {amount:6.1%} of the map in another place" for name, amount in found.moved.items())]
    if found.changed:
        lines += ["", f"{changes(found)}:"]
        lines += [
            f"  {photo.change:10}  {photo.image_id} ({photo.class_name}): {photo.old} -> {photo.new}"
            + (f"  {photo.picture}" if photo.picture else "")
            for photo in found.changed[:SHOWN]
        ]
        lines += [f"  ... and {len(found.changed) - SHOWN} more (--json has all)"] if len(found.changed) > SHOWN else []
    lines += ["", *(f"note: {note}" for note in found.notes)] if found.notes else []
    return "\n".join([*lines, "", summary(found)])


def as_markdown(found: Comparison) -> str:
    """Give the same for a pull request: what has a verdict and the answers first, all other numbers folded."""
    first, others = by_weight(found)
    lines = [f"**{_escape(summary(found))}**", "", f"Old: {_escape(found.old)}, new: {_escape(found.new)}.", ""]
    lines += [*_table(first), ""] if first else []
    if others:
        lines += [f"<details><summary>{len(others)} more numbers</summary>", "", *_table(others), "", "</details>", ""]
    lines += [*legend(found), ""] if found.rows else []
    if found.changed:
        lines += [
            f"<details><summary>{changes(found)}</summary>",
            "",
            "| photo | class | old | new | |",
            "|---|---|---|---|---|",
        ]
        lines += [
            "| " + " | ".join(map(_escape, (one.image_id, one.class_name, one.old, one.new, one.change))) + " |"
            for one in found.changed[:SHOWN]
        ]
        lines += [
            "",
            *([f"and {len(found.changed) - SHOWN} more"] if len(found.changed) > SHOWN else []),
            "</details>",
            "",
        ]
    lines += [f"- {_escape(note)}" for note in found.notes]
    return "\n".join(lines).rstrip()


def by_weight(found: Comparison) -> tuple[list[Row], list[Row]]:
    """Give the rows on answers and those with a verdict, and the others; those that are equal on every photo aside."""
    first = [row for row in found.rows if row.part == "evaluate" or row.verdict in ("better", "worse", "differs")]
    return first, [row for row in found.rows if row not in first and not _equal(row)]


def as_json(found: Comparison) -> dict[str, Any]:
    """Give all of a comparison in JSON's types."""
    content = asdict(found)
    for row, shown in zip(found.rows, content["rows"], strict=True):
        shown |= {"difference": row.difference.value, "low": row.difference.low, "high": row.difference.high}
    for photo, shown in zip(found.changed, content["changed"], strict=True):
        shown["change"] = photo.change
    return content | {"summary": summary(found)}


def summary(found: Comparison) -> str:
    """Say in one sentence what is better and what is worse."""
    judged = [row for row in found.rows if row.p is not None]
    if not judged:
        return "no number could be judged"
    said = [
        f"{verdict}: {', '.join(names)}"
        for verdict in ("worse", "better", "differs")
        if (names := [row.name for row in judged if row.verdict == verdict])
    ]
    return "; ".join(said) or f"no difference seen in {len(judged)} numbers"


def legend(found: Comparison) -> Iterator[str]:
    """Say in sentences how the table is to be read."""
    judged = sum(row.p is not None for row in found.rows)
    photos = f" on {found.photos} test photos" if found.photos else ""
    trainings = "" if found.trainings == (1, 1) else f", {found.trainings[0]} and {found.trainings[1]} trainings"
    equal = sum(map(_equal, found.rows))
    if equal:
        yield f"{equal} numbers are equal on every photo."
    yield (
        f"Paired by photo{photos}{trainings}. Each interval is 95 % for its row alone; p is corrected for the {judged} "
        f"rows (Holm); a verdict needs p < {LEVEL}. A difference as large as `seen from` is seen four times in five."
    )
    if any(row.photos is None for row in found.rows):
        yield "Rows with ~ are compared by their intervals, as if the photos had been others: that sees less."


def _equal(row: Row) -> bool:
    return row.p == 1 and row.difference.low == row.difference.high == 0


def cells(row: Row) -> tuple[str, ...]:
    """Show a row, one text for each of :data:`HEAD`."""

    def number(value: float | None, spec: str = ".3f") -> str:
        return "-" if value is None else f"{value:{spec}}"

    name = row.name if row.photos is not None else f"~ {row.name}"
    change = f"{row.difference:+.3f}" if row.difference.value is not None else "-"
    chance = "<0.001" if row.corrected is not None and row.corrected < 0.001 else number(row.corrected)
    return name, number(row.old), number(row.new), change, chance, number(row.seen_from), row.verdict


def _table(rows: Sequence[Row]) -> list[str]:
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---:|---:|---|---:|---:|---|"]
    for row in rows:
        shown = list(map(_escape, cells(row)))
        if row.verdict in ("better", "worse"):
            shown[-1] = f"**{shown[-1]}**"
        lines.append("| " + " | ".join(shown) + " |")
    return lines


def changes(found: Comparison) -> str:
    """Count the photos that changed their answer, by kind of change."""
    counts = [
        (name, sum(one.change == name for one in found.changed)) for name in ("wrong now", "right now", "both wrong")
    ]
    return f"{len(found.changed)} photos changed their answer: " + ", ".join(
        f"{count} {name}" for name, count in counts
    )


def _escape(text: str) -> str:
    """Keep a name from being read as Markdown or HTML."""
    for sign in "\\`*_{}[]<>|~#":
        text = text.replace(sign, f"\\{sign}" if sign not in "<>&" else {"<": "&lt;", ">": "&gt;"}[sign])
    return " ".join(text.split())
