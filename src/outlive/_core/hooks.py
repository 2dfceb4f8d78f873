"""Hooks: named places where a run accepts payloads from outside."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar, cast, overload

from msgspec import Raw
from typing_extensions import override

from outlive._core import payloads
from outlive._core.context import current, required
from outlive._core.loop import Future
from outlive._core.machine import Machine
from outlive._core.seeds import hash_token
from outlive._core.signals import Undecodable
from outlive._core.texts import LONGEST_NAME, check_text
from outlive._core.waiting import Durable
from outlive.errors import HookConflict, HookNotFound, NonDeterminismError, OutliveError, PayloadInvalid
from outlive.model import events as ev
from outlive.model.commands import DisposeHook, OpenHook
from outlive.model.webhooks import WebhookSettings

T = TypeVar("T")


class _Received(NamedTuple):
    """A payload as decoded, with the event that brought it."""

    value: object
    event: ev.HookReceived


class Hook(Generic[T]):
    """A place to receive payloads. Await it for the next one, or iterate over it; ``with`` disposes it at the end.

    Payloads that came before anybody awaited are kept, in the order of their acceptance. Each goes to one receiver.
    """

    def __init__(
        self,
        machine: Machine,
        kind: object,
        token: str | None,
        metadata: object,
        webhook: WebhookSettings | None = None,
    ) -> None:
        schema = f"{kind.__module__}:{kind.__qualname__}" if isinstance(kind, type) else ""
        encoded = Raw(machine.encode(metadata, "metadata")) if metadata is not None else ev.NOTHING
        # the ref names the token, so it is taken first: a hook begins when it is created (R1)
        number = machine.next_ref
        self.token: str = machine.seed.token(number) if token is None else token
        hashed = hash_token(self.token)
        self.ref: int = machine.issue("hook", "", hashed)
        self._machine = machine
        self._kind = kind
        self._buffer: deque[_Received] = deque()
        self._receivers: deque[Future[_Received]] = deque()
        self._registered: Future[str | None] = machine.loop.create_future()
        self._conflict: str | None = None
        self._disposed = False
        command = OpenHook(
            ref=self.ref, token_hash=hashed, token=token or "", schema=schema, metadata=encoded, webhook=webhook
        )
        machine.call(command, self._registered, self.ref, target=self)

    # --- in a body ---------------------------------------------------------------------------------------------------

    def receive(self) -> Durable[T]:
        """The next payload.

        Raises:
            HookConflict: Another run holds the token.
            HookNotFound: The hook was disposed.
            PayloadInvalid: The payload does not fit the hook's type.
        """
        given: list[_Received] = []
        return Durable(self._receive(given), lambda: self._put_back(given))

    def __await__(self) -> Generator[Any, Any, T]:
        return self.receive().__await__()

    def conflict(self) -> Durable[str | None]:
        """The id of the run that holds the token, or None once this hook is registered, durably."""

        async def registered() -> str | None:
            await self._enter()
            return await asyncio.shield(self._registered)

        return Durable(registered())

    def dispose(self) -> None:
        """Free the token. Payloads accepted and not yet delivered are recorded as discarded."""
        machine = self._machine
        if self._disposed or machine.loop.dropping or self._conflict is not None:
            return
        self._check()
        self._disposed = True
        opened = machine.open.get(self.ref)
        if opened is not None:
            opened.withdrawn = True  # open until its end is in the log, so that a crash before that does not forget it
        if self._registered.done():
            machine.put(DisposeHook(self.ref))  # else once it is registered: if another run has the token, it never is
        for receiver in self._receivers:
            if not receiver.done():
                receiver.set_exception(self._gone())
        self._receivers.clear()

    @override
    def __hash__(self) -> int:
        return self.ref  # a set of hooks is in one order in every process (R21)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dispose()

    async def __aiter__(self) -> AsyncIterator[T]:
        while not (self._disposed and not self._buffer):
            try:
                payload = await self.receive()
            except HookNotFound:
                return
            yield payload

    def _check(self) -> None:
        if current() is not self._machine:
            raise NonDeterminismError("a hook was used outside the workflow that created it; pass its token instead")

    async def _enter(self) -> None:
        self._check()
        await self._machine.suspend_if_inert()

    async def _receive(self, given: list[_Received]) -> T:
        await self._enter()
        if self._conflict is not None:
            raise self._conflicting()
        if self._buffer:
            return self._open(self._buffer.popleft(), given)
        if self._disposed:
            raise self._gone()
        receiver: Future[_Received] = self._machine.loop.create_future()
        self._receivers.append(receiver)
        try:
            received = await receiver
        except asyncio.CancelledError:
            if receiver.done() and not receiver.cancelled() and receiver.exception() is None:
                self._give(receiver.result(), first=True)  # it was given to one who has left
            elif receiver in self._receivers:
                self._receivers.remove(receiver)
            raise
        return self._open(received, given)

    def _open(self, received: _Received, given: list[_Received]) -> T:
        given.append(received)
        if isinstance(received.value, PayloadInvalid):
            raise received.value
        return cast("T", received.value)

    def _put_back(self, given: list[_Received]) -> None:
        if given:
            self._give(given.pop(), first=True)

    def _give(self, item: _Received, *, first: bool = False) -> None:
        while self._receivers:
            receiver = self._receivers.popleft()
            if not receiver.done():
                receiver.set_result(item)
                return
        if first:
            self._buffer.appendleft(item)
        else:
            self._buffer.append(item)

    def _gone(self) -> OutliveError:
        return HookNotFound("this hook was disposed; create another one to receive more")

    def _conflicting(self) -> HookConflict:
        return HookConflict(
            f"run {self._conflict} holds the token of this hook; choose another token, or wait for that run",
            run_id=self._conflict or "",
        )

    # --- what events do (outcomes.HookTarget) ------------------------------------------------------------------------

    def undelivered(self) -> list[ev.HookReceived]:
        return [received.event for received in self._buffer]

    def prepare(self, event: ev.HookCreated | ev.HookConflict | ev.HookReceived) -> Callable[[], None]:
        match event:
            case ev.HookCreated():
                return self._opened
            case ev.HookConflict(run_id=holder):
                return lambda: self._lose(holder)
            case ev.HookReceived():
                received = _Received(self._read(event), event)
                return lambda: self._give(received)

    def _read(self, event: ev.HookReceived) -> object:
        """What the receiver gets: an exception if it was found not to fit when it was taken in."""
        if event.fits is False:
            return PayloadInvalid(event.invalid)
        try:
            return payloads.read(event.payload, self._kind, self._machine.codec)
        except PayloadInvalid as invalid:
            if event.fits:
                raise Undecodable(f"a payload that fitted its hook does so no more: {invalid}") from invalid
            return invalid

    def refusal(self, payload: ev.Payload) -> str:
        """Why ``payload`` does not fit; empty if it does."""
        try:
            payloads.read(payload, self._kind, self._machine.codec)
        except PayloadInvalid as invalid:
            return str(invalid)
        except (
            Exception
        ) as error:  # a validator of the user's that fails: the fact is that the payload did not get through it
            return f"the payload can't be checked: {type(error).__name__}: {error}"
        return ""

    def _opened(self) -> None:
        _settle(self._registered, None)
        if self._disposed:
            self._machine.put(DisposeHook(self.ref))

    def _lose(self, holder: str) -> None:
        self._conflict = holder
        _settle(self._registered, holder)
        for receiver in self._receivers:
            if not receiver.done():
                receiver.set_exception(self._conflicting())
        self._receivers.clear()


def _settle(future: Future[str | None], value: str | None) -> None:
    if not future.done():
        future.set_result(value)


@overload
def create_hook(type: type[T], *, token: str | None = None, metadata: object = None) -> Hook[T]: ...
@overload
def create_hook(type: None = None, *, token: str | None = None, metadata: object = None) -> Hook[Any]: ...
def create_hook(type: type[Any] | None = None, *, token: str | None = None, metadata: object = None) -> Hook[Any]:
    """Open a place to receive payloads of ``type`` in this run.

    Args:
        type: What payloads must be; converted by msgspec or pydantic. Unset: whatever was sent.
        token: A name of your choice that senders know; one open hook at a time holds it. Unset: 256 secret bits.
        metadata: Shown with the hook.

    Raises:
        NotInWorkflow: Called outside a workflow body.
    """
    machine = required("create_hook()")
    if token is not None and not check_text(token, "a token", most=LONGEST_NAME):
        raise ValueError("a token has at least one character")
    return Hook(machine, type, token, metadata)
