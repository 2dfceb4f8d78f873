"""Steps in a transaction of the user's: their effect and their recorded result are committed together, or neither is.

The step runs between the begin and the commit of a transaction on the user's own connection, and its result is written on that, fenced, as
the last thing before the commit. That row is the record; the event in the log follows from it. So before an attempt begins it is looked
for, which finds what a worker did that died before it could say so; and where one is recorded as failed or cancelled, the store has the
last word (``RunCommit.in_doubt``), which finds a commit whose answer got lost, or that nobody waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeAlias

from msgspec import Raw, Struct

from outlive._codec import Codec
from outlive._core.context import step_connection
from outlive._runtime.attempts import Attempt
from outlive._runtime.steps import completed
from outlive.errors import ConfigurationError, SerializationError, StepError, StoreUnavailable
from outlive.stores.protocol import Fence, Store

Begin: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]
"""Begins a transaction and gives its connection; commits it at the end of the ``with``, or rolls back."""

ASK_AGAIN: Final = 0.5
"""Seconds between two looks whether the store has answered."""
_NONE: Final = (
    "a step with transaction=True needs to know how to begin a transaction; give the engine one: "
    "Engine(url, transactions=pool.connection) with psycopg's pool, transactions=async_sessionmaker(...).begin with SQLAlchemy"
)


class Recorded(Struct, frozen=True):
    """What a transaction has recorded as the result of a step, in the codec's form."""

    result: Raw


class Transactions:
    """How steps of one engine get into a transaction."""

    def __init__(self, store: Store, begin: Begin | None) -> None:
        self._store = store
        self._begin = begin

    async def run(self, attempt: Attempt, call: Callable[[], Coroutine[Any, Any, object]], codec: Codec) -> object:
        """The value that ``call`` gives, or what is recorded already; when this returns, it is committed.

        Raises:
            StepError: The run belongs to another worker now; nothing was committed.
        """
        if self._begin is None:
            raise Hopeless(ConfigurationError(_NONE))
        fence = attempt.writes.fence
        if fence is None:
            raise StepError("this worker has lost its lease; whoever takes the run over does this step")
        recorded = await self._recorded(attempt, fence)
        if recorded is not None:
            return Recorded(recorded)
        try:
            async with self._begin() as connection:
                token = step_connection.set(connection)
                try:
                    value = await call()
                finally:
                    step_connection.reset(token)
                try:
                    result = Raw(codec.encode(value, what=f"result of {attempt.step_id}"))
                except SerializationError as error:
                    raise Hopeless(error) from error
                await self._leave(connection, attempt, fence, result)
        except Exception:
            recorded = await self._found(attempt, fence)
            if recorded is None:
                raise
            return Recorded(recorded)
        finally:
            attempt.committing = False
        return Recorded(result)

    async def _recorded(self, attempt: Attempt, fence: Fence) -> Raw | None:
        """What is recorded already, once the store can tell: an attempt that did not begin has not failed."""
        while True:
            try:
                return await self._store.result_of(attempt.step_id, fence.run)
            except StoreUnavailable:
                await asyncio.sleep(ASK_AGAIN)

    async def _leave(self, connection: object, attempt: Attempt, fence: Fence, result: Raw) -> None:
        """The last thing before the commit. What was given up may not come back: from here on nobody gives it up."""
        if attempt.ended:
            raise StepError("this attempt was given up; nothing was committed")
        attempt.committing = True
        if not await self._store.leave_result(connection, attempt.step_id, fence, completed(attempt, result)):
            raise StepError("the run belongs to another worker now; nothing was committed")

    async def _found(self, attempt: Attempt, fence: Fence) -> Raw | None:
        """The result after all, where a commit may have happened though it says otherwise."""
        if not attempt.committing:
            return None
        try:
            return await self._store.result_of(attempt.step_id, fence.run)
        except StoreUnavailable:
            return None  # whoever records how the attempt has ended finds out


class Hopeless(Exception):
    """It would be so again (R10): the attempt fails for good, with ``error``."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error
