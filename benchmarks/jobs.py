"""Independent runs, one after the other in this process or several side by side."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import RLock, Thread
from typing import Any, TypeVar

import faiss
import torch
from rich.console import Console
from tqdm import tqdm

from .datasets.base import RetrievalData
from .device import checked_device
from .distributed import from_first, launched_together
from .progress import RunProgress, SuiteProgress, quiet_pml_bars
from .request import DataSource, RunRequest
from .run_config import RunConfig, iterations_of, read_result
from .warning_lines import quiet_warnings
from .wording import already_done

Item = TypeVar("Item")
Result = TypeVar("Result")
RunFunction = Callable[[RunConfig, RetrievalData, Path, torch.device, RunProgress], dict[str, Any]]


def check_jobs(jobs: int) -> int:
    """The number of jobs, if it is one.

    Raises:
        ValueError: for less than one, or several where ``torchrun`` started several processes.
    """
    if jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {jobs}")
    if jobs > 1 and launched_together():
        raise ValueError(
            "--jobs trains runs side by side, torchrun trains every run on several processes: "
            "choose one"
        )
    return jobs


def do_missing(
    run: RunFunction,
    configs: Sequence[RunConfig],
    request: RunRequest,
    data: RetrievalData,
    console: Console,
    line: Callable[[RunConfig, dict[str, Any]], str],
    heading: str = "",
) -> None:
    """Do the runs that are not finished yet; they do not depend on one another.

    Arguments:
        run: trains one run; a function of a module, so that other processes find it.
        configs: all runs, finished or not.
        request: says on what data set and device, how many at a time, and where results go.
        data: the data set in this process.
        console: for the progress.
        line: what is printed when a run is done, from the run and its result.
        heading: what is printed before the first of these lines.

    Raises:
        OSError: if a process died. The finished runs are kept.
    """
    todo = [config for config in configs if read_result(config, request.out) is None]
    todo = from_first(todo)  # which `suite.help_run` waits for
    if len(todo) < len(configs):
        console.print(already_done(len(configs) - len(todo), len(configs), "run"))
    if not todo:
        return
    if heading:
        console.print(heading, highlight=False)
    device = checked_device(request.source.device)
    do_one = functools.partial(_run, run=run, out=request.out, device=device)
    progress = SuiteProgress(console, len(todo), iterations_of(todo))
    with progress.shown():
        done = map_jobs(do_one, todo, request.source, data, progress, request.jobs)
        for config, result in done:
            progress.finish(line(config, result))


def map_jobs(
    function: Callable[..., Result],
    items: Sequence[Item],
    source: DataSource,
    data: RetrievalData,
    progress: SuiteProgress,
    jobs: int = 1,
) -> Iterator[tuple[Item, Result]]:
    """Do independent pieces of work; yield each item with its result when it is done.

    After Ctrl-C, an error other than a ``ValueError``, or if the caller stops asking, the work of
    other processes ends at once.

    Arguments:
        function: of ``(item, data, progress)``; other processes must be able to import it.
        items: what is done.
        source: where other processes read the data set from.
        data: the data set in this process.
        progress: the bar; other processes hand it what they say.
        jobs: how many items are worked on at a time, each in a process of its own with its share
            of this process's threads; 1 stays in this process.

    Raises:
        OSError: from an item, or if a process died. What is finished is kept.
        ValueError: if items could not be done: the error of the first, raised after all others.
    """
    failed: list[ValueError] = []
    if jobs == 1 or not items:
        for item in items:
            try:
                result = function(item, data, progress)
            except ValueError as error:
                failed.append(error)
            else:
                yield item, result
        _raise_first(failed)
        return
    jobs = min(jobs, len(items))
    context = multiprocessing.get_context("spawn")  # a fork would share OpenMP's locked threads
    queue = context.Queue()
    listener = Thread(target=_listen, args=(queue, progress), daemon=True)
    listener.start()
    # not os.cpu_count(), which counts cores that OMP_NUM_THREADS or taskset forbids
    threads = max(1, torch.get_num_threads() // jobs)
    end_of_workers, of_parent = context.Pipe(duplex=False)
    # Not joblib's loky: its processes finish their work, and stay, after a suite that was killed.
    executor = ProcessPoolExecutor(jobs, context, _start_worker, (queue, threads, end_of_workers))
    try:
        futures = {executor.submit(_do_in_worker, function, item, source): item for item in items}
        for future in as_completed(futures):
            if isinstance(found := future.exception(), ValueError):
                failed.append(found)
            else:
                yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise OSError(
            "a process of --jobs was ended from outside, perhaps for lack of memory; what is "
            "finished is kept. Try again with fewer --jobs"
        ) from error
    except BaseException:
        # A pool would finish what is under way, and the next item of its queue: hours of training.
        of_parent.send(None)
        raise
    else:
        _raise_first(failed)
    finally:
        executor.shutdown(cancel_futures=True)
        queue.put(None)
        listener.join()


def _raise_first(failed: Sequence[ValueError]) -> None:
    if failed:
        others = f" ({len(failed) - 1} more failed)" if failed[1:] else ""
        raise ValueError(f"{failed[0]}{others}") from failed[0]


class QueuedProgress:
    """Tells the process with the bar what a run in this process does."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def describe(self, run: str, stage: str) -> None:
        """See ``RunProgress``."""
        self._queue.put(("describe", (run, stage)))

    def advance(self, iterations: int = 1) -> None:
        """See ``RunProgress``."""
        self._queue.put(("advance", (iterations,)))

    def finish(self, line: str) -> None:
        """See ``SuiteProgress``."""
        self._queue.put(("finish", (line,)))


_worker_progress: QueuedProgress | None = None


def _start_worker(queue: Any, threads: int, end: Connection) -> None:
    global _worker_progress
    _worker_progress = QueuedProgress(queue)
    Thread(target=_end_with_parent, args=(end,), daemon=True).start()
    tqdm.set_lock(RLock())  # its own is a semaphore of the system, which would outlive `os._exit`
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    quiet_warnings()


def _end_with_parent(end: Connection) -> None:
    """End this process with its parent, or when the parent says so.

    A suite that was killed must not leave processes behind that still write into its folder.

    Arguments:
        end: can be read when the parent says so; nobody reads it, so that all processes see it.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel, end])
    os._exit(1)


def _run(
    config: RunConfig,
    data: RetrievalData,
    progress: RunProgress,
    run: RunFunction,
    out: Path,
    device: torch.device,
) -> dict[str, Any]:
    try:
        return run(config, data, out, device, progress)
    except ValueError as error:
        raise ValueError(f"{config.name}: {error}") from error


def _do_in_worker(function: Callable[..., Result], item: Any, source: DataSource) -> Result:
    assert _worker_progress is not None
    with quiet_pml_bars():
        return function(item, _loaded(source), _worker_progress)


@functools.lru_cache(maxsize=1)
def _loaded(source: DataSource) -> RetrievalData:
    return source.load()


def _listen(queue: Any, progress: SuiteProgress) -> None:
    while (event := queue.get()) is not None:
        method, arguments = event
        getattr(progress, method)(*arguments)
