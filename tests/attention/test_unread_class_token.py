"""A head that never reads the class token: the map that is drawn says what the answer hangs on, the class token's not.

The task is a toy whose objects' places are known. Three patches have the three patterns in a random order, and the
class is the pattern of the one that is marked; three other patches hold the same riddle in other patterns. The head
reads the mean of the patches and answers the first riddle. The class token answers the second one, for a head that is
thrown away after training: like a pretrained token that was made for something else.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForImageClassification, TimmWrapperConfig, ViTImageProcessor

from vit_atlas.attention.faithfulness import Question, deletion_insertion
from vit_atlas.attention.maps import MapOptions, make_maps
from vit_atlas.attention.passes import run_pass
from vit_atlas.models.classifier import Classifier
from vit_atlas.models.trunk import states_of_blocks

SIDE, PATCH = 32, 8
GRID = SIDE // PATCH
STRIPES = torch.cat([torch.ones(4, 8), -torch.ones(4, 8)]) * 2
PATTERNS = torch.stack([STRIPES, STRIPES.T, STRIPES * STRIPES.T / 2])
MARKS = torch.stack([2 * (-1.0) ** (torch.arange(8)[:, None] + torch.arange(8)), STRIPES])


@dataclass(frozen=True)
class Riddles:
    pixels: Tensor
    """(N, 3, side, side)"""
    answers: Tensor
    """(N, 2): the pattern that is marked, of the object and of the other riddle."""
    places: Tensor
    """(N, 2, rows, columns): whether a patch belongs to the object, and to the other riddle."""


def riddles(count: int, seed: int) -> Riddles:
    chance = torch.Generator().manual_seed(seed)
    patches = torch.randn(count, GRID * GRID, 3, PATCH, PATCH, generator=chance) * 0.3
    answers = torch.randint(0, 3, (count, 2), generator=chance)
    cells = torch.rand(count, GRID * GRID, generator=chance).argsort(dim=1)[:, :6].unflatten(1, (2, 3))
    rows = torch.arange(count)
    places = torch.zeros(count, 2, GRID * GRID)
    for which in range(2):
        shapes = PATTERNS.roll(2 * which, dims=1)
        for pattern in range(3):
            drawn = torch.zeros(count, 3, PATCH, PATCH)
            drawn[:, 0] = shapes[pattern]
            drawn[answers[:, which] == pattern, 1] = MARKS[which]
            patches[rows, cells[:, which, pattern]] = drawn
            places[rows, which, cells[:, which, pattern]] = 1
    pixels = patches.unflatten(1, (GRID, GRID)).permute(0, 3, 1, 4, 2, 5).reshape(count, 3, SIDE, SIDE)
    return Riddles(pixels, answers, places.unflatten(2, (GRID, GRID)))


def trained(seed: int) -> Classifier:
    torch.manual_seed(seed)
    sizes = {"img_size": SIDE, "patch_size": PATCH, "depth": 1, "embed_dim": 48, "num_heads": 3}
    arguments = {**sizes, "qkv_bias": False, "global_pool": "avg"}
    config = TimmWrapperConfig(architecture="vit_tiny_patch16_224", model_args=arguments, num_labels=3)
    model, thrown_away = AutoModelForImageClassification.from_config(config), nn.Linear(48, 3)
    optimizer = torch.optim.AdamW([*model.parameters(), *thrown_away.parameters()], lr=3e-3)
    photos = riddles(3000, seed)
    for _ in range(300):
        batch = torch.randint(0, len(photos.pixels), (64,))
        with states_of_blocks(model) as states:
            logits = model(photos.pixels[batch]).logits
        loss = cross_entropy(logits, photos.answers[batch, 0])
        loss += cross_entropy(thrown_away(states[-1][:, 0]), photos.answers[batch, 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Classifier(model.eval(), ViTImageProcessor(size={"height": SIDE, "width": SIDE}))


def results(seed: int) -> dict[str, tuple[float, float, float]]:
    """Of the drawn map and of the class token's: how often its peak lies on the object and on the other riddle, and the
    fall of the answer's probability without its two highest patches."""
    classifier = trained(seed)
    photos = riddles(32, seed + 100)
    trace = run_pass(classifier, photos.pixels)
    assert (trace.logits.argmax(dim=-1) == photos.answers[:, 0]).float().mean() > 0.9
    assert classifier.readout.kind == "mean of patches"
    maps = {
        "drawn": make_maps(trace, [""] * 32, ["head_mean"], MapOptions())["head_mean"],
        "class token": trace.on_grid(trace.records[-1].rows([0])[:, :, 0].mean(dim=1)).numpy(),
    }
    guesses = trace.logits.argmax(dim=-1).tolist()
    questions = [
        Question(photos.pixels[place : place + 1], guess, np.stack([values[place] for values in maps.values()]))
        for place, guess in enumerate(guesses)
    ]
    curves = deletion_insertion(classifier.model, questions, 7, fillings=["mean"])
    falls = [curve.deletion[:, 0] - curve.deletion[:, 1] for curve in curves]
    places = photos.places.flatten(2).numpy()
    found = {}
    for (name, values), fall in zip(maps.items(), np.mean(falls, axis=0), strict=True):
        peaks = places[np.arange(32), :, values.reshape(32, -1).argmax(axis=1)].mean(axis=0)
        found[name] = (float(peaks[0]), float(peaks[1]), float(fall))
    return found


def test_the_drawn_map_predicts_deletion_and_the_class_tokens_does_not() -> None:
    """In the mean of six trainings, and in most of them: some class tokens take in both riddles, and their patches too.

    Which ones depends on the processor. Where this was written it was seed 5's, and four drawn peaks in ten lay on the
    other riddle.
    """
    found = [results(seed) for seed in range(6)]
    drawn, unread = (np.mean([one[name] for one in found], axis=0) for name in ("drawn", "class token"))
    clear = [one for one in found if one["drawn"][0] > 0.7 and one["class token"][1] > 0.6]
    assert len(clear) > len(found) / 2
    assert drawn[0] > 0.7 > 0.2 > drawn[1]
    assert unread[1] > 0.6 > 0.3 > unread[0]
    assert drawn[2] > 0.4
    assert drawn[2] - unread[2] > 0.3
