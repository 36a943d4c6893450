"""Work spread over processes of this machine, or over the workers of Apache Beam. It imports no TensorFlow."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent import futures
from concurrent.futures import process
from typing import Any

from speechlm_jax import endings, runtime

Call = Callable[[Any, Callable[[int], None]], None]
"""A function of a module that does one piece of work. It tells its second argument how much of the piece's size is done
since it told last, often: what that raises ends the work."""


def over_processes(
    call: Call, pieces: Sequence[Any], workers: int, progress: runtime.Progress
) -> Generator[int, None, None]:
    """Does each piece in one of the processes, and yields its place when it is done. Closed, it ends the processes.

    Raises ValueError for what a user can mend.
    """
    if not pieces:
        return
    # TensorFlow, which may be loaded here, does not survive a fork.
    context = multiprocessing.get_context("spawn")
    count, stop = context.Value("q", 0), context.Event()
    with futures.ProcessPoolExecutor(min(workers, len(pieces)), context, _begin, (count, stop)) as pool:
        try:
            pending = {pool.submit(_attempt, call, piece): place for place, piece in enumerate(pieces)}
            seen = 0
            while pending:
                done, _ = futures.wait(pending, timeout=1.0, return_when=futures.FIRST_COMPLETED)
                now = count.value
                progress.advance(now - seen)
                seen = now
                for future in done:
                    if refusal := future.result():
                        raise ValueError(refusal)
                    yield pending.pop(future)
        except process.BrokenProcessPool as error:
            raise ValueError(
                "working in several processes: one was ended from outside, perhaps for want of memory. Start again: "
                "what is done stands. --workers makes them fewer."
            ) from error
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def over_beam(
    call: Callable[[Any], None], pieces: Sequence[Any], runner: str, options: Sequence[str]
) -> Generator[int, None, None]:
    """Does each piece as an element of a pipeline of Apache Beam, and yields the places when all are done.

    Raises ValueError for a runner or an option that Beam does not know.
    """
    import apache_beam as beam  # pyright: ignore[reportMissingImports]
    from apache_beam.options import pipeline_options  # pyright: ignore[reportMissingImports]

    if not pieces:
        return
    chosen = pipeline_options.PipelineOptions([f"--{option}" for option in options])
    try:
        pipeline = beam.Pipeline(runner=runner, options=chosen)
    except (ValueError, ImportError, AttributeError) as error:
        raise ValueError(
            f"starting Apache Beam: it has no runner '{runner}', or not with the options {list(options)} "
            f"({' '.join(str(error).split())[:300]}). Set --beam_runner and --beam_option."
        ) from error
    with pipeline:
        # Without a shuffle one worker would be handed all that is created together.
        _ = pipeline | beam.Create(list(pieces), reshuffle=True) | beam.Map(call)
    yield from range(len(pieces))


_shared: dict[str, Any] = {}
"""In one of the processes: how much all have done, and whether to stop."""


class _Stopped(Exception):
    """The work was given up elsewhere."""


def _begin(count: Any, stop: Any) -> None:
    """Prepares a process. It ends with the one that started it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(endings.FAULT)

    threading.Thread(target=follow, daemon=True).start()
    runtime.hide_accelerators_from_tensorflow()
    _shared.update(count=count, stop=stop)


def _attempt(call: Call, piece: Any) -> str:
    """Does a piece. Returns what a user should mend: an exception would lose on its way where it was raised."""

    def tell(done: int) -> None:
        with _shared["count"].get_lock():
            _shared["count"].value += done
        if _shared["stop"].is_set():
            raise _Stopped

    try:
        call(piece, tell)
    except ValueError as error:
        if not endings.raised_on_purpose(error):
            raise
        return str(error)
    return ""
