"""Names of any script and length are drawn with fonts of the system, or one sentence says which signs have none."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from vit_atlas.figures import lettering
from vit_atlas.figures.lettering import fonts_with, legible
from vit_atlas.figures.style import new_figure, png_bytes

CAT, DOG, FLOWER, KA = "\u732b", "\u72ac", "\U0001f338", "\u0915"
"""Two Chinese signs, an emoji, and a letter of Devanagari."""


def write_font(path: Path, name: str, signs: str) -> Path:
    """A font whose every sign is a square."""
    glyphs = [".notdef", *(f"u{ord(sign):X}" for sign in signs)]
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 700), (800, 700), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({ord(sign): glyph for sign, glyph in zip(signs, glyphs[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (900, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Fonts that the system has besides matplotlib's own; a test adds files to them."""
    files: list[str] = []
    monkeypatch.setattr(lettering, "findSystemFonts", lambda: files)
    own = [font for font in fontManager.ttflist if "matplotlib" in str(font.fname)]
    monkeypatch.setattr(fontManager, "ttflist", own)
    monkeypatch.setattr(lettering, "_told", set())
    fonts_with.cache_clear()
    yield files
    fonts_with.cache_clear()


def draw(*names: str) -> tuple[list[str], bytes, list[Text]]:
    """The labels, the PNG and the texts of a chart of these names."""
    figure = new_figure(6, 4)
    axes = figure.subplots()
    axes.barh(range(len(names)), [1.0] * len(names))
    axes.set_yticks(range(len(names)), list(names))
    content = png_bytes(figure)
    return [text.get_text() for text in axes.get_yticklabels()], content, axes.get_yticklabels()


def test_signs_are_drawn_with_a_font_of_the_system(
    system: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    _, boxes, _ = draw(CAT, DOG)
    fonts_with.cache_clear()
    lettering._told.clear()
    capsys.readouterr()
    system.append(str(write_font(tmp_path / "signs.ttf", "Square Sans", CAT + DOG)))
    labels, drawn, texts = draw(CAT, DOG)
    assert labels == [CAT, DOG]
    assert {tuple(text.get_fontfamily()) for text in texts} == {("DejaVu Sans", "Square Sans")}
    assert drawn != boxes
    assert capsys.readouterr().err == ""
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_one_sentence_where_there_is_no_font(
    system: list[str], capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    for _ in range(3):
        draw(CAT, DOG + FLOWER, "caf\u00e9", KA)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"warning: no font of this system has {KA} {DOG} {CAT} {FLOWER} (4 signs of names)" in said
    assert "fonts-noto-cjk (Chinese, Japanese and Korean)" in said
    assert "fonts-noto-core (Devanagari)" in said
    assert "fonts-symbola (emoji and symbols" in said
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_the_fewest_fonts_are_taken_and_damaged_ones_passed_over(system: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    system.append(str(tmp_path / "broken.ttf"))
    system.append(str(write_font(tmp_path / "one.ttf", "A Sans", CAT)))
    system.append(str(write_font(tmp_path / "two.ttf", "B Sans", CAT + DOG)))
    assert fonts_with(frozenset({CAT, DOG, FLOWER})) == (["B Sans"], frozenset({FLOWER}))


def test_a_figure_of_latin_names_looks_for_no_font(system: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "fonts_with", lambda signs: pytest.fail(f"looked for {signs}"))
    draw("cat", "Stra\u00dfe", "caf\u00e9", "\u03b1 \u2212 \u03b2", "a\u00a0b")


def test_long_names_and_control_signs_stay_readable(recwarn: pytest.WarningsRecorder) -> None:
    names = ["a" * 230, "b " * 100, "x\u202egpj.exe\x1b[2J"]
    labels, _, _ = draw(*names)
    assert max(map(len, labels)) <= 60
    assert labels[0].startswith("aaa")
    assert "\u2026" in labels[0]
    assert labels[2] == "x\\u202egpj.exe\\x1b[2J"
    assert not [warning for warning in recwarn if "constrained_layout" in str(warning.message)]
    assert legible("two\nlines") == "two\nlines"
