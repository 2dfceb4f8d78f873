"""The determinism guard: what would differ on replay raises while a workflow body runs.

A body runs in *activations*, synchronous stretches on one thread. The guard stands only within them, and only on their
thread; everything else in the process is left as it is. It has two eyes:

- an audit hook (both modes), which CPython calls before it opens a file or a socket, starts a process or a thread, or
  sleeps. One hook for the whole process, since it can't be taken away again; outside activations it returns at once;
- a profile function (strict mode), which CPython calls before each call that Python code makes. It sees the function
  itself and not its name, so ``from time import time`` hides nothing. It slows pure Python several times over.

What strict mode can't see: a C function called from C (``map(time.time, ...)``, ``partial(time.time)()``, a pydantic
field's ``default_factory=time.time``); C extensions with I/O or chance (``numpy.random.rand``, ``psycopg2``);
iterating over a file that was opened outside; the environment, time zone, working directory and machine's name, which
count as configuration; ``id()``, ``hash()`` and the order of string sets (R22); globals that other threads change.
Cheap mode sees only what is audited: clocks, chance, uuids and foreign asyncio primitives pass it, and so do
``time.sleep`` before 3.13 and thread starts before 3.12.

The nearest frames decide (R29). A call that passes through an allow-listed module on its way from the body passes:
``import x`` opens files, ``logging`` reads the clock, a traceback reads source. All else is refused, also in a library.
"""

from __future__ import annotations

import asyncio
import opcode
import sys
from _thread import _local  # pyright: ignore[reportPrivateUsage]  # `threading` is closed to the core; this is its `local`
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, cast

from outlive._core import guard_table as table
from outlive.errors import NonDeterminismError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from types import FrameType, TracebackType


class GuardMode(StrEnum):
    """How closely bodies are watched."""

    STRICT = "strict"
    CHEAP = "cheap"
    OFF = "off"


class _Here(_local):
    """What this thread is doing: the guard of the activation that runs on it."""

    guard: Guard | None = None


class _Profiler(Protocol):
    def enable(self) -> None: ...


class _Stream(Protocol):
    def fileno(self) -> int: ...


class _Builtin(Protocol):
    """What a ``c_call`` event brings: a function of a C module; or a method bound to its owner, then without module."""

    __module__: str | None  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleVariableOverride]  # as it is
    __name__: str
    __self__: object


class _LoopBound(Protocol):
    """An asyncio lock or queue; ``_loop`` is None until it is bound to the loop that uses it."""

    _loop: asyncio.AbstractEventLoop | None


_here: Final = _Here()
_hooked: list[bool] = []  # not empty once the audit hook is in


