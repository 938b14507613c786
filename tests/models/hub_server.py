"""A Hugging Face hub on loopback: what huggingface_hub asks of one to download a model, and what may go wrong there."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "89abcdef0123456789abcdef0123456789abcdef"


class Hub:
    """What the server has, how it misbehaves, and what it was asked."""

    def __init__(self, name: str, folder: Path, older: Path | None = None) -> None:
        self.name = name
        self.folders = {"main": (COMMIT, folder), COMMIT: (COMMIT, folder)}
        if older is not None:
            self.folders |= {"v1": (OLDER, older), OLDER: (OLDER, older)}
        self.gated = False
        self.down = False
        """Answer everything with 503."""
        self.cuts = 0
        """How many more downloads of :attr:`cut` break off before their end."""
        self.cut = "model.safetensors"
        self.refuses_token = False
        """Answer as if the token that a request carries were no longer valid."""
        self.asked: list[str] = []
        """Requests: method, path and range."""
        self.endpoint = ""

    def downloads(self, file: str) -> list[str]:
        """Requests for the content of a file."""
        return [line for line in self.asked if line.startswith("GET") and f"/{file} " in line]


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve ``hub`` while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.hub
        path = self.path.partition("?")[0]
        hub.asked.append(f"{self.command} {path} {self.headers.get('Range', '-')}")
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        name, rest = "/".join(parts[2:4] if api else parts[:2]), parts[4:] if api else parts[2:]
        revision = rest[1] if len(rest) > 1 else "main"
        if hub.down:
            self._send(503, b"", {})
        elif hub.refuses_token:
            self._refuse(401, "", "Invalid credentials in Authorization header")
        elif name != hub.name:
            self._refuse(401, "", "Invalid username or password.")
        elif hub.gated:
            self._refuse(401, "GatedRepo", f"Access to model {name} is restricted.")
        elif revision not in hub.folders:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif api:
            self._describe(rest, *hub.folders[revision])
        else:
            self._file(*hub.folders[revision], "/".join(rest[2:]))

    def _describe(self, rest: list[str], commit: str, folder: Path) -> None:
        names = sorted(path.name for path in folder.iterdir())
        if rest[:1] == ["tree"]:
            content: object = [{"type": "file", "path": name, "size": 1, "oid": "0"} for name in names]
        else:
            content = {"id": self.hub.name, "sha": commit, "siblings": [{"rfilename": name} for name in names]}
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _file(self, commit: str, folder: Path, name: str) -> None:
        if not (folder / name).is_file():
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
            return
        content = (folder / name).read_bytes()
        headers = {
            "X-Repo-Commit": commit,
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "Accept-Ranges": "bytes",
        }
        asked = self.headers.get("Range")
        if asked is None:
            self._send(200, content, headers, cut=name == self.hub.cut)
        else:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(206, content[start:], headers, cut=name == self.hub.cut)

    def _refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        told = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {}) | (headers or {})
        self._send(status, b"", told)

    def _send(self, status: int, content: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut and self.hub.cuts:
            self.hub.cuts -= 1
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self.wfile.write(content)
