"""A `python` for tests' projects that has imported the heavy libraries already and forks for every script.

Importing torch, transformers and the rest takes a stage of a tiny project longer than its work, and a `dvc repro` runs
twelve stages. One process imports them once; a script in its :func:`forking_python` folder, which a project puts first
in PATH, hands it what `python SCRIPT` was called with: words, folder, environment, and the three standard files.
Anything but a script, such as `python -c`, runs in a Python of its own. Nothing of ours is imported before the fork.
"""

import atexit
import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

HEAVY = (
    *("torch", "torch.utils.data", "torchvision.transforms.v2", "torchmetrics", "accelerate", "pyarrow", "pandas"),
    *("transformers.trainer", "transformers.models.vit.modeling_vit", "transformers.models.vit.image_processing_vit"),
    *(
        "scipy.stats",
        "sklearn.linear_model",
        "sklearn.manifold",
        "matplotlib.figure",
        "matplotlib.backends.backend_agg",
    ),
    *("mlflow", "pytorch_grad_cam", "cleanlab.filter", "jinja2"),
)

CLIENT = """#!{python} -SE
import json, os, socket, sys
if len(sys.argv) < 2 or not sys.argv[1].endswith(".py"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
call = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [len(call).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(call)
    code = int(server.recv(16) or b"1")
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextlib.contextmanager
def forking_python(environment: dict[str, str]) -> Iterator[Path]:
    """Yield the folder that holds the `python`; its process has ``environment`` while it imports."""
    with tempfile.TemporaryDirectory(prefix="forking-") as folder:  # A socket's path must be short.
        address = f"{folder}/socket"
        (Path(folder) / "bin").mkdir()
        client = Path(folder) / "bin" / "python"
        client.write_text(CLIENT.format(python=sys.executable, address=address))
        client.chmod(0o755)
        server = subprocess.Popen(
            [sys.executable, __file__, address], env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n", "the process that forks has ended"
            yield client.parent
        finally:
            server.kill()
            server.wait()


def main() -> None:
    """Import, then serve until killed."""
    for name in HEAVY:
        with contextlib.suppress(ImportError):  # A name that another version lacks costs time, no test.
            importlib.import_module(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _serve(connection)
            os._exit(0)
        connection.close()


def _serve(connection: socket.socket) -> None:
    """Run one script in a child, tell how it ended, and end it if whoever asked is gone."""
    size, files, _, _ = socket.recv_fds(connection, 8, 3)
    call = b""
    while len(call) < int.from_bytes(size, "big"):
        call += connection.recv(1 << 16)
    child = os.fork()
    if not child:
        connection.close()
        _run(*json.loads(call), files)
    ended = os.pidfd_open(child)
    if ended not in select.select([ended, connection], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(str(code).encode())


def _run(words: list[str], folder: str, environment: dict[str, str], files: list[int]) -> None:
    """Do what `python SCRIPT` does."""
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = words
    given = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [str(Path(words[0]).resolve().parent), *map(os.path.abspath, given), *sys.path[1:]]
    code = 1
    try:
        runpy.run_path(words[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
