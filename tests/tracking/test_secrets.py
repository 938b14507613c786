"""Secrets of a tracking server: planted in the environment, looked for in everything that was written."""

import base64
import runpy
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.tiny_settings import tiny_settings
from vit_atlas.io.files import write_json
from vit_atlas.tracking import mirror
from vit_atlas.tracking.redaction import redact

from .helpers import Finished, Server, client, free_port, stream, write_model

PLANTED = ("planted-user", "planted-password", "planted-token", "planted-query", "planted-aws")


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "planted-token")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "planted-password-too")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-aws")


def leaks(*folders: Path) -> list[str]:
    """Files below the folders that hold a secret, and which."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                found += [f"{path}: {secret}" for secret in PLANTED if secret.encode() in content]
    return found


def test_nothing_that_is_written_holds_a_secret(
    project: Finished,
    root: Path,
    server: Server,
    secrets: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    host = server.address.partition("://")[2]
    address = f"http://planted-user:planted-password@{host}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    write_model()
    numbers = {"accuracy": 0.75, "accuracy_low": 0.7, "accuracy_high": 0.8, "photos": 4, "top5_accuracy": 1.0}
    write_json("metrics/evaluate.json", numbers | {"macro_f1": 0.7, "ece": 0.1})
    project.lock(captioner={"kind": "catr", "checkpoint": "https://me:a-setting@127.0.0.1/catr.pth", "sha256": None})
    stream(project)
    runpy.run_path(str(root / "stages" / "report.py"))["main"]()
    mirrored = mirror(champion=True)
    assert mirrored is not None
    assert mirrored.uri == server.address
    assert mirrored.version is not None
    said = "".join(capfd.readouterr())
    assert not [secret for secret in PLANTED if secret in said]
    assert "note:" in said
    assert client().get_run(mirrored.run_id).data.params["captioner.checkpoint"] == "https://127.0.0.1/catr.pth"
    assert list((server.folder / "files").rglob("report.html"))
    assert not leaks(server.folder, project.folder)


@pytest.mark.parametrize(
    "address",
    [
        "http://planted-user:planted-password@127.0.0.1:{port}/mlflow?key=planted-query",
        "http://planted-user:planted-pass@planted-word@127.0.0.1:{port}",
        "postgresql://planted-user:planted-password@127.0.0.1:{port}/db?password=planted-query",
        "planted-scheme://planted-user:planted-password@127.0.0.1:{port}",
    ],
)
def test_a_server_that_cannot_be_reached_is_named_without_its_secrets(
    project: Finished, secrets: None, address: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.format(port=free_port()))
    assert stream(project) == "None"
    assert mirror() is None
    said = "".join(capfd.readouterr())
    assert said.count("warning:") == said.count("\n") == 2
    assert "127.0.0.1" in said
    assert "planted" not in said.replace("planted-scheme", "")


def test_a_server_that_says_our_secrets_back_is_not_quoted(
    project: Finished, secrets: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            header = self.headers.get("Authorization", "")
            kind, _, login = header.partition(" ")
            plain = base64.b64decode(login).decode() if kind == "Basic" else login
            body = f"refused: {header} that is {plain}".encode()
            asked.append(plain)
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as echo:
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        for login in ("planted-user:planted-password@", ""):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{login}127.0.0.1:{echo.server_port}")
            assert stream(project) == "None"
            said = "".join(capfd.readouterr())
            assert "refused" in said
            assert "planted" not in said
            assert base64.b64encode(b"planted").decode()[:8] not in said
        echo.shutdown()
    assert any("planted-password" in text for text in asked)
    assert any("planted-token" in text for text in asked)


def test_addresses_lose_their_secrets() -> None:
    assert redact("at postgresql://me:pw@host:5/db?password=pw now") == "at postgresql://host:5/db now"
    assert redact("https://token@host/path") == "https://host/path"
    assert redact("http://me:p/w@d@host/path") == "http://host/path"
    assert redact("no address, a@b") == "no address, a@b"


@pytest.mark.parametrize("form", ["p@ss/word", "p%40ss%2Fword", "bWU6cEBzcy93b3Jk"])
def test_a_password_goes_wherever_it_stands(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Alone in a message, escaped or not, and in the header of basic authentication."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:p%40ss%2Fword@host")
    assert form not in redact(f"refused {form} for you")
    assert tiny_settings().model.name == redact("embedded")
