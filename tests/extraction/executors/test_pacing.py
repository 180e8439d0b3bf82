"""Concurrency that adapts, allowances, pauses."""

import asyncio
import time

import pytest

from dsbs.extraction.executors.base import describe_pace
from dsbs.extraction.executors.pacing import Concurrency, Pause, RateLimit


def test_the_limit_doubles_each_round_until_the_first_overload_and_then_creeps() -> None:
    slots = Concurrency(256)
    for _ in range(16):
        slots.answered()
    assert slots.limit == 32
    slots.overloaded(time.monotonic())
    assert slots.limit == 16
    for _ in range(16):
        slots.answered()
    assert 16.9 < slots.limit < 17.1


def test_requests_sent_before_a_cut_do_not_cut_again() -> None:
    slots, sent = Concurrency(64), time.monotonic()
    for _ in range(10):
        slots.overloaded(sent)
    assert slots.limit == 8
    slots.overloaded(time.monotonic())
    assert slots.limit == 4


def test_one_slot_is_always_left_and_the_limit_is_never_passed() -> None:
    slots = Concurrency(8)
    for _ in range(10):
        slots.overloaded(time.monotonic())
    assert slots.limit == 1
    for _ in range(1000):
        slots.answered()
    assert slots.limit == 8


def test_a_slot_given_to_one_who_left_goes_to_the_next() -> None:
    async def run() -> int:
        slots, entered = Concurrency(1), 0

        async def use(seconds: float) -> None:
            nonlocal entered
            async with slots:
                entered += 1
                await asyncio.sleep(seconds)

        first = asyncio.create_task(use(0.02))
        second, third = asyncio.create_task(use(0)), asyncio.create_task(use(0))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.gather(first, second, third, return_exceptions=True)
        assert slots.running == 0
        return entered

    assert asyncio.run(run()) == 2


def test_an_allowance_is_spread_evenly_and_corrected() -> None:
    async def run() -> float:
        stop, allowance, started = asyncio.Event(), RateLimit(6000), time.monotonic()
        for _ in range(20):
            await allowance.take(2, stop)
            allowance.correct(2, 1)  # half of what was expected was used: 20 of 100 a second
        return time.monotonic() - started

    assert 0.08 < asyncio.run(run()) < 0.4


def test_what_the_user_set_is_not_changed_by_the_server() -> None:
    fixed, free = RateLimit(10), RateLimit(None)
    fixed.adopt(99)
    free.adopt(99)
    free.adopt(None)
    assert (fixed.per_minute, free.per_minute) == (10, 99)


def test_a_pause_ends_when_the_extraction_stops() -> None:
    async def run() -> float:
        stop, pause, started = asyncio.Event(), Pause(), time.monotonic()
        pause.ask(60)
        asyncio.get_running_loop().call_later(0.02, stop.set)
        await pause.wait(stop)
        return time.monotonic() - started

    assert asyncio.run(run()) < 5


def test_a_server_that_asks_to_wait_a_day_is_asked_again_after_an_hour_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pause = Pause()
    pause.ask(86_400.0)
    pause.ask(86_390.0)
    assert 3590 < pause.left <= 3600
    assert describe_pace(None, pause.asked) == ["the server asks to wait 24 h"]
    (said,) = caplog.messages
    assert said.startswith("The server asks us to wait 24 h. Retrying after 60 min; Ctrl-C stops")
