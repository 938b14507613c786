"""Run stage scripts, each in a forked child that is cut off at a moment told in advance.

Importing torch and transformers takes seconds and a tiny training takes a fraction of one, so this process imports them
once and forks a child for every line of JSON on its input: {"folder", "script", "log", "moment", "environment"}. It
answers {"code", "steps", "events"}: the child's exit code (negative: the signal that ended it), the training steps that
it began, and the file events that it counted. A moment is one of

- {"kind": "step", "at": 7}: SIGKILL where the seventh training step begins;
- {"kind": "event", "at": 31}: SIGKILL where the 31st file event in the watched folders happens, counted from the first
  training step: opening, renaming, making or removing a file or a folder;
- {"kind": "bytes", "at": 5000, "checkpoint": 2}: while the second checkpoint is written the kernel ends the process as
  soon as any of its files would grow beyond 5000 bytes, so that half of it lies on the disk.
"""

import contextlib
import json
import os
import resource
import runpy
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from transformers import Trainer

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}
WATCHED = (".checkpoints", "build")


class Watch:
    """Counts what the child does, and cuts it off."""

    def __init__(self, moment: dict[str, Any], tally: Path) -> None:
        self._moment = moment
        self._tally = os.open(tally, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        self.steps = self.events = self.checkpoints = 0

    def install(self) -> None:
        step, save = Trainer.training_step, Trainer._save_checkpoint

        def watched_step(*args: Any, **options: Any) -> Any:
            self.steps += 1
            self._reached("step", self.steps)
            return step(*args, **options)

        def watched_save(*args: Any, **options: Any) -> Any:
            self.checkpoints += 1
            if self._moment["kind"] == "bytes" and self.checkpoints == self._moment["checkpoint"]:
                self._note()
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_FSIZE, (self._moment["at"], self._moment["at"]))
            return save(*args, **options)

        Trainer.training_step, Trainer._save_checkpoint = watched_step, watched_save
        sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if self.steps and event in EVENTS and any(f"{name}/" in str(args[0]) for name in WATCHED):
            self.events += 1
            self._reached("event", self.events)

    def _reached(self, kind: str, count: int) -> None:
        if self._moment["kind"] == kind and self._moment["at"] == count:
            self._note()
            os.kill(os.getpid(), signal.SIGKILL)

    def _note(self) -> None:
        os.pwrite(self._tally, json.dumps({"steps": self.steps, "events": self.events}).encode(), 0)

    def close(self) -> None:
        """Write the tally of a child that ends by itself."""
        self._note()


def child(job: dict[str, Any]) -> None:
    """Run one script as `python SCRIPT` in the job's folder would."""
    os.chdir(job["folder"])
    os.environ.update(job["environment"])
    output = os.open(job["log"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    watch = Watch(job["moment"], Path(f"{job['log']}.tally"))
    watch.install()
    code = 1
    try:
        runpy.run_path(job["script"], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        watch.close()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)


def main() -> None:
    """Serve jobs until the input ends."""
    for line in sys.stdin:
        job = json.loads(line)
        process = os.fork()
        if process == 0:
            child(job)
        _, status = os.waitpid(process, 0)
        tally = json.loads(Path(f"{job['log']}.tally").read_text())
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)} | tally), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
