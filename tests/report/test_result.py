"""What the page says of its own exactness."""

from vit_atlas.report.result import faithfulness_note


def test_wide_intervals_rank_no_methods() -> None:
    narrow = {"photos_faithfulness": 8, "a.faithfulness": 0.3, "a.faithfulness_low": 0.27, "a.faithfulness_high": 0.33}
    wide = {"b.faithfulness": 0.3, "b.faithfulness_low": 0.2, "b.faithfulness_high": 0.4}
    assert "up to 0.03: it can rank" in faithfulness_note(narrow)
    assert "up to 0.10: methods cannot be ranked by it" in faithfulness_note(narrow | wide)
    assert faithfulness_note({"a.faithfulness": 0.3}) == ""
