"""The scores of map methods as a table for DVC."""

from vit_atlas.attention.methods import SCORES
from vit_atlas.attention.summary import method_table


def metrics(**scores):
    return {
        f"{name}.{score}": value for name, values in scores.items() for score, value in zip(SCORES, values, strict=True)
    }


def test_methods_with_the_best_iou_first_by_the_names_that_figures_use():
    table = method_table(
        metrics(gaussian=(0.4, 0.3, 0.8, 0.6), relevance=(0.6, 0.7, 0.9, 0.8)) | {"winner": "relevance"}
    )
    assert list(table.columns) == ["method", *SCORES]
    assert table["method"].tolist() == ["gradient x attention", "centre Gaussian"]
    assert table["mass"].tolist() == [0.7, 0.3]


def test_without_masks_there_are_no_rows():
    table = method_table(metrics(head_mean=(None, None, None, None)))
    assert table.empty
    assert table.to_csv(index=False) == "method,miou,mass,pointing,ap\n"


def test_without_photos_that_choose_thresholds_the_other_scores_stay():
    table = method_table(metrics(head_mean=(None, 0.7, 1.0, 0.8), head_max=(None, 0.6, 1.0, 0.8)))
    assert table["method"].tolist() == ["head max", "head mean"]
    assert table["miou"].isna().all()
