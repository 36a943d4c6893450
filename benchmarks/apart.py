"""Work in a process of its own, which does a piece of it when it is asked to."""

import multiprocessing
from collections.abc import Callable
from typing import Any


class Apart:
    """A process that runs `serve(there, *arguments)`: at first it sends what is to be known of it, then it answers
    each question that it receives, until it receives EOFError."""

    def __init__(self, serve: Callable[..., None], *arguments: Any):
        processes = multiprocessing.get_context("spawn")
        self._here, there = processes.Pipe()
        self._process = processes.Process(target=serve, args=(there, *arguments), daemon=True)
        self._process.start()
        there.close()
        self.about: Any = self._here.recv()

    def ask(self, question: Any) -> Any:
        """The answer. Raises EOFError where the process has ended, which has said why."""
        self._here.send(question)
        return self._here.recv()

    def __enter__(self) -> "Apart":
        return self

    def __exit__(self, *_: object) -> None:
        self._here.close()
        self._process.join()
