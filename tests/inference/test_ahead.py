"""Photos are read one batch ahead, and no further."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_flowers.inference.ahead import PHOTOS_AT_A_TIME, read_ahead


def test_batches_come_in_order_and_few_are_taken_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield number

    def read(number: int) -> int:
        if number == 3:
            raise ValueError("broken")
        return 10 * number

    assert PHOTOS_AT_A_TIME == 16
    batches = read_ahead(read, items(), workers=2)
    assert taken == 0
    found: list[int] = []
    for number, batch in enumerate(batches):
        assert taken == (32, 40, 40)[number]  # the next one is being read
        assert len(batch) == (16, 16, 8)[number]
        for item, future in batch:
            if item == 3:
                with pytest.raises(ValueError, match="broken"):
                    future.result()
            else:
                assert future.result() == 10 * item
            found.append(item)
    assert found == list(range(40))
    assert list(read_ahead(read, [], workers=1)) == []
    assert [len(batch) for batch in read_ahead(read, range(16), workers=1)] == [16]


def test_reading_that_is_given_up_reads_no_more_and_leaves_no_thread() -> None:
    before = threading.active_count()
    read: list[int] = []
    may_go_on = threading.Event()

    def slow(number: int) -> None:
        read.append(number)
        may_go_on.wait(60)

    batches = read_ahead(slow, range(100), workers=1)
    next(batches)
    threading.Timer(0.1, may_go_on.set).start()
    batches.close()
    assert read == [0]
    assert threading.active_count() <= before + 1  # the timer


def test_reading_that_is_given_up_leaves_given_threads_idle() -> None:
    begun: list[int] = []

    def read(item: int) -> int:
        begun.append(item)
        time.sleep(0.01)
        return item

    with ThreadPoolExecutor(2) as threads:
        batches = read_ahead(read, range(1000), workers=2, threads=threads)
        assert [one.result() for _, one in next(batches)] == list(range(16))
        batches.close()
        count = len(begun)
        assert count <= 32
        assert threads.submit(read, -1).result() == -1
        assert len(begun) == count + 1