class Guard:
    """Watches the activations of one thread; a worker's runs share one.

    Example::

        guard.enter()
        try:
            for handle in ready:
                guard.rearm()
                handle._run()
        finally:
            guard.exit()
    """

    def __init__(self, mode: GuardMode) -> None:
        self.mode: Final = mode
        self._on: Final = mode is not GuardMode.OFF
        self.strict: Final = mode is GuardMode.STRICT
        self._pauses = 0
        self._pause: Final = _Pause(self)
        self._inside = False
        self._before: object = None
        self._raising: NonDeterminismError | None = None
        self._watch: Final = self._make_watch()
        if self._on and not _hooked:
            _hooked.append(True)
            sys.addaudithook(_audit)

    def enter(self) -> None:
        """Begin an activation on this thread."""
        if not self._on:
            return
        assert _here.guard is None, "activations are never nested (R27)"
        if self.strict:
            self._inside = True
            self._before = sys.getprofile()
            sys.setprofile(self._watch)
        _here.guard = self

    def exit(self) -> None:
        """End the activation; whatever profile function stood before stands again."""
        if not self._on:
            return
        _here.guard = None
        if self.strict:
            self._inside = False
            before, self._before, self._raising = self._before, None, None
            if before is None or callable(before):
                sys.setprofile(cast("Callable[[FrameType, str, object], object] | None", before))
            else:  # cProfile on 3.11 sits in the profile slot without being callable
                cast("_Profiler", before).enable()

    def rearm(self) -> None:
        """Put the watch back, before the next callback, if something in the last one took it away.

        Our own refusals don't (see :func:`_audit`); a body that sets a profile function does, and so does any other
        exception that hits the watch itself: a full stack, a ``KeyboardInterrupt``.
        """
        if self._inside and sys.getprofile() is not self._watch:
            self._raising = None
            sys.setprofile(self._watch)

    def paused(self) -> AbstractContextManager[None]:
        """For engine code inside an activation that may read clocks and files. Re-entrant."""
        return self._pause

    def _make_watch(self) -> Callable[[FrameType, str, _Builtin], None]:
        """The profile function. It runs for each call in a body, so its common path is all that counts."""
        functions, modules, looked_up = table.FUNCTIONS, table.MODULES, _methods_by_type

        def watch(frame: FrameType, event: str, arg: _Builtin) -> None:
            if event == "c_call":
                module = arg.__module__
                if module is None:  # a method
                    owner = type(arg.__self__)
                    methods = looked_up.get(owner)
                    if methods is None:
                        methods = _look_up(owner)
                    if methods and arg.__name__ in methods:
                        self._judge_method(frame, arg, methods[arg.__name__])
                elif module in functions and arg.__name__ in functions[module]:
                    self._judge_function(frame, arg, functions[module][arg.__name__])
            elif event == "call":
                # Not `f_code` here: reading it is audited, which costs more than all the rest.
                try:
                    module = frame.f_globals["__name__"]
                except KeyError:  # code run by `exec` with globals of its own
                    return
                if module in modules:
                    self._judge_python(frame)

        return watch

    def _judge_function(self, frame: FrameType, function: _Builtin, instead: str) -> None:
        limit = table.CLOCK_UP_TO.get(function.__name__) if function.__module__ == "time" else None
        if limit is None or _given(frame) <= limit:
            self._refuse_and_stay(frame, f"{_public(function.__module__)}.{function.__name__}", instead)

    def _judge_method(self, frame: FrameType, function: _Builtin, instead: str) -> None:
        owner, name = function.__self__, function.__name__
        if isinstance(owner, type):
            if _derives(owner, "datetime", "date"):
                self._refuse_and_stay(frame, f"{owner.__name__}.{name}", instead)
        elif _derives(type(owner), "_random", "Random"):
            if owner is getattr(sys.modules.get("random"), "_inst", None):  # one's own generator has one's own seed
                self._refuse_and_stay(frame, f"random.{name}", instead)
        elif not _derives(type(owner), "_io", "_IOBase") or _is_a_file(owner):
            self._refuse_and_stay(frame, f"{type(owner).__name__}.{name}", instead)

    def _judge_python(self, frame: FrameType) -> None:
        module = str(frame.f_globals["__name__"])
        if module in table.PRIMITIVE_MODULES:
            self._judge_primitive(frame)
            return
        instead = table.PYTHON.get((module, frame.f_code.co_qualname))
        if instead is None or (instead is table.SEED and frame.f_locals["a"] is not None):
            return
        self._refuse_and_stay(frame, _label(frame), instead)

    def _judge_primitive(self, frame: FrameType) -> None:
        """R26. One that a body creates is bound to its loop at once; see ``primitives.py``."""
        name, primitive = frame.f_code.co_name, frame.f_locals.get("self")
        if not hasattr(primitive, "_loop"):
            return
        bound, loop = cast("_LoopBound", primitive), asyncio._get_running_loop()
        owner = bound._loop  # pyright: ignore[reportPrivateUsage]  # there is no other way to ask
        if name in table.PRIMITIVE_USES and (owner is None or owner is not loop):
            self._refuse_and_stay(frame, f"asyncio.{type(primitive).__name__}", table.PRIMITIVE)

    def _refuse_and_stay(self, frame: FrameType, call: str, instead: str) -> None:
        """Raise out of the profile function, which would cost us the hook but for :func:`_audit`."""
        error = self._refusal(frame, call, instead)
        if error is not None:
            self._raising = error
            raise error

    def _refusal(self, frame: FrameType, call: str, instead: str) -> NonDeterminismError | None:
        if self._pauses:
            return None
        blamed = blame(frame)
        if blamed is None:
            return None
        body, library = blamed
        line = f"{_file(body.f_code.co_filename)}:{body.f_lineno}"
        if instead is table.PRIMITIVE:
            return NonDeterminismError(f"{call} at {line} was created outside the workflow body; {instead}")
        called = f"{call}()" if library is None else f"{_label(library)}()"
        reason = "" if called == f"{call}()" else f" (it calls {call})"
        return NonDeterminismError(f"{called} at {line}{reason} can't be replayed in a workflow body; {instead}")


