"""Starts and ends the role processes of a consortium on one machine; leaves none behind, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

STOP_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Line:
    """One line that a process printed: `event` is its JSON object, None where the line is plain text or the stream ended."""

    process: str
    text: str
    event: dict[str, Any] | None
    ended: bool = False


@dataclass(slots=True)
class RoleProcess:
    """One running role. Its standard error goes to `log`, its standard output to the group's queue and to `log`."""

    name: str
    handle: subprocess.Popen[str]
    log: Path
    stdin: IO[str] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        return self.handle.pid

    def answer(self, text: str) -> None:
        """Writes one line to the process, as an operator would type it."""
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError, OSError):
                self.stdin.write(text + "\n")
                self.stdin.flush()

    def kill(self) -> None:
        """SIGKILL to the process id; nothing in the process can react."""
        os.kill(self.handle.pid, signal.SIGKILL)


class ProcessGroup:
    """All processes of one run; a context manager that ends them on every way out."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: dict[str, RoleProcess] = {}
        self._lines: queue.Queue[Line] = queue.Queue()
        self._readers: list[threading.Thread] = []
        directory.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> ProcessGroup:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, module: str, arguments: Sequence[str]) -> RoleProcess:
        """Starts `python -m module arguments` in a process group of its own, so that Ctrl-C reaches only the parent."""
        log = self._directory / f"{name}.log"
        with log.open("a", encoding="utf-8") as errors:
            handle = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                bufsize=1,
                start_new_session=True,
            )
        process = RoleProcess(name, handle, log, handle.stdin)
        self._processes[name] = process
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        self._readers.append(reader)
        return process

    def _read(self, process: RoleProcess) -> None:
        assert process.handle.stdout is not None
        with process.log.open("a", encoding="utf-8") as log:
            for text in process.handle.stdout:
                log.write(text)
                log.flush()
                self._lines.put(Line(process.name, text.rstrip("\n"), _event(text)))
        self._lines.put(Line(process.name, "", None, ended=True))

    def lines(self, deadline_s: float) -> Iterator[Line]:
        """Lines of all processes as they come, until `deadline_s` seconds from now are over."""
        end = time.monotonic() + deadline_s
        while (left := end - time.monotonic()) > 0:
            try:
                yield self._lines.get(timeout=min(left, 0.5))
            except queue.Empty:
                continue

    def __contains__(self, name: str) -> bool:
        return name in self._processes

    def __getitem__(self, name: str) -> RoleProcess:
        return self._processes[name]

    def wait(self, name: str, timeout_s: float) -> int | None:
        """Exit code of one process; None if it still runs after `timeout_s`."""
        try:
            return self._processes[name].handle.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """SIGTERM to all, SIGKILL to those that do not end; returns when all are gone."""
        running = [p.handle for p in self._processes.values() if p.handle.poll() is None]
        for handle in running:
            with contextlib.suppress(ProcessLookupError):
                handle.terminate()
        end = time.monotonic() + STOP_PATIENCE_S
        for handle in running:
            try:
                handle.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                handle.kill()
                handle.wait()
        for reader in self._readers:
            reader.join(timeout=STOP_PATIENCE_S)


def _event(text: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
