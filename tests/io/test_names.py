"""Names of outputs are safe on every system, short and distinct."""

import pytest

from vit_atlas.io.names import LONGEST_STEM, safe_stems


def test_picture_names_are_safe_and_different() -> None:
    assert safe_stems(["a/26_5064.jpg", "a/My dog (2).png", "b/ñandú.jpg"]) == ["26_5064", "My_dog_2", "and"]
    assert safe_stems(["cat/1.jpg", "dog/1.jpg"]) == ["cat_1", "dog_1"]
    stems = safe_stems(["a/b_c.jpg", "a/b/c.jpg", "a_b/c.jpg", "a/b c.jpg", "a/B_C.png", "..jpg"])
    assert len({stem.lower() for stem in stems}) == 6
    assert safe_stems(["a/scores.jpg"], taken=["scores"]) == ["scores-2"]


@pytest.mark.parametrize("name", ["CON.jpg", "nul.png", "a/aux.tiff", "com1.jpg", "Lpt9.final.jpg", "PRN"])
def test_names_that_windows_keeps_for_devices_are_not_given(name: str) -> None:
    (stem,) = safe_stems([name])
    assert stem.split(".")[0].lower() not in {"con", "nul", "aux", "com1", "lpt9", "prn"}


def test_long_names_are_shortened_and_stay_distinct() -> None:
    names = [f"cat/{'a' * 230}{end}.jpg" for end in ("1", "2")] + [f"{'d' * 200}/x.jpg", f"{'d' * 200}/y/x.jpg"]
    stems = safe_stems(names)
    assert len(set(stems)) == 4
    assert max(map(len, stems)) <= LONGEST_STEM
    assert safe_stems(names[1:2]) == [stems[1]], "a name does not depend on the photos beside it"


def test_names_without_a_latin_letter_are_distinct() -> None:
    stems = safe_stems(
        ["\u732b/1\u732b.jpg", "\u732b/\u72ac.jpg", "\u732b/\u9ce5.jpg", "\U0001f338.jpg", "%#\n\u202e.jpg"]
    )
    assert len({stem.lower() for stem in stems}) == 5
    assert all(stem.isascii() and stem for stem in stems)


def test_one_name_in_two_unicode_forms_gives_one_stem() -> None:
    assert safe_stems(["Cafe\u0301.jpg"]) == safe_stems(["Caf\u00e9.jpg"])
