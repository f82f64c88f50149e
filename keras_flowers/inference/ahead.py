"""Photos are read by threads while the model answers those before them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Item = TypeVar("Item")
Read = TypeVar("Read")

PHOTOS_AT_A_TIME = 16
"""How many photos are handed to the model together: enough to keep all cores busy; twice as many
are in memory, as pixels of the model's size."""


def read_ahead(
    read: Callable[[Item], Read],
    items: Iterable[Item],
    *,
    workers: int,
    threads: ThreadPoolExecutor | None = None,
) -> Generator[list[tuple[Item, Future[Read]]], None, None]:
    """Reads items in threads, one batch ahead of the caller.

    Args:
        read: Called for each item, in any thread.
        items: Taken as they are needed: however many there are, a few dozen are held.
        workers: How many threads are started, and ended.
        threads: Those that are there already, instead.

    Yields:
        Batches of `PHOTOS_AT_A_TIME` items, in their order, each with what reading gives or raises.
    """
    from concurrent.futures import ThreadPoolExecutor, wait  # here: one photo needs no threads

    items = iter(items)
    pool = threads or ThreadPoolExecutor(workers)
    batches: deque[list[tuple[Item, Future[Read]]]] = deque()
    try:
        while batch := list(islice(items, PHOTOS_AT_A_TIME)):
            batches.append([(item, pool.submit(read, item)) for item in batch])
            if len(batches) > 1:
                yield batches.popleft()
        while batches:
            yield batches.popleft()
    finally:
        if pool is not threads:
            pool.shutdown(cancel_futures=True)
        else:  # nothing is read any more when the caller goes on
            wait([one for batch in batches for _, one in batch if not one.cancel()])
