"""What the package offers to Python: open a classifier, record its attention, make maps, score them, explain, caption.

Every name here is also ``from vit_atlas import ...``, which loads torch only when a name is used. Photos are paths,
bytes or PIL images; maps are NumPy arrays over the patches.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vit_atlas.attention.maps import MapOptions
from vit_atlas.attention.methods import METHODS, needing
from vit_atlas.attention.recorder import record_attention
from vit_atlas.attention.scores import comparison_size, resize_mask, score_photo, usable
from vit_atlas.captioning.model.words import Caption
from vit_atlas.data.photos import Source, open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.explain.classify import Classification, classify, find_labels
from vit_atlas.models.classifier import Classifier, open_classifier
from vit_atlas.paths import CAPTIONER

__all__ = [
    "Classification",
    "caption",
    "explain_photos",
    "make_map",
    "open_classifier",
    "open_photo",
    "record_attention",
    "score_map",
]


def make_map(
    classifier: Classifier,
    photo: Source,
    method: str = "head_mean",
    target: int | None = None,
    layer: int = -1,
    head: int | None = None,
) -> np.ndarray:
    """Make one map of one photo.

    Args:
        classifier: from :func:`open_classifier`.
        photo: a path, the bytes of a file, a file object or a PIL image.
        method: a key of :data:`vit_atlas.attention.methods.METHODS`.
        target: label of the class that class-specific methods explain; None is the likeliest.
        layer: for methods that read one layer; negative counts from the last.
        head: for ``best_head``.

    Returns:
        The map (rows, columns) over the patches, float32, not negative; its scale means nothing.

    Raises:
        AtlasError: the photo cannot be read or is smaller than a patch, or there is no such method or head.

    Example::

        classifier = open_classifier("build/model")
        heat = make_map(classifier, "photo.jpg", "relevance")
    """
    return _classified(classifier, photo, [method], target, MapOptions(layer, head)).maps[method]


def score_map(heat: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Score a map against the object's mask.

    Args:
        heat: (rows, columns), not negative.
        mask: (height, width) at the photo's size: 1 object, 0 background, 255 counts for neither.

    Returns:
        ``mass`` (share of the map on the object), ``pointing`` (1 if its highest point is), ``ap`` (average precision),
        and ``best_iou``, the IoU at the threshold that suits this very photo best: an upper bound, where
        metrics/attention.json has the IoU at a threshold chosen on other photos.

    Raises:
        AtlasError: the mask has no object or no background.

    Example::

        scores = score_map(heat, np.asarray(Image.open("mask.png")) > 0)
    """
    small = resize_mask(np.asarray(mask).astype(np.uint8), comparison_size((mask.shape[0], mask.shape[1])))
    if not usable(small):
        raise AtlasError("the mask must have pixels of the object (1) and of the background (0)")
    found = score_photo(np.asarray(heat, dtype=np.float32)[None], small)
    scores = {"mass": found.mass[0], "pointing": found.pointing[0], "ap": found.ap[0], "best_iou": found.iou[0].max()}
    return {name: float(value) for name, value in scores.items()}


def explain_photos(
    classifier: Classifier,
    photos: Sequence[Source],
    methods: Sequence[str] = ("head_mean",),
    classes: Sequence[str] = (),
) -> Iterator[Classification]:
    """Explain photos, each as soon as the one before it is done with.

    Args:
        classifier: from :func:`open_classifier`.
        photos: paths, bytes of files, file objects or PIL images.
        methods: keys of :data:`vit_atlas.attention.methods.METHODS`.
        classes: names of classes to compare the answer with ("why not the right one?"), by the class-specific methods.

    Raises:
        AtlasError: a photo cannot be read or is smaller than a patch, or there is no such method or class.

    Example::

        for found in explain_photos(open_classifier(), ["one.jpg", "two.jpg"]):
            print(found.predictions[0], found.maps["head_mean"].shape)
    """
    labels = find_labels(classifier.id2label, classes, "class")
    for photo in photos:
        yield _classified(classifier, photo, methods, None, MapOptions(), labels)


def caption(photo: Source, captioner: str | Path = CAPTIONER, beams: int = 3) -> Caption:
    """Caption a photo; every word of the caption has the map of where the captioner looked for it.

    Args:
        photo: a path, the bytes of a file, a file object or a PIL image.
        captioner: a folder that caption-train wrote.
        beams: captions followed at the same time; 1 is greedy.

    Returns:
        ``text``, and ``words``, each with ``text``, ``log_probability`` and ``map()`` (rows, columns), summing to 1.

    Raises:
        AtlasError: there is no captioner, or the photo cannot be read or is too small.

    Example::

        for word in caption("photo.jpg").words:
            print(word.text, word.map().argmax())
    """
    from vit_atlas.captioning.model.captioner import SearchOptions
    from vit_atlas.captioning.opening import open_captioner

    (written,) = open_captioner(Path(captioner)).caption([open_photo(photo)], SearchOptions(beams=beams))
    return written


def _classified(
    classifier: Classifier,
    photo: Source,
    methods: Sequence[str],
    target: int | None,
    options: MapOptions,
    classes: Sequence[int] = (),
) -> Classification:
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise AtlasError(f"there is no map method {unknown[0]}: use {', '.join(METHODS)}")
    if options.head is None and needing(methods, "chosen_head"):
        raise AtlasError("best_head needs the number of a head: give head=")
    name = str(photo) if isinstance(photo, str | Path) else "the photo"
    return classify(classifier, open_photo(photo), name, methods, options, target, classes)
