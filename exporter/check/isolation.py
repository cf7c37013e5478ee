"""One process a model, several at once: a crash, a hang or too much memory ends that process and nothing else.

The processes are forked by a server that has torch imported already, so that each costs what its model costs.
"""

from __future__ import annotations

import faulthandler
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil

from exporter.check.outcomes import Event, Finished, Outcome, Phase, Started, Verdict, outcome_from_dict
from exporter.check.specs import ModelSpec

_LOOK_SECONDS = 0.1  # between two looks at memory and clock
_OUTPUT_BYTES = 4000
_MB = 2**20


def run_models(specs: Sequence[ModelSpec], *, jobs: int = 1) -> Iterator[Event]:
    """Check models, each in a process of its own; tell what happens as it happens.

    Args:
        specs: the models.
        jobs: how many processes run at once.
    """
    context = _context()
    threads = max(1, len(psutil.Process().cpu_affinity()) // jobs) if sys.platform == "linux" else 1
    waiting, running = deque(specs), list[_Child]()
    server = context.Process(target=_nothing)  # the server does its imports now, on no model's clock
    server.start()
    server.join()
    with tempfile.TemporaryDirectory(prefix="fx2onnx-check-") as folder:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    spec = waiting.popleft()
                    running.append(_Child(context, spec, Path(folder, f"{len(waiting)}.log"), threads))
                    yield Started(spec.name)
                wait([child.pipe for child in running], _LOOK_SECONDS)
                for child in list(running):
                    for event in child.look():
                        if isinstance(event, Finished):
                            running.remove(child)
                        yield event
        finally:
            for child in running:
                child.kill()


class _Child:
    """The process of one model, seen from outside."""

    def __init__(self, context: Any, spec: ModelSpec, log: Path, threads: int) -> None:
        self.spec, self.log = spec, log
        self.phase, self.peak_mb = "starting", 0.0
        self.started = time.monotonic()
        self.pipe, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_child_main, args=(spec, theirs, str(log), threads))
        self.process.start()
        theirs.close()

    def look(self) -> Iterator[Event]:
        """What has happened since the last look; ends the process where it is done or beyond a limit."""
        ended = False
        while not ended and self.pipe.poll():
            try:
                message = json.loads(self.pipe.recv_bytes())
            except EOFError:
                ended = True
                break
            if "outcome" in message:
                yield self._finished(outcome_from_dict(message["outcome"]))
                return
            self.phase = message["phase"]
            yield Phase(self.spec.name, self.phase)
        if ended:
            self.process.join(10)
            yield self._ended(Verdict.CRASHED, _exit_message(self.process.exitcode))
        elif (elapsed := time.monotonic() - self.started) > self.spec.timeout_seconds:
            limit = f"{self.spec.timeout_seconds:g} s"
            yield self._ended(Verdict.TIMEOUT, f"still {self.phase} after {elapsed:.1f} s, the limit is {limit}")
        elif (used := self._memory_mb()) > self.spec.memory_mb:
            message = f"took {used:.0f} MB while {self.phase}, the limit is {self.spec.memory_mb:g} MB"
            yield self._ended(Verdict.MEMORY, message)

    def kill(self) -> None:
        """End the process and what it started."""
        for end in (lambda: os.killpg(self.process.pid, signal.SIGKILL), self.process.kill):
            try:
                end()
            except (ProcessLookupError, PermissionError):
                continue
        self.process.join()
        self.pipe.close()

    def _memory_mb(self) -> float:
        used = 0
        try:
            process = psutil.Process(self.process.pid)
            for each in (process, *process.children(recursive=True)):
                used += each.memory_info().rss
        except psutil.Error:  # it has just ended
            pass
        self.peak_mb = max(self.peak_mb, used / _MB)
        return used / _MB

    def _ended(self, verdict: Verdict, message: str) -> Finished:
        return self._finished(Outcome(self.spec.name, verdict, message, self.phase, peak_memory_mb=self.peak_mb))

    def _finished(self, outcome: Outcome) -> Finished:
        self.kill()
        output = "" if outcome.verdict == Verdict.PASSED else _tail(self.log)
        seconds = time.monotonic() - self.started
        return Finished(Outcome(**{**vars(outcome), "seconds": seconds, "output": output}))


def _context() -> Any:
    """Processes forked by a server with the imports done; new ones where the system cannot fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "exporter.check.measuring"])
    return context


def _nothing() -> None:
    """The life of the first process."""


def _child_main(spec: ModelSpec, pipe: Connection, log: str, threads: int) -> None:
    """The life of a model's process."""
    if sys.platform != "win32":
        os.setsid()  # so that what the model starts can be ended with it
    with open(log, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    faulthandler.enable(file=2, all_threads=False)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    import torch

    from exporter.check.measuring import measure

    torch.set_num_threads(threads)
    outcome = measure(spec, lambda phase: pipe.send_bytes(json.dumps({"phase": phase}).encode()))
    sys.stdout.flush()
    message = {"outcome": {**outcome.to_dict(), "peak_memory_mb": _peak_mb()}}
    pipe.send_bytes(json.dumps(message).encode())


def _end_with_parent() -> None:
    """A model must not live on where the check was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _peak_mb() -> float:
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / _MB
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MB if sys.platform == "darwin" else peak / 1024


def _exit_message(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = ", perhaps by the system for want of memory" if name == "SIGKILL" else ""
        return f"the process was ended by {name}{hint}"
    return f"the process ended by itself with exit code {code}"


def _tail(log: Path) -> str:
    text = log.read_bytes()[-_OUTPUT_BYTES:] if log.exists() else b""
    return text.decode(errors="replace").strip()
