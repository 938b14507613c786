import pytest

from tests.tiny_models import FAMILIES, tiny_model
from tests.tiny_settings import tiny
from vit_atlas.finetune.optimizer import freeze, parameter_groups
from vit_atlas.models.trunk import blocks
from vit_atlas.settings import FinetuneSettings

every_family = pytest.mark.parametrize("family", FAMILIES)


def by_name(family: str, settings: FinetuneSettings, trainable: int | None = None) -> dict[str, tuple[float, float]]:
    """(learning rate, weight decay) of every parameter that learns."""
    model = tiny_model(family)
    if trainable is not None:
        freeze(model, trainable)
    groups = parameter_groups(model, settings)
    place = {id(item): (group["lr"], group["weight_decay"]) for group in groups for item in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(place)
    return {name: place[id(item)] for name, item in model.named_parameters() if id(item) in place}


@every_family
def test_rates_fall_from_the_last_block_down(family: str) -> None:
    settings = tiny(FinetuneSettings, learning_rate=1.0, head_learning_rate=5.0, layer_decay=0.5)
    rates = {name: rate for name, (rate, _) in by_name(family, settings).items()}
    path = blocks(tiny_model(family))[0]
    for block, expected in enumerate([0.125, 0.25, 0.5, 1.0]):
        assert {rate for name, rate in rates.items() if name.startswith(f"{path}.{block}.")} == {expected}
    assert {rate for name, rate in rates.items() if ".embeddings." in name} == {0.0625}
    assert {rate for name, rate in rates.items() if ".layernorm." in name and path not in name} == {1.0}
    assert {rate for name, rate in rates.items() if name.startswith("classifier")} == {5.0}


@every_family
def test_only_matrices_are_decayed(family: str) -> None:
    decays = {name: decay for name, (_, decay) in by_name(family, tiny(FinetuneSettings, weight_decay=0.3)).items()}
    spared = [name for name, decay in decays.items() if decay == 0]
    assert all(
        name in spared
        for name in decays
        if name.endswith(("bias", "token", "tokens", "position_embeddings", "lambda1")) or "norm" in name
    )
    assert all(decays[name] == 0.3 for name in decays if name.endswith(("fc1.weight", "q_proj.weight")))
    assert decays["classifier.weight"] == 0.3


def test_head_learns_as_the_last_block_unless_told_otherwise() -> None:
    assert by_name("vit", tiny(FinetuneSettings, learning_rate=0.5))["classifier.weight"][0] == 0.5


def test_first_group_is_the_last_blocks() -> None:
    settings = tiny(FinetuneSettings, learning_rate=0.5, head_learning_rate=4.0, layer_decay=0.9)
    assert parameter_groups(tiny_model("vit"), settings)[0]["lr"] == 0.5


@every_family
@pytest.mark.parametrize(("trainable", "learning"), [(0, []), (1, [3]), (3, [1, 2, 3])])
def test_freezing(family: str, trainable: int, learning: list[int]) -> None:
    path = blocks(tiny_model(family))[0]
    names = by_name(family, tiny(FinetuneSettings), trainable)
    found = {int(name.split(f"{path}.")[1].split(".")[0]) for name in names if name.startswith(f"{path}.")}
    assert sorted(found) == learning
    assert any(".layernorm." in name and path not in name for name in names) == bool(trainable)
    assert not any("embeddings" in name for name in names)
    assert "classifier.weight" in names
