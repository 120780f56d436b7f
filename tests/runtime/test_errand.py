"""Coroutines without a task."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic

import pytest

from runtime import errand
from runtime.errand import Errand, due_by


async def result_of(coroutine):
    """The result of an errand that the loop runs, and whether it was there at once."""
    loop = asyncio.get_running_loop()
    ended, seen = loop.create_future(), []
    loop.call_soon(Errand(coroutine, ended.set_result).go_on)
    loop.call_soon(lambda: seen.append(ended.done()))
    result = await asyncio.wait_for(ended, 20)
    await asyncio.sleep(0)
    return result, seen[0]


def test_what_waits_for_nothing_ends_at_once_and_without_a_task():
    async def tell():
        return asyncio.current_task()

    assert asyncio.run(result_of(tell())) == (None, True)


def test_a_future_continues_it_without_a_task():
    async def tell():
        loop = asyncio.get_running_loop()
        for number in range(3):
            future = loop.create_future()
            loop.call_later(0.001, future.set_result, number)
            assert await future == number
        return "ended", asyncio.current_task()

    assert asyncio.run(result_of(tell())) == (("ended", None), False)


def test_an_error_of_a_future_is_raised_where_it_is_awaited():
    async def tell():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_later(0.001, future.set_exception, OSError("gone"))
        try:
            await future
        except OSError as error:
            return str(error)

    assert asyncio.run(result_of(tell())) == ("gone", False)


def test_a_deadline_makes_it_a_task_and_is_kept():
    async def tell():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, None)
        await future
        try:
            async with due_by(monotonic() + 0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "too late", asyncio.current_task() is not None

    assert asyncio.run(result_of(tell())) == (("too late", True), False)


def test_a_deadline_that_has_passed_leaves_time_for_nothing():
    async def tell():
        try:
            async with due_by(monotonic() - 1):
                await asyncio.sleep(0)
        except TimeoutError:
            return "too late"

    assert asyncio.run(result_of(tell())) == ("too late", False)


def test_a_task_is_kept_until_it_has_ended_and_no_longer():
    async def count():
        await asyncio.sleep(0)
        return len(errand._under_way)

    async def run():
        result, _ = await result_of(count())
        return result, len(errand._under_way)

    assert asyncio.run(run()) == (1, 0)


@pytest.mark.parametrize("needs_a_task", [False, True])
def test_an_unexpected_error_is_logged_and_ends_it_with_nothing(caplog, needs_a_task):
    async def fail():
        if needs_a_task:
            await asyncio.sleep(0)
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR):
        assert asyncio.run(result_of(fail())) == (None, not needs_a_task)
    assert "ZeroDivisionError" in caplog.text


def test_a_cancelled_task_ends_it_with_nothing():
    async def wait():
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    assert asyncio.run(result_of(wait())) == (None, False)
