"""The `vit-atlas` command. Its help loads no torch: every command imports what it needs when it runs."""

import sys

import typer

from vit_atlas.cli.compare import compare
from vit_atlas.cli.data import app as data_app
from vit_atlas.cli.explain import explain
from vit_atlas.cli.reproduce import reproduce
from vit_atlas.cli.serve import serve
from vit_atlas.cli.suspects import suspects
from vit_atlas.cli.track import export, track
from vit_atlas.cli.use import use
from vit_atlas.errors import AtlasError

commands = typer.Typer(
    name="vit-atlas",
    help="Fine-tune a Vision Transformer on your own photos and see what it looks at.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
commands.add_typer(data_app, name="data")
commands.command()(use)
commands.command()(track)
commands.command()(export)
commands.command()(compare)
commands.command()(explain)
commands.command()(serve)
commands.command()(suspects)
commands.command()(reproduce)


@commands.command()
def weights() -> None:
    """Fetch the embedded Vision Transformer into the cache, once."""
    from vit_atlas.models.embedded import embedded_folder

    typer.echo(f"embedded Vision Transformer: {embedded_folder()}")


def app() -> None:
    """Run the command line; what the user can mend is printed as one line, without a traceback, and exits with 1."""
    try:
        commands()
    except AtlasError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