class _Pause:
    """The context manager of :meth:`Guard.paused`."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def __enter__(self) -> None:
        self._guard._pauses += 1  # pyright: ignore[reportPrivateUsage]  # one unit with Guard

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._guard._pauses -= 1  # pyright: ignore[reportPrivateUsage]  # one unit with Guard


def _audit(event: str, args: tuple[object, ...]) -> None:
    """The audit hook of the process.

    It also keeps the profile function in place. When one raises, CPython takes it off, and a body that catches the
    refusal could then call the same thing again unseen. But taking it off is audited: raising the same error here stops
    the removal, and the error goes on to the body.
    """
    guard = _here.guard
    if guard is None:
        return
    if event == "sys.setprofile":
        raising, guard._raising = guard._raising, None  # pyright: ignore[reportPrivateUsage]  # one unit with Guard
        if raising is not None:
            raise raising.with_traceback(None)
        return
    instead = table.EVENTS.get(event) or table.EVENT_FAMILIES.get(event.partition(".")[0])
    if instead is None or (event == "open" and _is_time_zone(args[0])):
        return
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # whoever made the call; we run inside it
    error = guard._refusal(frame, _EVENT_LABELS.get(event, event), instead)  # pyright: ignore[reportPrivateUsage]
    if error is not None:
        raise error


def _is_time_zone(path: object) -> bool:
    """Whether ``zoneinfo`` opens its data: from 3.13 on C code does, and no frame of it stands on the stack."""
    where: tuple[str, ...] = getattr(sys.modules.get("zoneinfo"), "TZPATH", ())
    return isinstance(path, str) and path.startswith(where)


_EVENT_LABELS: Final[Mapping[str, str]] = {"socket.__new__": "socket.socket", "builtins.input": "input"}

_methods_by_type: Final[dict[type[object], Mapping[str, str]]] = {}


def _look_up(owner: type[object]) -> Mapping[str, str]:
    """The refused methods of a type, remembered; what isn't refused has none."""
    if len(_methods_by_type) > 2000:  # classes that a body makes as it goes shall not stay alive for ever
        _methods_by_type.clear()
    methods: Mapping[str, str] = {}
    if issubclass(owner, type):
        methods = table.CLOCK_METHODS
    elif not (_derives(owner, "_io", "BytesIO") or _derives(owner, "_io", "StringIO")):
        for (module, name), refused in table.METHODS.items():
            if _derives(owner, module, name):
                methods = refused
    _methods_by_type[owner] = methods
    return methods


def _derives(owner: type[object], module: str, name: str) -> bool:
    return any(base.__name__ == name and base.__module__ == module for base in owner.__mro__)


def _is_a_file(stream: object) -> bool:
    """Whether there is a descriptor beneath, and not just bytes in memory."""
    try:
        return cast("_Stream", stream).fileno() >= 0
    except (OSError, ValueError):  # io.UnsupportedOperation is both: memory, or closed
        return False


def _given(frame: FrameType) -> int:
    """How many arguments the call that ``frame`` is making passes; 0 where that can't be told (``f(*args)``)."""
    code, at = frame.f_code.co_code, frame.f_lasti
    return code[at + 1] if code[at] == opcode.opmap["CALL"] else 0


def blame(frame: FrameType) -> tuple[FrameType, FrameType | None] | None:
    """Who made the call: the nearest frame of the user's own code, and the library function it called to get there.

    None if an allow-listed module stands anywhere between the call and where the body's world ends: at the callback
    that the loop runs, or at the part of the engine that closes a coroutine. Beyond may stand anything, pytest or pdb.
    """
    body: FrameType | None = None
    library: FrameType | None = None
    outermost, at = frame, cast("FrameType | None", frame)
    while at is not None and at.f_code is not _CALLBACK:
        module = str(at.f_globals.get("__name__"))
        if module.partition(".")[0] in table.ALLOWED:
            return None
        if body is not None:
            if module.startswith("outlive._core."):
                break
        elif at.f_code.co_filename.startswith(_GENERATED):
            pass  # a dataclass's `__init__`: no line of it helps anyone
        elif _is_library(at.f_code.co_filename):
            library = at
        else:
            body = at
        outermost, at = at, at.f_back
    return (outermost, None) if body is None else (body, library)


_CALLBACK: Final = asyncio.Handle._run.__code__  # all loops run their callbacks in this frame
_STANDARD_LIBRARY: Final = str(opcode.__file__).rpartition("opcode")[0] or "<frozen"
_GENERATED: Final = ("<string>", "<attrs generated")
_OUTLIVE: Final = __file__.rpartition("_core")[0]


def _is_library(path: str) -> bool:
    return (
        path.startswith((_STANDARD_LIBRARY, _OUTLIVE, "<frozen")) or "site-packages" in path or "dist-packages" in path
    )


def line_of(frame: FrameType) -> str:
    """``file:line`` of the user's code that led to ``frame``."""
    blamed = blame(frame)
    at = frame if blamed is None else blamed[0]
    return f"{_file(at.f_code.co_filename)}:{at.f_lineno}"


def _file(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _public(module: str | None) -> str:
    return {"posix": "os", "nt": "os", "_uuid": "uuid", "_ssl": "ssl"}.get(str(module), str(module).partition(".")[0])


def _label(frame: FrameType) -> str:
    """What a Python function is called by those who call it: ``random.choice``, ``threading.Thread.start``."""
    module, name = str(frame.f_globals.get("__name__")), frame.f_code.co_qualname.removesuffix(".__init__")
    if module == "random":
        name = name.removeprefix("Random.")
    return f"{module}.{name}"
