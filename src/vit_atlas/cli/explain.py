"""`vit-atlas explain`: what the model makes of your photos."""

import os
import sys
from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vit_atlas.attention.methods import METHODS, class_specific
from vit_atlas.errors import AtlasError
from vit_atlas.models.hub import require_folder, require_processor
from vit_atlas.paths import MODEL

if TYPE_CHECKING:
    from vit_atlas.explain.classify import Classification
    from vit_atlas.explain.page import Page
    from vit_atlas.explain.run import Explainer, Explanation, Other

DEFAULT_OUT = Path("explain")

ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="A saved Hugging Face image classifier (folder or hub id); build/model by default."),
]
CaptionerOption = Annotated[
    Path | None,
    typer.Option("--captioner", help="A captioner's folder; build/captioner where there is one by default."),
]
CaptionOption = Annotated[bool, typer.Option("--caption/--no-caption", help="Write a caption, word by word.")]
MethodOption = Annotated[
    list[str] | None,
    typer.Option("--method", help=f"How maps are made, repeatable: {', '.join(METHODS)}.", show_default="head_mean"),
]
LayerOption = Annotated[
    int, typer.Option("--layer", help="Layer of head_mean, head_max and best_head, 1 is the first, -1 the last.")
]


def explain(
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO",
            help="Photos, folders (with all below), globs in quotes ('photos/**/*.jpg'), or - for paths on stdin.",
        ),
    ],
    model: ModelOption = None,
    captioner: CaptionerOption = None,
    caption: CaptionOption = True,
    method: MethodOption = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="Why not this class? Its maps beside the answer's, and their difference, repeatable; by default of "
            f"{', '.join(class_specific())}.",
        ),
    ] = None,
    compare_with: Annotated[
        str | None,
        typer.Option(help="Another saved classifier (folder or hub id), whose answer and maps stand beside."),
    ] = None,
    layer: LayerOption = -1,
    out: Annotated[
        Path | None, typer.Option(help="Folder of pictures and index.html.", show_default=str(DEFAULT_OUT))
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object a photo on stdout; pictures are drawn only with --out."),
    ] = False,
) -> None:
    """Explain photos: likeliest classes, where the model looked, and a caption with where each word came from."""
    methods = require_methods(method or (class_specific() if classes else ["head_mean"]))

    from vit_atlas.explain.sources import find_photos

    found = find_photos(photos, _stdin_lines, out or DEFAULT_OUT)
    for problem in found.problems:
        _complain(problem)
    if not found.paths:
        raise typer.Exit(1)
    require_models(model, captioner, compare_with)
    folder = out if json else out or DEFAULT_OUT
    explainer = make_explainer(model, captioner, caption, methods, layer, classes or [], folder)
    if compare_with is not None:
        explainer.other = _other(compare_with, methods, layer)
    if _run(explainer, found.paths, found.problems, model, json):
        raise typer.Exit(1)


def require_methods(names: list[str]) -> list[str]:
    """Check that map methods exist.

    Raises:
        AtlasError: one does not.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise AtlasError(f"--method {unknown[0]} does not exist: use {', '.join(METHODS)}")
    return names


def require_models(model: str | None, captioner: Path | None, compare_with: str | None) -> None:
    """Check before the libraries are loaded, which takes seconds, whether there is anything to open.

    Raises:
        AtlasError: there is not.
    """
    for asked_by, name in (("--model", model), ("--compare-with", compare_with)):
        if name is not None:
            require_folder(name, asked_by)
            require_processor(name, asked_by)
    if model is None and not (MODEL / "config.json").is_file():
        raise AtlasError(f"{MODEL} holds no model: run `dvc repro finetune` first, or name one with --model")
    if captioner is not None and not captioner.is_dir():
        raise AtlasError(f"--captioner {captioner} is no folder: give one that caption-train wrote")


def make_explainer(
    model: str | None,
    captioner: Path | None,
    caption: bool,
    methods: list[str],
    layer: int,
    classes: list[str],
    out: Path | None,
) -> "Explainer":
    """Open the models.

    Raises:
        AtlasError: one cannot be opened, or has no such layer or class.
    """
    from vit_atlas.explain.captions import Writer, has_captioner
    from vit_atlas.explain.classify import request_maps
    from vit_atlas.explain.run import Explainer
    from vit_atlas.models.classifier import open_classifier

    writer = Writer(captioner) if has_captioner(captioner, caption) else None
    classifier = open_classifier(model, "--model")
    request = request_maps(classifier, methods, layer, model is None, classes)
    return Explainer(classifier, request, writer, out)


def _other(name: str, methods: list[str], layer: int) -> "Other":
    from vit_atlas.explain.classify import request_maps
    from vit_atlas.explain.run import Other
    from vit_atlas.models.classifier import open_classifier

    classifier = open_classifier(name, "--compare-with")
    try:
        return Other(name, classifier, request_maps(classifier, methods, layer, own=False))
    except AtlasError as error:
        raise AtlasError(f"--compare-with {name}: {error}") from None


def _run(explainer: "Explainer", paths: list[Path], problems: list[str], model: str | None, as_lines: bool) -> bool:
    """Explain all photos, tell each result at once, write the page; whether anything went wrong."""
    from tqdm import tqdm

    from vit_atlas.explain.page import Page

    problems = list(problems)
    page, captioner = None, ""
    if explainer.out is not None:
        page = Page(explainer.out, explainer, model or "build/model", problems=problems)
    bar = tqdm(explainer.explain(paths), total=len(paths), desc="Explaining", unit="photo", disable=len(paths) < 2)
    try:
        for explanation in bar:
            if explanation.caption is not None and not captioner:
                captioner = explanation.caption.captioner
                typer.echo(f"captions by {captioner}", err=True)
            _tell(explanation, explainer, as_lines)
            if page is not None:
                page.add(explanation)
            if explanation.problem and explanation.problem not in problems:
                problems.append(explanation.problem)
                _complain(explanation.problem)
    finally:  # what is done stays of use when the user stops the rest
        _finish(page, as_lines)
    return bool(problems)


def _tell(explanation: "Explanation", explainer: "Explainer", as_lines: bool) -> None:
    from tqdm import tqdm

    from vit_atlas.explain.run import as_record
    from vit_atlas.explain.sources import shown

    if explanation.classification is None:
        return
    if as_lines:
        lines = [dumps(as_record(explanation, explainer))]
    else:
        lines = [f"{shown(explanation.path)}: {_guesses(explanation.classification)}"]
        if explanation.compared is not None and explainer.other is not None:
            lines.append(f"  by {explainer.other.name}: {_guesses(explanation.compared)}")
        if explanation.caption is not None:
            lines.append(f"  “{explanation.caption.text}”")
    with tqdm.external_write_mode(file=sys.stdout):
        for line in lines:
            typer.echo(line)


def _guesses(found: "Classification") -> str:
    return ", ".join(f"{one.label} {one.probability:.1%}" for one in found.predictions)


def _finish(page: "Page | None", as_lines: bool) -> None:
    if page is not None and page.entries:
        typer.echo(f"page: {page.write()}", err=as_lines)


def _complain(sentence: str) -> None:
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        typer.echo(f"error: {sentence}", err=True)


def _stdin_lines() -> Iterator[str]:
    return (os.fsdecode(line) for line in sys.stdin.buffer)
