"""How two results are compared, without running anything."""

from typing import Any

import pytest

from vit_atlas.reproduce import compare

METRICS = {"accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.8, "ece": 0.1, "cider": 3.0, "probe_c": 10.0}


def verdicts(committed: Any, now: Any, **options: Any) -> dict[str, str]:
    return {row.metric: row.verdict for row in compare.compare_metrics("m.json", committed, now, **options)}


@pytest.mark.parametrize(
    ("metric", "now", "verdict"),
    [
        ("accuracy", 0.7, "equal"),
        ("accuracy", 0.8, "within"),
        ("accuracy", 0.801, "differs"),
        ("accuracy", 0.599, "differs"),
        ("accuracy_low", 0.69, "within"),
        ("accuracy_low", 0.71, "differs"),
        ("ece", 0.149, "within"),
        ("ece", 0.151, "differs"),
        ("cider", 3.14, "within"),
        ("cider", 3.16, "differs"),
        ("probe_c", 100.0, "not judged"),
        ("ece", None, "differs"),
        ("ece", float("nan"), "differs"),
    ],
)
def test_tolerance_of_a_number(metric: str, now: Any, verdict: str) -> None:
    found = verdicts(METRICS, METRICS | {metric: now})
    assert found[metric] == verdict
    assert {value for name, value in found.items() if name != metric} == {"equal"}


def test_what_is_not_a_number_must_be_equal() -> None:
    old = {"layout": "folder", "rejected": [{"file": "a"}], "flag": True, "conversions": {}}
    new = {"layout": "pets", "rejected": [], "flag": False, "conversions": {"exif": 1}}
    assert set(verdicts(old, new).values()) == {"differs"}


def test_numbers_that_came_or_went_differ() -> None:
    assert verdicts({"a": 1}, {"b": 1}) == {"a": "differs", "b": "differs"}


def test_exact_files_have_no_tolerance() -> None:
    assert verdicts({"photos": 960}, {"photos": 959}, exact=True) == {"photos": "differs"}


def entry(deps: dict[str, str], outs: dict[str, str]) -> dict[str, Any]:
    """A stage's entry in dvc.lock."""
    return {
        "cmd": "x",
        "deps": [{"path": path, "md5": digest} for path, digest in deps.items()],
        "outs": [{"path": path, "md5": digest} for path, digest in outs.items()],
    }


COMMITTED = {
    "prepare": entry({"data": "d"}, {"build/prepared": "p"}),
    "finetune": entry({"build/prepared": "p"}, {"build/model": "m"}),
    "evaluate": entry({"build/model": "m"}, {"metrics/evaluate.json": "e"}),
    "report": entry({"metrics/evaluate.json": "e"}, {"report/index.html": "r"}),
}


def judged(now: dict[str, Any], metrics: dict[str, Any] | None = None) -> tuple[str, list[str]]:
    rows = compare.compare_metrics("metrics/evaluate.json", METRICS, metrics or METRICS) if "evaluate" in now else []
    return compare.judge(compare.compare_outs(COMMITTED, now), rows, now)


def with_hashes(**outs: str) -> dict[str, Any]:
    """The committed stages with other hashes for the outs of some stages, and for the deps that read them."""
    now: dict[str, Any] = {}
    changed: dict[str, str] = {}
    for stage, value in COMMITTED.items():
        ((path, digest),) = compare.hashes(value, "outs").items()
        deps = {dep: changed.get(dep, old) for dep, old in compare.hashes(value, "deps").items()}
        changed[path] = outs.get(stage, digest)
        now[stage] = entry(deps, {path: changed[path]})
    return now


def test_equal_hashes_are_exact_and_the_page_may_name_another_commit() -> None:
    assert judged(with_hashes()) == ("exact", [])
    assert judged(with_hashes(report="other")) == ("exact", [])


def test_numbers_speak_for_the_stages_before_them() -> None:
    assert judged(with_hashes(finetune="m2", evaluate="e2", report="r2"))[0] == "within tolerance"
    moved = METRICS | {"accuracy": 0.9}
    assert judged(with_hashes(finetune="m2", evaluate="e2"), moved) == ("differs", ["metrics/evaluate.json accuracy"])


def test_prepare_must_be_exact() -> None:
    assert judged(with_hashes(prepare="p2")) == ("differs", ["prepare build/prepared"])


def test_nothing_speaks_for_a_model_that_was_not_measured() -> None:
    now = with_hashes(finetune="m2")
    assert judged({"finetune": now["finetune"]}) == ("differs", ["finetune build/model"])


def test_an_out_that_is_missing_differs() -> None:
    now = with_hashes()
    now["evaluate"]["outs"] = []
    assert judged(now) == ("differs", ["evaluate metrics/evaluate.json"])


def test_stale_names_sources_and_not_what_stages_make() -> None:
    now = with_hashes(finetune="m2")
    now["prepare"]["deps"][0]["md5"] = "d2"
    now["evaluate"]["cmd"] = "y"
    assert compare.stale_stages(COMMITTED, now) == {"prepare": ["data"], "evaluate": ["cmd"]}


TRAININGS = {
    "trainings": 5,
    "noun_mass": 0.466,
    "noun_mass_over_seeds": 0.44,
    "noun_mass_over_seeds_low": 0.40,
    "noun_mass_over_seeds_high": 0.48,
    "noun_mass_sd": 0.025,
    "by_seed": {"0": {"noun_mass": 0.466}, "1": {"noun_mass": 0.41}},
}


@pytest.mark.parametrize(("now", "verdict"), [(0.396, "within"), (0.36, "differs"), (0.53, "differs")])
def test_a_number_may_lie_where_one_more_training_is_expected(now: float, verdict: str) -> None:
    """0.44 +- t(4) * 0.025 * sqrt(1.2): what another processor makes of one training is another training."""
    changed = TRAININGS | {"noun_mass": now, "by_seed": {"0": {"noun_mass": now}, "1": {"noun_mass": 0.41}}}
    rows = {row.metric: row for row in compare.compare_metrics("metrics/caption.json", TRAININGS, changed)}
    assert rows["noun_mass"].verdict == rows["by_seed.0.noun_mass"].verdict == verdict
    assert "where another training may lie" in rows["noun_mass"].tolerance


def test_the_mean_over_trainings_has_its_own_interval() -> None:
    rows = compare.compare_metrics("metrics/caption.json", TRAININGS, TRAININGS | {"noun_mass_over_seeds": 0.49})
    assert [row.verdict for row in rows if row.metric == "noun_mass_over_seeds"] == ["differs"]


PROCESSOR = {
    "bleu_4": (0.338, 0.341),
    "noun_mass": (0.466, 0.396),
    "noun_mass_layer_1": (0.498, 0.298),
    "noun_mass_over_gaussian": (0.294, 0.222),
    "noun_mass_over_gaussian_low": (0.275, 0.2),
    "noun_mass_over_gaussian_high": (0.313, 0.245),
    "article_noun_over_others": (0.108, 0.01),
    "article_noun_over_others_low": (0.08, -0.02),
    "article_noun_over_others_high": (0.134, 0.04),
}
"""The sample's captions on a processor with AVX512, and on one without."""


def test_captions_of_one_training_may_be_those_of_another_on_another_processor() -> None:
    old, new = ({name: pair[side] for name, pair in PROCESSOR.items()} for side in (0, 1))
    rows = {row.metric: row for row in compare.compare_metrics("metrics/caption.json", old, new)}
    assert {row.verdict for row in rows.values()} == {"within"}
    assert rows["noun_mass"].tolerance == "in [0.3828, 0.5492], where another training may lie"
    worse = compare.compare_metrics("metrics/caption.json", old, old | {"noun_mass": 0.3})
    assert [row.metric for row in worse if row.verdict == "differs"] == ["noun_mass"]
    looks = compare.compare_metrics("metrics/attention.json", old, new)
    assert {row.metric for row in looks if row.verdict == "differs"} > {"noun_mass", "noun_mass_over_gaussian"}
