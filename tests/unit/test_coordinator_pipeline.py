"""Several items of a stream at once, results in order."""

import threading

import pytest

from coordinator.pipeline import Pipeline


def test_results_come_in_order_whatever_finishes_first():
    gates = [threading.Event() for _ in range(4)]

    def work(number):
        gates[number].wait(10)
        return number

    results = Pipeline(4).map(work, iter(range(4)))
    for gate in reversed(gates):
        gate.set()
    assert list(results) == [0, 1, 2, 3]


def test_several_are_worked_on_at_once():
    together = threading.Barrier(4)
    assert list(Pipeline(4).map(lambda _: together.wait(10) >= 0, iter(range(8)))) == [True] * 8


def test_a_result_does_not_wait_for_the_next_item():
    more = threading.Event()

    def items():
        yield 1
        more.wait(10)
        yield 2

    results = Pipeline(2).map(lambda item: item, items())
    assert next(results) == 1
    more.set()
    assert list(results) == [2]


def test_a_stream_reads_no_further_than_its_window():
    gate, read = threading.Event(), []

    def items():
        for number in range(20):
            read.append(number)
            yield number

    results = Pipeline(8, per_stream=3).map(lambda number: gate.wait(10) and number, items())
    first = threading.Thread(target=lambda: next(results))
    first.start()
    first.join(0.2)
    assert len(read) <= 4
    gate.set()
    first.join(10)
    assert list(results) == list(range(1, 20))


def test_many_streams_have_one_item_each():
    pipeline = Pipeline(2, per_stream=4, in_hand=8)
    streams = [pipeline.map(lambda item: item, iter(range(5))) for _ in range(10)]
    assert pipeline.window() == 4
    for stream in streams:
        assert next(stream) == 0
    assert pipeline.window() == 1
    for stream in streams:
        assert list(stream) == [1, 2, 3, 4]
    assert pipeline.window() == 4


@pytest.mark.parametrize("where", ["work", "items"])
def test_a_fault_comes_after_the_results_before_it(where):
    def items():
        yield from range(3)
        if where == "items":
            raise ConnectionResetError("cut")
        yield 3

    def work(number):
        if number == 3:
            raise ConnectionResetError("cut")
        return number

    results = Pipeline(4).map(work, items())
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ConnectionResetError, match="cut"):
        next(results)


def test_leaving_early_ends_the_reading_thread():
    results = Pipeline(2).map(lambda item: item, iter(range(100)))
    next(results)
    results.close()
    for thread in threading.enumerate():
        if thread.name == "read":
            thread.join(10)
            assert not thread.is_alive()
