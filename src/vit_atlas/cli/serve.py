"""`vit-atlas serve`: drop a photo on a page of this machine."""

from typing import Annotated

import typer

from vit_atlas.cli.explain import (
    CaptionerOption,
    CaptionOption,
    LayerOption,
    MethodOption,
    ModelOption,
    make_explainer,
    require_methods,
    require_models,
)


def serve(
    model: ModelOption = None,
    captioner: CaptionerOption = None,
    caption: CaptionOption = True,
    method: MethodOption = None,
    layer: LayerOption = -1,
    host: Annotated[str, typer.Option(help="127.0.0.1, localhost or ::1: this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 8765,
) -> None:
    """Open a page on this machine: drop a photo, see classes, maps and a caption. Nothing is stored; Ctrl+C ends it."""
    methods = require_methods(method or ["head_mean"])
    require_models(model, captioner, None)

    from vit_atlas.explain.serve import bind, make_app, run, warm_up

    with bind(host, port) as place:
        explainer = make_explainer(model, captioner, caption, methods, layer, [], None)
        warm_up(explainer)
        shown = f"[{host}]" if ":" in host else host
        typer.echo(f"http://{shown}:{port} (Ctrl+C ends it)")
        run(make_app(explainer, model or "build/model"), place)
