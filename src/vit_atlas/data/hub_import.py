"""A Hugging Face data set, or a Parquet file of images, as an ordinary folder ``<split>/<class>/*``."""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from vit_atlas.data.junk import is_junk
from vit_atlas.data.photos import EXTENSIONS
from vit_atlas.data.splits import split_of
from vit_atlas.data.stickers.classification import SOURCES
from vit_atlas.data.stickers.sample import require_ours
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_folder
from vit_atlas.io.names import safe_stems

NOTE = "SOURCE.txt"
"""File in the folder that says where its photos come from."""

LABEL_COLUMNS = ("label", "labels", "class", "category", "class_name", "label_name")
"""Names of columns of text or numbers that are labels; a column of the kind ClassLabel is one under any name."""


@dataclass(frozen=True)
class Choice:
    """What of a source is taken; None is what the source itself says."""

    config: str | None = None
    revision: str | None = None
    image: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class _Source:
    splits: Mapping[str, Any]
    facts: Mapping[str, str]
    """Lines of the note: source, revision, licence."""


def import_dataset(
    source: str, folder: Path, progress: Callable[[str], None], choice: Choice = Choice(), replace: bool = False
) -> int:
    """Write the photos of ``source`` to ``folder``, encoded as they are stored, and a note about where they come from.

    Args:
        source: id of a data set on the Hugging Face hub, a Parquet file, or a folder that the library `datasets` saved
            or that holds Parquet files.
        folder: what to write; either all of it is there at the end, or nothing has changed.
        progress: takes lines about what happens.
        choice: configuration, revision and columns.
        replace: overwrite what is in ``folder``.

    Returns:
        The number of photos.

    Raises:
        AtlasError: the library is missing, the source cannot be loaded, its columns are not clear, or ``folder`` holds
            something else than the sample.
    """
    require_ours(folder, SOURCES, replace)
    with TemporaryDirectory() as scratch, _one_sentence(source):
        loaded = _load(source, choice, scratch)
        splits, skipped = _named_splits(loaded.splits)
        columns = {name: _columns(photos, choice) for name, photos in splits.items()}
        # One folder a class in all splits, whichever of two names that are much alike each of them has.
        folders = folder_names(sorted({text for _, labels in columns.values() for text in labels if text is not None}))
        with atomic_folder(folder) as target:
            report = _Report(dict(loaded.facts), skipped)
            report.renamed = {old: new for old, new in folders.items() if old != new}
            for name, photos in splits.items():
                _write_split(target, name, photos, *columns[name], folders, report)
            if not report.photos:
                raise AtlasError(f"{source} holds no labelled photo in a split that is known")
            (target / NOTE).write_text("\n".join(report.lines()) + "\n", encoding="utf-8")
    for line in report.lines():
        progress(line)
    return report.photos


class _Report:
    """What was written and what was not."""

    def __init__(self, facts: Mapping[str, str], skipped: Sequence[str]) -> None:
        self.facts = facts
        self.skipped = skipped
        self.counts: Counter[str] = Counter()
        self.unlabelled: Counter[str] = Counter()
        self.renamed: dict[str, str] = {}

    @property
    def photos(self) -> int:
        return sum(self.counts.values())

    def lines(self) -> list[str]:
        """Lines for the user and for the note; the same import gives the same lines."""
        lines = [f"{key}: {value}" for key, value in self.facts.items()]
        lines += [f"{name or 'no split'}: {count} photos" for name, count in self.counts.items()]
        lines += [
            f"{name or 'no split'}: {count} rows left out, without label or photo"
            for name, count in self.unlabelled.items()
        ]
        lines += [f"split {name} left out: not known" for name in self.skipped]
        return lines + [f"class {old!r} is the folder {new}/" for old, new in sorted(self.renamed.items())]


