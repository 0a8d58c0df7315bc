import threading
import time

import pytest

from edge_app.blocks import cut
from edge_app.cores import CORES, OTHERS, Task, offer, pool, results, share_out
from edge_app.preprocessing import Preprocessing


def test_a_task_is_done_once_however_many_threads_come_to_it() -> None:
    done: list[int] = []

    def work() -> int:
        time.sleep(0.02)
        done.append(1)
        return len(done)

    task = Task(work)
    offer([task])
    threads = [threading.Thread(target=task.begin) for _ in range(4)]
    for each in threads:
        each.start()
    assert task.result() == 1
    for each in threads:
        each.join()
    assert done == [1]


def test_whoever_asks_for_the_result_of_work_that_failed_is_told() -> None:
    task = Task(lambda: 1 // 0)
    offer([task])
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            task.result()


def test_a_task_may_wait_for_others_while_all_other_threads_are_busy() -> None:
    free = threading.Event()
    waiting = [pool.submit(free.wait, 20) for _ in range(OTHERS)]
    try:
        first = Task(lambda: 20)
        second = Task(lambda: first.result() + 1)
        offer([first, second])
        assert results([second, first]) == [21, 20]
        assert not any(each.done() for each in waiting)
    finally:
        free.set()


def test_shared_work_comes_back_in_the_order_of_its_items() -> None:
    assert share_out(lambda number: number**2, range(3 * CORES)) == [number**2 for number in range(3 * CORES)]


@pytest.mark.parametrize("height", range(224, 2600, 16))
def test_blocks_are_rows_of_a_few_pixels_whatever_the_frames_height(height: int) -> None:
    """A tile whose height is a prime number was once cut into single rows, which took three times as long."""
    grid = cut(height, 1552, Preprocessing())
    assert grid.height * grid.stack * (224 // grid.small_height) == height
    assert 5 <= grid.height <= 60 or grid.stack == 1
