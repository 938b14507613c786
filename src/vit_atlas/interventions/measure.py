"""What happens to the answer when a part of the photo is taken away: the object, the background, or the look itself.

A map shows where a model looks; only an intervention shows whether that matters. Each photo is asked again without its
background, without its object, without the map's highest patches, and without the highest patches that lie *beside* the
object; for the last two an equally large area of the same shape, somewhere else, is taken away for comparison.

What is taken away has to be filled with something, and any single filling can decide the answer by itself. Every
intervention is therefore made with several (:data:`FILLINGS`), and a photo's value is their mean. A hole with the
object's outline still shows what stood there, so the object's *box* is filled, and its silhouette with it; and blur and
mean colour are made of what is left, for a blurred orange is still an orange.

References:
    Xiao et al. 2021, Noise or Signal: The Role of Image Backgrounds in Object Recognition, https://arxiv.org/abs/2006.09994
    Hooker et al. 2019, A Benchmark for Interpretability Methods in Deep Neural Networks, https://arxiv.org/abs/1806.10758
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter

from vit_atlas.attention.passes import run_pass
from vit_atlas.data.manifest import Manifest, Photo
from vit_atlas.interventions.answers import (
    BACKGROUND,
    BESIDE,
    BESIDE_ELSEWHERE,
    COLUMNS,
    ELSEWHERE,
    FILLINGS,
    HIGHLIGHT,
    OBJECT,
    WHOLE,
)
from vit_atlas.models.classifier import Classifier
from vit_atlas.processes import shared
from vit_atlas.settings import InterventionSettings

SHIFTS = 64
"""Random places among which the one for comparison is chosen: the one that meets least of what must not be taken."""


@dataclass(frozen=True)
class Scene:
    """A photo at the size of the model's input, and what lies where."""

    photo: Photo
    pixels: np.ndarray
    """(height, width, 3) uint8."""
    object: np.ndarray
    """(height, width) bool; nowhere true where the photo has no usable mask."""
    patch: tuple[int, int]
    """Height and width of a patch in pixels."""

    @property
    def near(self) -> np.ndarray:
        """The object and a margin of one patch (height, width): what belongs to it as far as patches can tell."""
        height, width = self.patch
        return np.asarray(binary_dilation(self.object, np.ones((2 * height + 1, 2 * width + 1), bool)))

    @property
    def box(self) -> np.ndarray:
        """The rectangle (height, width) around :attr:`near`."""
        filled = np.zeros_like(self.object)
        rows, columns = np.nonzero(self.near)
        if len(rows):
            filled[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        return filled


def run_interventions(classifier: Classifier, test: Manifest, settings: InterventionSettings) -> pd.DataFrame:
    """Ask the classifier about a random sample of ``test``, whole and after every intervention.

    Args:
        classifier: the model, on any device.
        test: photos to choose from; those with masks come first.
        settings: how many photos, the share of patches that counts as the highlight, and the seed.

    Returns:
        One row a photo, intervention and filling, with :data:`COLUMNS`: ``probability`` is that of the true class,
        ``answer`` the class that was named, ``area`` the share of the photo that was taken away. Interventions on the
        object need a mask, and the one beside it an emphasis there; photos without have no such rows.

    Raises:
        AtlasError: a photo or mask cannot be opened, or the model's attention cannot be recorded.
    """
    photos = _sample(test, settings)
    scenes = [_scene(photo, classifier) for photo in photos]

    def rows(place: int) -> Iterator[tuple[object, ...]]:
        scene = scenes[place]
        for version in _answered(classifier, scene, _donor(scenes, place), settings):
            right = bool(version.answer.argmax() == scene.photo.label)
            answer = classifier.id2label[int(version.answer.argmax())]
            said = (float(version.answer[scene.photo.label]), right, answer, version.area)
            yield scene.photo.image_id, scene.photo.class_name, version.name, version.filling, *said

    found = shared(lambda places: list(rows(*places)), range(len(scenes)), 1, "Interventions")
    return pd.DataFrame(chain.from_iterable(found), columns=list(COLUMNS))


def blurred_versions(
    classifier: Classifier, photos: Manifest, settings: InterventionSettings
) -> Iterator[tuple[Photo, list["Version"]]]:
    """Make the whole photo and every intervention that is filled with blur, for pictures of them."""
    for photo in photos:
        yield photo, _answered(classifier, _scene(photo, classifier), None, settings, ("none", "blur"))


@dataclass(frozen=True)
class Version:
    """A photo after an intervention, and what the model said of it."""

    name: str
    """Key of :data:`FILLINGS`."""
    filling: str
    """How the removed region was filled."""
    area: float
    """Share of the photo that was removed."""
    pixels: np.ndarray
    """(height, width, 3) uint8."""
    answer: np.ndarray
    """Probabilities (classes,)."""


def _answered(
    classifier: Classifier,
    scene: Scene,
    donor: np.ndarray | None,
    settings: InterventionSettings,
    fillings: Sequence[str] = ("none", "blur", "mean", "other"),
) -> list[Version]:
    """The whole photo, and every intervention filled in one of ``fillings``."""
    looks, whole = _look(classifier, scene.pixels)
    # Randomness belongs to the photo: which others were chosen changes nothing.
    chance = np.random.default_rng([settings.seed, *scene.photo.image_id.encode()])
    made = [one for one in interventions(scene, looks, donor, settings.highlight, chance) if one[1] in fillings]
    # The photo itself comes first, and the pass that told where the model looks has answered it.
    answers = [whole, *class_probabilities(classifier, [pixels for *_, pixels in made[1:]])]
    return [Version(*one, answer) for one, answer in zip(made, answers, strict=True)]


def interventions(
    scene: Scene, looks: np.ndarray, donor: np.ndarray | None, share: float, chance: np.random.Generator
) -> Iterator[tuple[str, str, float, np.ndarray]]:
    """Make every version of a photo: name, filling, share of the area that was replaced, pixels (height, width, 3).

    Args:
        scene: the photo.
        looks: where the model looks (rows, columns).
        donor: pixels of a photo of another class without its object, for the filling ``other``; None leaves it out.
        share: of all patches, that counts as the highlight.
        chance: where areas for comparison lie.
    """
    highlight = highest(looks, share)
    regions = {WHOLE: np.zeros_like(scene.object)}
    regions[HIGHLIGHT] = to_pixels(highlight, scene.pixels.shape[:2])
    regions[ELSEWHERE] = to_pixels(moved(highlight, highlight, chance), scene.pixels.shape[:2])
    if scene.object.any() and not scene.object.all():
        regions[OBJECT] = ~scene.object
        if not scene.box.all():  # Of a photo that the object's box fills there is no background to ask about.
            regions[BACKGROUND] = scene.box
        near = to_patches(scene.near, looks.shape)
        beside = highlight & ~near
        if beside.any() and (~near & ~highlight).sum() >= beside.sum():
            regions[BESIDE] = to_pixels(beside, scene.pixels.shape[:2])
            regions[BESIDE_ELSEWHERE] = to_pixels(moved(beside, near | highlight, chance), scene.pixels.shape[:2])
    for name, region in regions.items():
        for filling in FILLINGS[name]:
            if filling != "other" or donor is not None:
                yield name, filling, float(region.mean()), filled(scene.pixels, region, filling, donor)


def filled(pixels: np.ndarray, region: np.ndarray, filling: str, donor: np.ndarray | None = None) -> np.ndarray:
    """Replace ``region`` (height, width) of ``pixels`` (height, width, 3) uint8.

    Blur and mean colour are made of what is left alone: an orange that is blurred in its place is still an orange.
    """
    if not region.any():
        return pixels
    if filling == "other":
        assert donor is not None
        return np.where(region[..., None], donor, pixels)
    left = (~region).astype(np.float32)[..., None]
    mean = (pixels * left).sum(axis=(0, 1)) / max(left.sum(), 1)
    new = np.broadcast_to(mean, pixels.shape)
    if filling == "blur":
        sigma = (max(pixels.shape[:2]) / 10, max(pixels.shape[:2]) / 10, 0)
        # A little of the mean everywhere: it shows where nothing that is left is near.
        near, weight = gaussian_filter(pixels * left, sigma), gaussian_filter(left, sigma)
        new = (near + 1e-3 * mean) / (weight + 1e-3)
    return np.where(region[..., None], new.round().clip(0, 255).astype(np.uint8), pixels)


def highest(looks: np.ndarray, share: float) -> np.ndarray:
    """The patches (rows, columns) with the highest values, ``share`` of all and at least one; ties by position."""
    count = max(1, round(share * looks.size))
    chosen = np.zeros(looks.size, bool)
    chosen[np.argsort(-looks.ravel(), kind="stable")[:count]] = True
    return chosen.reshape(looks.shape)


def moved(region: np.ndarray, avoid: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Shift ``region`` (rows, columns) to another place, around the edges, where it meets least of ``avoid``."""
    rows, columns = region.shape
    shifts = zip(chance.integers(0, rows, SHIFTS), chance.integers(0, columns, SHIFTS), strict=True)
    places = [np.roll(region, shift, axis=(0, 1)) for shift in shifts]
    return min(places, key=lambda place: int((place & avoid).sum()))


def to_pixels(patches: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A region of patches (rows, columns) as one of pixels (height, width)."""
    height, width = size
    return patches.repeat(height // patches.shape[0], axis=0).repeat(width // patches.shape[1], axis=1)


def to_patches(region: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """The patches (rows, columns) that a region of pixels (height, width) touches."""
    rows, columns = grid
    height, width = region.shape[0] // rows, region.shape[1] // columns
    return np.asarray(region.reshape(rows, height, columns, width).any(axis=(1, 3)))


def class_probabilities(classifier: Classifier, photos: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities (photos, classes) of photos (height, width, 3) uint8 at the size of the model's input."""
    device = next(classifier.model.parameters()).device
    with torch.inference_mode():
        pixels = classifier.pixel_values([Image.fromarray(photo) for photo in photos]).to(device)
        return classifier.model(pixels).logits.double().softmax(dim=-1).cpu().numpy()


def _look(classifier: Classifier, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Attention of what the head reads in the last layer, mean over its heads (rows, columns), and the probabilities
    (classes,)."""
    trace = run_pass(classifier, classifier.pixel_values([Image.fromarray(pixels)]), gradients=False, layers=False)
    looks = trace.read_rows(-1)[0].mean(dim=0)
    return looks.cpu().numpy(), trace.logits[0].double().softmax(dim=-1).cpu().numpy()


def _sample(test: Manifest, settings: InterventionSettings) -> list[Photo]:
    """A random sample in the order of names; photos with masks first, for they can be asked more."""
    order = sorted(test, key=lambda photo: photo.image_id)
    chance = np.random.default_rng(settings.seed).permutation(len(order))
    ranked = sorted(zip(order, chance, strict=True), key=lambda pair: (not pair[0].mask, pair[1]))
    return sorted((photo for photo, _ in ranked[: settings.photos]), key=lambda photo: photo.image_id)


def _scene(photo: Photo, classifier: Classifier) -> Scene:
    height, width = classifier.image_size
    pixels = photo.open().resize((width, height), classifier.processor.resample)
    region = np.zeros((height, width), bool)
    if photo.mask:
        stretched = Image.fromarray(photo.open_mask()).resize((width, height), Image.Resampling.NEAREST)
        region = np.asarray(stretched) == 1
    return Scene(photo, np.asarray(pixels), region, classifier.layout.patch)


def _donor(scenes: Sequence[Scene], place: int) -> np.ndarray | None:
    """The next photo of another class that has a mask, its object blurred away."""
    for scene in (*scenes[place + 1 :], *scenes[:place]):
        if scene.photo.class_name != scenes[place].photo.class_name and scene.object.any() and not scene.box.all():
            return filled(scene.pixels, scene.box, "blur")
    return None