def _load(source: str, choice: Choice, scratch: str) -> _Source:
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError:
        raise AtlasError("importing needs the library datasets: pip install 'vit-atlas[datasets]'") from None
    path = Path(source)
    facts = {"source": source}
    if path.is_file():
        loaded = datasets.load_dataset("parquet", data_files=str(path), cache_dir=scratch)
    elif (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        loaded = datasets.load_from_disk(source)
    elif path.is_dir():
        loaded = datasets.load_dataset(source, choice.config, cache_dir=scratch)
    else:
        facts |= _hub_facts(source, choice.revision)
        loaded = datasets.load_dataset(source, choice.config, revision=facts["revision"])
    splits = loaded if isinstance(loaded, dict) else {"train": loaded}
    if "licence" not in facts:
        facts["licence"] = next(iter(splits.values())).info.license or "not stated"
    return _Source(splits, facts)


def _hub_facts(source: str, revision: str | None) -> dict[str, str]:
    from huggingface_hub import HfApi

    found = HfApi().dataset_info(source, revision=revision)
    licence: Any = found.card_data.get("license") if found.card_data else None
    licence = licence or "not stated"
    text = licence if isinstance(licence, str) else ", ".join(map(str, licence))
    return {"revision": found.sha or revision or "main", "licence": text}


@contextmanager
def _one_sentence(source: str) -> Iterator[None]:
    """Whatever the libraries raise about a source, as one sentence."""
    try:
        yield
    except AtlasError:
        raise
    except Exception as error:  # of the hub, the network, pyarrow and the library itself
        text = " ".join(str(error).split())[:300] or type(error).__name__
        hint = "add --config" if "config name is missing" in text.lower() else "check its name and the network"
        raise AtlasError(
            f"{source} could not be imported ({text}): {hint}, or give a Parquet file or a folder saved by datasets"
        ) from None


def _named_splits(splits: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Splits by our names; the only one, if its name means nothing, is none. And the names left out."""
    if len(splits) == 1:
        ((name, photos),) = splits.items()
        return {split_of(name): photos}, []
    named: dict[str, Any] = {}
    skipped = []
    for name, photos in splits.items():
        split = split_of(name)
        if split and split not in named:
            named[split] = photos
        else:
            skipped.append(name)
    return named, skipped


def _columns(photos: Any, choice: Choice) -> tuple[str, list[str | None]]:
    """The name of the photos' column, and every row's label."""
    return _image_column(photos, choice.image), _labels(photos, _label_column(photos, choice.label))


def _write_split(
    target: Path,
    split: str,
    photos: Any,
    image: str,
    labels: Sequence[str | None],
    folders: Mapping[str, str],
    report: _Report,
) -> None:
    import datasets

    stored = photos.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    digits = len(str(len(labels)))
    for number, (row, text) in enumerate(zip(stored, labels, strict=True)):
        content = _bytes(row[image])
        if text is None or content is None:
            report.unlabelled[split] += 1
            continue
        stem = safe_stems([Path((row[image].get("path") or "photo").replace("\\", "/")).name])[0][:80]
        path = target / split / folders[text] / f"{number:0{digits}d}_{stem}.{_suffix(content)}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        report.counts[split] += 1


def _labels(photos: Any, column: str) -> list[str | None]:
    """Names of the labels; None where a row has none (-1 among ClassLabels)."""
    import datasets

    kind, values = photos.features[column], list(photos[column])
    if not isinstance(kind, datasets.ClassLabel):
        return [None if value is None else str(value) for value in values]
    return [kind.names[value] if value is not None and value >= 0 else None for value in values]


def _image_column(photos: Any, wanted: str | None) -> str:
    import datasets

    features = photos.features
    fitting = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    fitting = fitting or [
        name for name, kind in features.items() if isinstance(kind, dict) and {"bytes", "path"} >= set(kind)
    ]
    return _only(features, fitting, wanted, "image")


def _label_column(photos: Any, wanted: str | None) -> str:
    import datasets

    features = photos.features
    fitting = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    fitting = fitting or [name for name in features if name.lower() in LABEL_COLUMNS]
    return _only(features, fitting, wanted, "label")


def _only(features: Mapping[str, Any], fitting: Sequence[str], wanted: str | None, what: str) -> str:
    """The column that was asked for, or the only one that fits."""
    columns = ", ".join(f"`{name}`" for name in features)
    if wanted is not None and wanted not in features:
        raise AtlasError(f"there is no column `{wanted}` for the {what}: the columns are {columns}")
    preferred = [name for name in fitting if name == what] or fitting
    if wanted is None and len(preferred) != 1:
        count = "several columns" if preferred else "no column"
        raise AtlasError(f"{count} could be the {what}: choose with --{what} one of {columns}")
    return wanted if wanted is not None else preferred[0]


def folder_names(classes: Iterable[str]) -> dict[str, str]:
    """A folder for each class: its name, changed where no folder may be called so, all distinct in any letter case."""
    taken: set[str] = set()
    folders = {}
    for name in classes:
        plain = (
            re.sub(r"[\x00-\x1f\x7f/\\]", "_", name)
            .strip(". ")
            .encode("utf-8", "replace")[:120]
            .decode("utf-8", "ignore")
        )
        if not plain or is_junk(plain):
            plain = f"class_{plain.strip('._') or 'without_name'}"
        distinct, number = plain, 2
        while distinct.casefold() in taken:
            distinct, number = f"{plain}_{number}", number + 1
        taken.add(distinct.casefold())
        folders[name] = distinct
    return folders


def _bytes(stored: Mapping[str, Any] | None) -> bytes | None:
    """The encoded photo of a row: in the row, or in the file that it names."""
    if stored is None:
        return None
    if stored.get("bytes"):
        return bytes(stored["bytes"])
    return Path(stored["path"]).read_bytes() if stored.get("path") else None


def _suffix(content: bytes) -> str:
    """File extension by what the bytes are; `bin` for what is no image that is read here."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return EXTENSIONS.get(image.format or "", ("bin",))[0]
    except Exception:  # prepare decodes it and says what is wrong
        return "bin"
