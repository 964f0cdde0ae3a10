"""Working on several items of a stream at once, with results in order.

A disk that has to flush makes one wait long and many wait hardly longer: an upload whose chunks are
written one by one runs at the disk's latency. Streams share a fixed number of workers, first come
first served, and a number of items that may be in hand, so that memory stays bounded.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Pipeline:
    """Workers that streams share."""

    def __init__(self, workers: int, *, per_stream: int = 4, in_hand: int = 32) -> None:
        """Make it; threads start when they are needed.

        Args:
            workers: items that are worked on at once.
            per_stream: items of one stream in hand at most.
            in_hand: items of all streams; each stream may have one whatever the others have.
        """
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="chunk")
        self._per_stream, self._in_hand = per_stream, in_hand
        self._streams = 0
        self._lock = threading.Lock()

    def map(self, work: Callable[[Item], Result], items: Iterator[Item]) -> Iterator[Result]:
        """Yield `work(item)` for each item, in order, each as soon as it is there.

        The next result does not wait for the next item. What `work` or `items` raises is raised
        here after the results before it.
        """
        with self._lock:
            self._streams += 1
        run = _Run(self._pool, self.window, work, items)
        try:
            yield from run.results()
        finally:
            run.close()
            with self._lock:
                self._streams -= 1

    def window(self) -> int:
        """Items that a stream may have in hand now."""
        return max(1, min(self._per_stream, self._in_hand // max(1, self._streams)))


class _Run(Generic[Item, Result]):
    """One stream: a thread of its own reads and hands out work."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        window: Callable[[], int],
        work: Callable[[Item], Result],
        items: Iterator[Item],
    ) -> None:
        self._pool, self._window, self._work, self._items = pool, window, work, items
        self._changed = threading.Condition()
        self._running: deque[Future[Result]] = deque()
        self._fault: BaseException | None = None
        self._ended = self._closed = False
        threading.Thread(target=self._read, name="read", daemon=True).start()

    def results(self) -> Iterator[Result]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._running or self._ended)
                if not self._running:
                    break
                first = self._running[0]
            result = first.result()
            with self._changed:
                self._running.popleft()
                self._changed.notify_all()
            yield result
        if self._fault is not None:
            raise self._fault

    def close(self) -> None:
        """Hand out no more; the thread ends as soon as the stream yields or ends."""
        with self._changed:
            self._closed = True
            for future in self._running:
                future.cancel()
            self._changed.notify_all()

    def _read(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    self._changed.wait_for(lambda: self._may_go_on())
                    if self._closed:
                        return
                    self._running.append(self._pool.submit(self._work, item))
                    self._changed.notify_all()
                del item  # not to be held while the next one is awaited
        except BaseException as error:
            self._fault = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _may_go_on(self) -> bool:
        return self._closed or len(self._running) < self._window()
