"""One picture in several files, and which photos therefore, or by their group, belong in one split."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from vit_atlas.data.perceptual import near_pairs
from vit_atlas.data.remembered import Inspection


@dataclass(frozen=True)
class Duplicates:
    """Photos that show one picture, in the order of their image ids."""

    kind: str
    """`copy`: the same pixels, whatever the files' bytes. `near`: nearly the same perceptual hash."""
    members: tuple[Inspection, ...]
    distances: tuple[int, ...]
    """For each member, bits of 64 to the nearest other picture of the group; 0 of copies."""


def find_duplicates(photos: Iterable[Inspection], distance: int | None) -> list[Duplicates]:
    """Find copies, and near-duplicates within ``distance`` bits (None: none), copies first, sorted by image id.

    A group of near-duplicates holds the copies of its members too; it has at least two different pictures.
    """
    by_pixels: dict[str, list[Inspection]] = defaultdict(list)
    for item in sorted(photos, key=lambda item: item.candidate.image_id):
        by_pixels[item.pixels].append(item)
    pictures = list(by_pixels.values())
    copies = [Duplicates("copy", tuple(files), (0,) * len(files)) for files in pictures if len(files) > 1]
    return copies + (_near(pictures, distance) if distance is not None else [])


def group_of(photo: Inspection, pattern: re.Pattern[str] | None) -> str:
    """Name of the group that a photo belongs to: what ``pattern`` finds in its image id, else its table's; or empty."""
    match = pattern.search(photo.candidate.image_id) if pattern else None
    return (match[1] if match else None) or photo.candidate.group


def together(photos: Sequence[Inspection], duplicates: Iterable[Duplicates], groups: Sequence[str]) -> list[int]:
    """Number what belongs in one split: photos of one group, duplicates, and what these join.

    Args:
        photos: usable photos.
        duplicates: of these photos.
        groups: name of each photo's group, or empty.

    Returns:
        For each photo a number that it shares with those that must stay with it.
    """
    places = {id(photo): place for place, photo in enumerate(photos)}
    sets = [[places[id(member)] for member in group.members] for group in duplicates]
    named: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(groups):
        if name:
            named[name].append(place)
    return _components(len(photos), [(members[0], other) for members in (*sets, *named.values()) for other in members])


def _near(pictures: Sequence[list[Inspection]], distance: int) -> list[Duplicates]:
    hashed = [files for files in pictures if files[0].phash]
    pairs = near_pairs([files[0].phash for files in hashed], distance)
    nearest: dict[int, int] = {}
    for first, second, bits in pairs:
        for place in (first, second):
            nearest[place] = min(bits, nearest.get(place, bits))
    members: dict[int, list[tuple[Inspection, int]]] = defaultdict(list)
    component = _components(len(hashed), [(first, second) for first, second, _ in pairs])
    for place, bits in nearest.items():
        members[component[place]] += [(photo, bits) for photo in hashed[place]]
    groups = [sorted(found, key=lambda pair: pair[0].candidate.image_id) for found in members.values()]
    groups.sort(key=lambda found: found[0][0].candidate.image_id)
    return [Duplicates("near", *(tuple(column) for column in zip(*found, strict=True))) for found in groups]


def _components(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Connected component of each of ``count`` nodes."""
    if not edges:
        return list(range(count))
    first, second = np.array(edges).T
    graph = coo_matrix((np.ones(len(edges), bool), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1].tolist()
