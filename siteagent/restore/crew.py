"""Who does the writing: this process alone for small restores, several worker processes for large ones."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from siteagent.disk.child import Child
from siteagent.restore.messages import Answer, Request, Setup
from siteagent.restore.worker import Worker

_PROCESSES_MAX = 8


class Crew(Protocol):
    """Does requests and hands the answers on, in any order."""

    size: int
    """How many requests are worked on at a time."""

    def perform(self, requests: Iterable[Request], take: Callable[[Answer], None]) -> None:
        """Do all requests; `take` is called in this thread."""

    def close(self) -> None:
        """End what was started."""


class Alone:
    """This process."""

    size = 1

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def perform(self, requests: Iterable[Request], take: Callable[[Answer], None]) -> None:
        """Do all requests."""
        for request in requests:
            for answer in self._worker.perform(request):
                take(answer)

    def close(self) -> None:
        """Nothing to end."""


class Processes:
    """Worker processes, each fed by a thread that waits for it."""

    def __init__(self, setup: Setup, spots: bytes, target: int, workers: int = 0) -> None:
        """Start so many processes, 0 meaning one per processor; raises OSError where that cannot be."""
        self._children: list[Child] = []
        memory = os.memfd_create("farkeep-spots", os.MFD_CLOEXEC)
        try:
            _write_all(memory, spots)
            for _ in range(workers or min(_PROCESSES_MAX, os.cpu_count() or 1)):
                child = Child("siteagent.restore.process", [memory, target])
                child.send(setup)
                self._children.append(child)
            self.size = len(self._children)
        finally:
            os.close(memory)

    def perform(self, requests: Iterable[Request], take: Callable[[Answer], None]) -> None:
        """Do all requests."""
        waiting: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        answers: queue.SimpleQueue[Answer | BaseException] = queue.SimpleQueue()
        count = 0
        for request in requests:
            waiting.put(request)
            count += 1
        threads = [threading.Thread(target=_feed, args=(child, waiting, answers)) for child in self._children]
        for thread in threads:
            waiting.put(None)
            thread.start()
        try:
            while count:
                answer = answers.get()
                if isinstance(answer, BaseException):
                    raise answer
                count -= answer.is_last
                take(answer)
        finally:
            while not waiting.empty():
                waiting.get()
            for _ in threads:
                waiting.put(None)
            for thread in threads:
                thread.join()

    def close(self) -> None:
        """End the processes."""
        while self._children:
            self._children.pop().close()


def _feed(child: Child, waiting: queue.SimpleQueue[Request | None],
          answers: queue.SimpleQueue[Answer | BaseException]) -> None:
    while (request := waiting.get()) is not None:
        try:
            child.send(request)
            is_last = False
            while not is_last:
                answer = child.receive(Answer)
                is_last = answer.is_last
                answers.put(answer)
        except BaseException as error:
            answers.put(error)
            return


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
