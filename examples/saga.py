"""A saga: when a later step fails, or the run is cancelled, what was done before is undone in reverse order.

The script books two trips: the first can't be paid, the second is cancelled by its customer while it waits for a
confirmation.
"""

from __future__ import annotations

import asyncio

from _effects import effect

from outlive import Engine, FatalError, Run, RunCancelled, RunFailed, create_hook, step, workflow


class NoMoney(FatalError):
    pass


@step
async def book(what: str, trip: str) -> None:
    await asyncio.sleep(0.05)
    effect("booked", f"{what} for {trip}")


@step
async def release(what: str, trip: str) -> None:
    """Releases what is booked under this name; if nothing is, that is fine too."""
    await asyncio.sleep(0.05)
    effect("released", f"{what} for {trip}")


@step
async def pay(trip: str, budget: int) -> None:
    await asyncio.sleep(0.05)
    if budget < 1000:
        effect("refused", f"the payment for {trip}")
        raise NoMoney(f"{trip} costs 1000, not {budget}")
    effect("paid", f"for {trip}")


@workflow
async def book_trip(trip: str, budget: int) -> str:
    undo: list[str] = []
    try:
        for what in ("flight", "hotel", "car"):
            undo.append(what)  # before it is booked: an attempt that was cut off may have booked it all the same
            await book(what, trip)
        await pay(trip, budget)
        with create_hook(bool, token=f"confirm:{trip}") as confirmation:
            await confirmation
    except (Exception, asyncio.CancelledError):
        for what in reversed(undo):
            await release(what, trip)
        raise
    return f"{trip}: booked"


async def change_of_mind(trip: Run[str]) -> None:
    """The customer, who cancels once everything is booked; once, also when this script is run again."""
    while True:
        so_far = {event.kind for event in await trip.events()}
        if "cancel_requested" in so_far:
            return
        if "hook_created" in so_far:
            await trip.cancel()
            return
        await asyncio.sleep(0.05)


async def main() -> None:
    async with Engine() as engine:
        poor = await engine.start(book_trip.options(run_id="trip-to-rome"), "Rome", budget=10)
        try:
            print(await poor.result())
        except RunFailed as failure:
            print("Rome failed:", failure.__cause__)

        fickle = await engine.start(book_trip.options(run_id="trip-to-oslo"), "Oslo", budget=2000)
        customer = asyncio.create_task(change_of_mind(fickle))
        try:
            print(await fickle.result())
        except RunCancelled:
            print("Oslo was cancelled")
        customer.cancel()


if __name__ == "__main__":
    asyncio.run(main())
