from vit_atlas.io.names import safe_stems


def test_picture_names_are_safe_and_different() -> None:
    assert safe_stems(["a/26_5064.jpg", "a/My dog (2).png", "b/ñandú.jpg"]) == ["26_5064", "My_dog_2", "and"]
    assert safe_stems(["cat/1.jpg", "dog/1.jpg"]) == ["cat_1", "dog_1"]
    stems = safe_stems(["a/b_c.jpg", "a/b/c.jpg", "a_b/c.jpg", "a/b c.jpg", "a/B_C.png", "..jpg"])
    assert len({stem.lower() for stem in stems}) == 6
    assert safe_stems(["a/scores.jpg"], taken=["scores"]) == ["scores-2"]
