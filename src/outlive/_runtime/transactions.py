"""Steps in a transaction of the user's: their effect and their recorded result are committed together, or neither is.

The step runs between the begin and the commit of a transaction on the user's own connection, and its result is written on that, fenced, as
the last thing before the commit. That row is the record; the event in the log follows from it. So before an attempt begins, and after one
has failed, it is looked for: a commit whose answer got lost is found, and so is what a worker did that died before it could say so.
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
from outlive.model.ids import RunId, StepId
from outlive.stores.protocol import Store

Begin: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]
"""Begins a transaction and gives its connection; commits it at the end of the ``with``, or rolls back."""

_NONE: Final = (
    "a step with transaction=True needs to know how to begin a transaction; give the engine one: "
    "Engine(url, transactions=pool.connection) with psycopg's pool, transactions=async_sessionmaker(...).begin with SQLAlchemy"
)


ASK_AGAIN: Final = 0.5
"""Seconds."""


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
        step = attempt.step_id
        recorded = await self._store.result_of(step, fence.run)
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
                    result = Raw(codec.encode(value, what=f"result of {step}"))
                except SerializationError as error:
                    raise Hopeless(error) from error
                if not await self._store.leave_result(connection, step, fence, completed(attempt, result)):
                    raise _NotOurs
        except (Exception, asyncio.CancelledError) as error:
            # the commit may have happened though it says otherwise, or another attempt's has
            recorded = await self._found_out(step, fence.run)
            if recorded is not None:
                return Recorded(recorded)
            if isinstance(error, _NotOurs):
                raise StepError("the run belongs to another worker now; nothing was committed") from None
            raise
        return Recorded(result)

    async def _found_out(self, step: StepId, run: RunId) -> Raw | None:
        """What is recorded, once the store can tell: before that nobody may say that the step has failed."""
        while True:
            try:
                return await self._store.result_of(step, run)
            except StoreUnavailable:
                await asyncio.sleep(ASK_AGAIN)


class Hopeless(Exception):
    """It would be so again (R10): the attempt fails for good, with ``error``."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class _NotOurs(Exception):
    """The result may not be recorded: another worker has the run, or another attempt was first."""
