"""Names of any script and length in figures: fonts of the system for what DejaVu Sans lacks, and readable lengths."""

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, findfont, findSystemFonts, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

BASE = "DejaVu Sans"
"""The font of all figures; matplotlib brings it, so that figures are the same bytes on every machine."""

BOXES = "Last Resort"
"""A font whose every sign is a box."""

LONGEST_WORD = 40
"""Signs of a text without a space; of a longer one the middle is left out."""

LONGEST_LABEL = 60
"""Signs of a label at an axis, such as a class's name."""

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control and direction signs and halves of signs, which draw nothing or turn a text around; a line end may stay."""

UNSEEN = re.compile(r"[\s\u200b-\u200d\u2060\ufe00-\ufe0f]")
"""Spaces, joiners and variation selectors: a font need not have them."""

EAST_ASIAN = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "FULLWIDTH", "IDEOGRAPHIC"})
"""First words of the names of signs that are written in East Asia."""

_told: set[str] = set()


def make_legible(figure: Figure) -> None:
    """Shorten and clean the texts of a figure, and give them fonts that have their signs.

    What no font of the system has is told in one sentence on stderr, once a process; it is drawn as boxes.
    """
    for axis in figure.findobj(Axis):
        _clean_ticks(axis)
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]
    for text in texts:
        clean = legible(text.get_text())
        if clean != text.get_text():
            text.set_text(clean)
    signs = {sign for text in texts for sign in text.get_text()}
    unknown = frozenset(sign for sign in signs if not sign.isascii() and not UNSEEN.match(sign)) - _drawn_by_base(signs)
    if not unknown:
        return
    families, missing = fonts_with(unknown)
    for text in texts if families else []:
        text.set_fontfamily([BASE, *families])
    if missing - _told:
        _told.update(missing)
        shown = " ".join(sorted(missing)[:10])
        wanted = sorted({_script_and_package(sign) for sign in missing})
        packages = ", ".join(f"{package} ({script})" for script, package in wanted)
        sys.stderr.write(
            f"warning: no font of this system has {shown} ({len(missing)} signs of names): figures show boxes for "
            f"them; install Debian's {packages}, or another font, and draw again\n"
        )


def _script_and_package(sign: str) -> tuple[str, str]:
    """The script that a sign belongs to, and a package of Debian whose font has it in one colour."""
    script = re.split("[ -]", unicodedata.name(sign, "other"))[0]
    if script in EAST_ASIAN:
        return "Chinese, Japanese and Korean", "fonts-noto-cjk"
    if unicodedata.category(sign) in ("So", "Sk"):
        return "emoji and symbols; fonts of coloured ones cannot be drawn", "fonts-symbola"
    return script.capitalize(), "fonts-noto-core"


def legible(text: str) -> str:
    """``text`` with escapes for control and direction signs, and its longest words cut in the middle."""
    text = CONTROL.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)
    return re.sub(r"\S+", lambda found: _cut(found[0], LONGEST_WORD), text)


def _cut(text: str, most: int) -> str:
    """``text`` without its middle where it has more than ``most`` signs."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]}\u2026{text[-(most // 3) + 1 :]}"


@cache
def fonts_with(signs: frozenset[str]) -> tuple[list[str], frozenset[str]]:
    """Find the fewest fonts of the system that have ``signs``.

    Returns:
        Their family names, and the signs that none has.
    """
    _look_for_new_fonts()
    covered = {font.name: _covered(str(font.fname), signs) for font in _candidates()}
    families: list[str] = []
    missing = set(signs)
    while missing:
        best = max(covered, key=lambda name: len(covered[name] & missing), default="")
        if not best or not covered[best] & missing:
            break
        families.append(best)
        missing -= covered[best]
    return families, frozenset(missing)


def _candidates() -> Iterator[FontEntry]:
    """One upright font of regular weight for each family, sans-serif ones first, then by name."""
    upright = (font for font in fontManager.ttflist if font.style == "normal" and BOXES not in font.name)
    seen: set[str] = set()
    for font in sorted(upright, key=lambda font: ("Sans" not in font.name, font.name, _weight(font), str(font.fname))):
        if font.name not in seen:
            seen.add(font.name)
            yield font


def _weight(font: FontEntry) -> int:
    return abs(int(font.weight) - 400) if str(font.weight).isdigit() else 0


def _clean_ticks(axis: Any) -> None:
    """Exchange labels that stand at fixed places; their texts are made anew from the labels when they are drawn."""
    if isinstance(axis.get_major_locator(), FixedLocator):
        labels = [text.get_text() for text in axis.get_ticklabels()]
        clean = [_cut(legible(label), LONGEST_LABEL) for label in labels]
        if clean != labels:
            axis.set_ticklabels(clean)


def _drawn_by_base(signs: Iterable[str]) -> frozenset[str]:
    return _covered(findfont(BASE), signs)


def _covered(file: str, signs: Iterable[str]) -> frozenset[str]:
    """The signs that a font can draw; of a colour font, whose signs are pictures, none."""
    try:
        font = FT2Font(file)
        font.set_size(12, 72)
        known = [sign for sign in signs if font.get_char_index(ord(sign))]
        if known:
            font.load_char(ord(known[0]))
    except Exception:  # files that FreeType cannot read raise many kinds of errors
        return frozenset()
    return frozenset(known)


def _look_for_new_fonts() -> None:
    """Add what was installed after matplotlib wrote its list of fonts."""
    known = {Path(font.fname).resolve() for font in fontManager.ttflist}
    for path in sorted(findSystemFonts()):
        if Path(path).resolve() in known:
            continue
        try:
            fontManager.addfont(path)
        except Exception:  # a font that cannot be read is no font for us
            continue
