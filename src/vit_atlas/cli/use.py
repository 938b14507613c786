"""`vit-atlas use`: write presets into params.yaml."""

from typing import Annotated

import typer

from vit_atlas.errors import AtlasError


def use(
    choices: Annotated[
        list[str] | None,
        typer.Argument(metavar="[GROUP=NAME]...", help="Presets, such as data=photos model=dinov2_small."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="Show every preset with its command and its expected result.")
    ] = False,
) -> None:
    """Choose presets: their keys are written into params.yaml, whose comments and other keys stay, and shown."""
    from vit_atlas.settings.presets import list_presets, use_presets

    if show or not choices:
        for group, presets in list_presets().items():
            for name, about in presets.items():
                typer.echo(f"{group}={name}\n" + "".join(f"    {line}\n" for line in about.splitlines()))
        return
    pairs = [choice.partition("=") for choice in choices]
    wrong = [
        choice for choice, (group, sign, name) in zip(choices, pairs, strict=True) if not (group and sign and name)
    ]
    groups = [group for group, _, _ in pairs]
    if wrong:
        raise AtlasError(f"{wrong[0]} names no preset: write GROUP=NAME, such as data=photos")
    if len(set(groups)) < len(groups):
        raise AtlasError("a group of presets can be chosen once: " + " ".join(choices))
    changes = use_presets({group: name for group, _, name in pairs})
    for change in changes:
        typer.echo(f"{change.key}: {change.before or '(not there)'} -> {change.after or '(removed)'}")
    if not changes:
        typer.echo("params.yaml has these values already")
