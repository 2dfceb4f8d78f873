"""Somebody outside, who outlives all engines: asks whichever lives, and asks again when no answer came."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from outlive._core.authoring import Workflow
from outlive.engine import Engine
from outlive.errors import ConfigurationError, HookNotFound, RunNotFound, StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 86400.0


class Life(Protocol):
    """One engine, from its opening to its death."""

    engine: Engine
    over: asyncio.Future[None]


class Client:
    """What a scenario does its part with. Runs get ids of their own choice, so that a start can be asked for again."""

    def __init__(self, alive: Callable[[], Awaitable[Life]]) -> None:
        self._alive = alive

    async def ask(self, question: Callable[[Engine], Awaitable[T]]) -> T:
        """The answer of an engine to ``question``; of the next one if the first dies before it answers."""
        while True:
            life = await self._alive()
            asking = asyncio.ensure_future(question(life.engine))
            try:
                first: set[asyncio.Future[Any]] = {asking, life.over}
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                if asking.done():
                    return asking.result()
            except (StoreUnavailable, ConfigurationError):
                await asyncio.sleep(FIRST_PAUSE)
                if not life.over.done():
                    raise  # nobody died: the engine means it
            finally:
                asking.cancel()

    async def start(self, workflow: Workflow[P, Any], *args: P.args, **kwargs: P.kwargs) -> str:
        """Start a run; its id, which is that of ``workflow.options(run_id=...)`` or the workflow's name."""
        named = workflow if workflow.run_id is not None else workflow.options(run_id=workflow.name)
        run = await self.ask(lambda engine: engine.start(named, *args, **kwargs))
        return run.id

    async def result(self, run_id: str) -> Any:
        """How the run ends; its exception is raised."""
        return await self.ask(lambda engine: engine.await_result(engine.get_run(run_id).id, None, or_parked=True))

    async def run(self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Start a run and wait for its end."""
        result: R = await self.result(await self.start(workflow, *args, **kwargs))
        return result

    async def send(self, token: str, payload: object = None, *, key: str) -> None:
        """Send ``payload`` once there is a hook for it; ``key`` makes it one payload, however often it is sent."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self.ask(lambda engine: engine.get_hook(token))
                break
            except HookNotFound:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        # from here on it is only sent: when no answer came, the hook may be gone because the payload arrived
        await self.ask(lambda engine: engine.resume_hook(token, payload, idempotency_key=key))

    async def seen(self, run_id: str, kind: str, count: int = 1) -> None:
        """Wait until ``count`` events of this kind are in the log of the run's newest link."""
        pause = FIRST_PAUSE
        while True:
            try:
                events = await self.ask(lambda engine: engine.get_run(run_id).events())
                if sum(event.kind == kind for event in events) >= count:
                    return
            except RunNotFound:
                pass  # not yet
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def cancel(self, run_id: str) -> None:
        """Ask the run to end, once: before asking again it looks whether the first request arrived."""

        asked = False

        async def unless_asked(engine: Engine) -> None:
            nonlocal asked
            if asked:
                await asyncio.sleep(FIRST_PAUSE)  # a request that arrived is taken into the log meanwhile
            asked = True
            run = engine.get_run(run_id)
            if not any(event.kind == "cancel_requested" for event in await run.events()):
                await run.cancel()

        await self.ask(unless_asked)

    async def wake_up(self, run_id: str) -> None:
        """End the sleeps that the run is in; asked again, maybe also those that it has begun meanwhile."""
        await self.ask(lambda engine: engine.get_run(run_id).wake_up())
