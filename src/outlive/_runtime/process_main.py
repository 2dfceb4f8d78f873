"""The main module of a process that runs steps for a worker: ``python -m outlive._runtime.process_main FD``."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import importlib.util
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from outlive._codec import Codec
from outlive._core.authoring import Step
from outlive._core.context import StepMetadata, step_metadata
from outlive._core.registry import registry
from outlive._runtime import processes
from outlive._runtime.processes import LENGTH, READY, Answer, Call
from outlive.errors import ConfigurationError, FatalError, RetryableError, SerializationError, StepError
from outlive.model.durations import until
from outlive.model.ids import RunId, StepId

_calls: Final = msgspec.json.Decoder(Call)
_encoder: Final = msgspec.json.Encoder()


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    connection = socket.socket(fileno=int(sys.argv[1]))
    me = os.getpid()
    # what a step forks must neither answer nor hide that this process has died
    os.register_at_fork(after_in_child=lambda: os.close(connection.detach()))
    calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, calls), name="outlive-ear", daemon=True).start()
    codec = Codec(registry.types)
    try:
        connection.sendall(READY)
        while True:
            answer = _encoder.encode(_answer(calls.get(), codec))
            if os.getpid() != me:
                os._exit(0)  # forked by a step, and come back here
            connection.sendall(LENGTH.pack(len(answer)) + answer)
    except KeyboardInterrupt:  # the attempt was cancelled, and has ended
        os._exit(128 + signal.SIGINT)


def _listen(connection: socket.socket, calls: queue.SimpleQueue[Call]) -> None:
    """Ends the process when its worker has gone, whatever the step is busy with and however the connection breaks."""
    try:
        with connection.makefile("rb") as stream:
            while len(head := stream.read(LENGTH.size)) == LENGTH.size:
                calls.put(_calls.decode(stream.read(LENGTH.unpack(head)[0])))
    finally:
        os._exit(0)


def _answer(call: Call, codec: Codec) -> Answer:
    try:
        step = _step(call)
        arguments = codec.decode(call.input)
        assert isinstance(arguments, dict), "a step's input is not a set of arguments"
        args, kwargs = step.binder.spread(cast("dict[str, object]", arguments))
        context = contextvars.copy_context()
        context.run(step_metadata.set, lambda: _metadata(call))
        value: object = context.run(_run, step, args, kwargs)
        return Answer(Raw(codec.encode(value, what=f"result of {call.step}")))
    except KeyboardInterrupt:
        raise
    except RetryableError as error:
        after = error.retry_after
        pause = None if after is None else until(after, now=datetime.now(UTC).timestamp())
        return Answer(Raw(codec.encode_exception(error)), raised=True, retry_after=pause)
    except BaseException as error:
        fatal = isinstance(error, FatalError | SerializationError | ConfigurationError)
        if not isinstance(error, Exception) or isinstance(error, StopIteration):  # as in the worker (R12)
            error = StepError(str(error), type_name=f"{type(error).__module__}:{type(error).__qualname__}")
        return Answer(Raw(codec.encode_exception(error)), raised=True, fatal=fatal)


def _run(step: Step[..., Any], args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    made = step.fn(*args, **kwargs)
    return asyncio.run(made) if step.is_async else made


def _metadata(call: Call) -> StepMetadata:
    return StepMetadata(
        step_id=StepId(call.step_id),
        name=call.step,
        run_id=RunId(call.run_id),
        attempt=call.attempt,
        started_at=datetime.fromtimestamp(call.started_at, UTC),
        overlapping=False,
        is_cancelled=lambda: False,
    )


def _step(call: Call) -> Step[..., Any]:
    """The step, from the module that its worker has it from; a script is imported under the name that its runs have (R37)."""
    found = registry.steps.get(call.step)
    if found is not None:
        return found
    sys.path[:] = call.path
    processes.importing = True
    try:
        _import(call)
    finally:
        processes.importing = False
    return registry.step(call.step)


def _import(call: Call) -> None:
    try:
        importlib.import_module(call.module)
    except ModuleNotFoundError as missing:
        if not call.file or not f"{call.module}.".startswith(f"{missing.name}."):
            raise
        spec = importlib.util.spec_from_file_location(call.module, call.file)
        if spec is None or spec.loader is None:
            raise
        module = importlib.util.module_from_spec(spec)
        sys.modules[call.module] = module
        spec.loader.exec_module(module)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        pass
    except Exception:  # whatever it is, it is told on the worker's terminal
        traceback.print_exc()
        raise SystemExit(1) from None
