"""A page on this machine alone: drop a photo, see what the model makes of it. Nothing is written to disk.

Nobody else gets anything: the socket is bound to the loopback, requests have to name it as their host (so
that no name that somebody else owns leads here), and pages of other origins may not ask.
"""

import os
import socket
import sys
from pathlib import Path
from secrets import token_urlsafe
from threading import Lock
from urllib.parse import unquote, urlsplit

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect

from vit_atlas.errors import AtlasError
from vit_atlas.explain.page import make_entry, render
from vit_atlas.explain.run import Explainer, as_record

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LIMIT = 32 * 2**20
"""Bytes of a photo."""
LONGEST_NAME = 200
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
"""With every answer: the browser keeps nothing either."""
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'nonce-{}'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def make_app(explainer: Explainer, model: str, limit: int = LIMIT) -> FastAPI:
    """The page at ``/``, and ``POST /explain``: a photo's bytes, answered as `vit-atlas explain --json` tells it.

    Args:
        explainer: explains the photos, one at a time; it has to draw no files.
        model: what people call the model.
        limit: bytes of a photo at most.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"], www_redirect=False)
    alone = Lock()

    @app.get("/")
    def page() -> Response:
        nonce = token_urlsafe()
        text = render("serve.html", model=model, readout=explainer.request.readout, nonce=nonce, limit=limit)
        return HTMLResponse(text, headers=HEADERS | {"Content-Security-Policy": POLICY.format(nonce)})

    @app.post("/explain")
    async def explain(request: Request) -> Response:
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers["host"]:
            return _refusal(403, "a page of another origin asked: open this server's own page")
        try:
            content = await _read(request, limit)
        except ClientDisconnect:
            return Response(status_code=400)
        name = Path(unquote(request.headers.get("x-name", "photo"))).name[:LONGEST_NAME] or "photo"
        if content is None:
            return _refusal(413, f"{name} is larger than {limit / 2**20:.3g} MB: make it smaller")
        return await run_in_threadpool(answer, name, content)

    def answer(name: str, content: bytes) -> Response:
        # Attention is recorded by exchanging a function of torch.
        with alone:
            found = explainer.explain_one(Path(name), "photo", content)
        if found.classification is None:
            return _refusal(422, str(found.problem))
        article = render("article.html", entry=make_entry(found, explainer))
        record = as_record(found, explainer) | {"article": article, "problem": found.problem}
        return JSONResponse(record, headers=HEADERS)

    return app


def bind(host: str, port: int) -> socket.socket:
    """Take a port of this machine.

    Raises:
        AtlasError: ``host`` is not this machine alone, or the port cannot be had.
    """
    if host not in LOOPBACK:
        raise AtlasError(f"--host {host} would show the model to other machines: give {' or '.join(LOOPBACK)}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise AtlasError(f"--port {port} of {host} cannot be had ({reason}): give another") from None


def run(app: FastAPI, place: socket.socket) -> None:
    """Answer until Ctrl+C."""
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)).run([place])


def warm_up(explainer: Explainer) -> None:
    """Open the captioner, so that no photo waits for that; one that cannot be opened is left out."""
    if explainer.writer is not None:
        try:
            explainer.writer.open()
        except AtlasError as error:
            explainer.writer = None
            sys.stderr.write(f"warning: captions are left out: {error}\n")


async def _read(request: Request, limit: int) -> bytes | None:
    """The body; None where it is too long, which is found out before it is all here."""
    content = bytearray()
    if int(request.headers.get("content-length", 0)) > limit:
        return None
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            return None
    return bytes(content)


def _refusal(status: int, sentence: str) -> Response:
    return JSONResponse({"problem": sentence}, status, headers=HEADERS)
