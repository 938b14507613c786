"""`vit-atlas serve` over real HTTP on the loopback, and its page in a browser."""

import json
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.explain.conftest import explain
from tests.report.browsers import CHROMIUM, browser
from vit_atlas.cli import commands
from vit_atlas.cli.explain import make_explainer
from vit_atlas.errors import AtlasError
from vit_atlas.paths import CAPTIONER

__all__ = ["browser"]

Ask = Callable[..., tuple[int, Any]]
LIMIT = 20_000


@pytest.fixture
def port(project: Path) -> Iterator[int]:
    """A server with the project's models and a low limit, as the command starts it."""
    import uvicorn

    from vit_atlas.explain.serve import bind, make_app, warm_up

    explainer = make_explainer(None, None, True, ["head_mean"], -1, [], None)
    warm_up(explainer)
    with bind("127.0.0.1", 0) as place:
        server = uvicorn.Server(uvicorn.Config(make_app(explainer, "build/model", LIMIT), log_level="warning"))
        thread = threading.Thread(target=server.run, args=([place],))
        thread.start()
        yield place.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture
def ask(port: int) -> Ask:
    def send(content: bytes = b"", method: str = "POST", path: str = "/explain", **headers: str) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(method, path, content, {name.replace("_", "-"): value for name, value in headers.items()})
        reply = connection.getresponse()
        body = reply.read()
        return reply.status, json.loads(body) if reply.headers["content-type"] == "application/json" else reply

    return send


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_photo_gets_what_explain_says_and_nothing_is_written(project: Path, ask: Ask) -> None:
    photo = Path("photos/cat/1.png")
    record = json.loads(explain(str(photo), "--json").stdout)
    before = everything(project)
    status, said = ask(photo.read_bytes(), X_Name="..%2F..%2F%3Cb%3E1.png")
    assert status == 200
    assert said["path"] == "<b>1.png"
    for name in ("predictions", "maps", "layer", "grid", "caption"):
        assert said[name] == record[name]
    assert "&lt;b&gt;1.png" in said["article"]
    assert "cat &lt;&amp;&gt;" in said["article"]
    assert f"By {record['caption']['captioner']}" in said["article"]
    assert everything(project) == before


def test_what_is_no_photo_or_too_large_is_one_sentence(ask: Ask) -> None:
    status, said = ask(b"no photo", X_Name="notes.jpg")
    assert status == 422
    assert said["problem"].startswith("notes.jpg cannot be read as a photo: not ")
    status, said = ask(b"x" * (LIMIT + 1), X_Name="big.jpg")
    assert (status, said["problem"]) == (413, "big.jpg is larger than 0.0191 MB: make it smaller")
    status, said = ask(iter([b"x" * LIMIT, b"x"]), X_Name="big.jpg")  # in pieces, without a length
    assert status == 413


def test_only_this_machine_and_its_own_page_may_ask(port: int, ask: Ask) -> None:
    assert ask(method="GET", path="/", Host="evil.example")[0] == 400
    assert ask(method="GET", path="/", Host=f"localhost:{port}")[0] == 200
    assert ask(b"x", Origin="https://evil.example")[0] == 403
    assert ask(b"x", Origin=f"http://127.0.0.1:{port}")[0] == 422
    status, reply = ask(method="GET", path="/")
    assert status == 200
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert reply.headers["cache-control"] == "no-store"
    assert ask(method="GET", path="/openapi.json")[0] == 404


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.1", "::", "example.com"])
def test_other_hosts_than_this_machine_are_refused(project: Path, host: str) -> None:
    result = CliRunner().invoke(commands, ["serve", "--host", host])
    assert isinstance(result.exception, AtlasError)
    assert str(result.exception).startswith(f"--host {host} would show the model to other machines: give 127.0.0.1")


def test_a_port_that_is_taken_is_one_sentence(project: Path, port: int) -> None:
    result = CliRunner().invoke(commands, ["serve", "--port", str(port)])
    assert isinstance(result.exception, AtlasError)
    assert str(result.exception) == f"--port {port} of 127.0.0.1 cannot be had (Address already in use): give another"


def test_a_captioner_whose_data_nobody_names_writes_no_words(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vit_atlas.explain.serve import warm_up

    description = CAPTIONER / "captioner.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"data": ""}))
    explainer = make_explainer(None, None, True, ["head_mean"], -1, [], None)
    warm_up(explainer)
    assert explainer.writer is None
    assert "does not say which data" in capsys.readouterr().err


@pytest.mark.skipif(CHROMIUM is None, reason="no browser is on PATH")
def test_a_photo_is_chosen_in_the_page(browser: Any, port: int) -> None:
    page = browser.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"http://127.0.0.1:{port}/")
    page.set_input_files("#file", "photos/dog/1.png")
    page.wait_for_selector("article")
    assert page.locator("article h2").inner_text() == "1.png"
    first = page.locator("article table tr").first.inner_text()
    assert first.startswith(("dog", "cat <&>"))
    assert page.locator("article img").evaluate_all("all => all.every(one => one.naturalWidth > 0)")
    page.set_input_files("#file", {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"no photo"})
    page.wait_for_selector("#state.problem")
    assert page.locator("#state").inner_text().startswith("notes.jpg cannot be read as a photo")
    own = f"http://127.0.0.1:{port}/"
    assert {url for url in asked if not url.startswith("data:")} == {own, f"{own}explain"}
    assert [text for text in said if "422" not in text] == []
    page.close()
