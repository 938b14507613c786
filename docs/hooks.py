"""Build-time parts of the site: pages that are written by the code itself."""

import re
from typing import Any

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the help of every command where a page asks for it."""
    return markdown.replace(MARK, _commands()) if MARK in markdown else markdown


def on_page_content(html: str, **_: Any) -> str:
    """Drop the roles of docstrings' references (`:func:` and the like), which Markdown does not know."""
    return re.sub(r":(?:func|class|meth|data|attr|mod):(?=<code>)", "", html)


def _commands() -> str:
    import typer
    from typer.cli import get_docs_for_click

    from vit_atlas.cli import commands

    command = typer.main.get_command(commands)
    context = typer.Context(command, info_name="vit-atlas")
    return str(get_docs_for_click(obj=command, ctx=context, name="vit-atlas", title=" "))
