"""What a body may not call, and what happens when it does."""

from __future__ import annotations

import asyncio
import cProfile
import dataclasses
import datetime as dt
import functools
import gc
import importlib
import io
import linecache
import logging
import os
import pathlib
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import traceback
import uuid
import warnings
import zoneinfo
from random import choice
from time import time as imported_by_name
from typing import TYPE_CHECKING, TypeVar
from unittest import mock

import pytest
import uuid_utils

from outlive._core.guard import Guard, GuardMode
from outlive._core.primitives import install_bound_primitives
from outlive.errors import NonDeterminismError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

install_bound_primitives()

T = TypeVar("T")

STRICT = Guard(GuardMode.STRICT)
CHEAP = Guard(GuardMode.CHEAP)
OFF = Guard(GuardMode.OFF)


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """As in an activation: what others hang on the collector would be called under the guard."""
    gc.disable()
    yield
    gc.enable()


class StandInLoop(asyncio.AbstractEventLoop):
    """As much of a loop as a callback needs."""

    ordered = True

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, object]) -> None:
        error = context["exception"]
        assert isinstance(error, BaseException)
        self.error = error


def stand_in_loop() -> StandInLoop:
    return StandInLoop()  # type: ignore[abstract]  # to the type checker only


def activate(guard: Guard, body: Callable[[], T], *, loop: StandInLoop | None = None) -> T:
    """Run ``body`` as the callback of one activation."""
    results: list[T] = []
    loop = loop or stand_in_loop()
    loop.error = None
    handle = asyncio.Handle(lambda: results.append(body()), (), loop)
    asyncio._set_running_loop(loop)
    guard.enter()
    try:
        guard.rearm()
        handle._run()  # as every loop does
    finally:
        guard.exit()
        asyncio._set_running_loop(None)
    if loop.error is not None:
        raise loop.error
    return results[0]


def refusal(guard: Guard, body: Callable[[], object]) -> str:
    with pytest.raises(NonDeterminismError) as caught:
        activate(guard, body)
    return str(caught.value)


def drive(make: Callable[[], object]) -> Callable[[], object]:
    """A body that runs a coroutine as far as it goes."""

    def body() -> object:
        coroutine = make()
        try:
            coroutine.send(None)  # type: ignore[attr-defined]  # a coroutine
        except StopIteration as done:
            return done.value
        finally:
            coroutine.close()  # type: ignore[attr-defined]  # a coroutine
        return None

    return body


class OwnDate(dt.date):
    pass


class OwnDateTime(dt.datetime):
    pass


@dataclasses.dataclass
class Stamped:
    at: float = dataclasses.field(default_factory=time.time)


UNAUDITED: dict[str, tuple[Callable[[], object], str]] = {
    "time.time": (lambda: time.time(), "outlive.now()"),
    "time.time_ns": (lambda: time.time_ns(), "outlive.now()"),
    "time.monotonic": (lambda: time.monotonic(), "outlive.now()"),
    "time.perf_counter": (lambda: time.perf_counter(), "outlive.now()"),
    "time.process_time": (lambda: time.process_time(), "outlive.now()"),
    "time.localtime": (lambda: time.localtime(), "outlive.now()"),
    "time.gmtime": (lambda: time.gmtime(), "outlive.now()"),
    "time.strftime": (lambda: time.strftime("%Y"), "outlive.now()"),
    "datetime.now": (lambda: dt.datetime.now(), "outlive.now()"),
    "datetime.now in UTC": (lambda: dt.datetime.now(dt.UTC), "outlive.now()"),
    "datetime.today": (lambda: dt.datetime.today(), "outlive.now()"),
    "date.today": (lambda: dt.date.today(), "outlive.now().date()"),
    "now of a subclass": (lambda: OwnDateTime.now(), "outlive.now()"),
    "today of a subclass": (lambda: OwnDate.today(), "outlive.now()"),
    "random.random": (lambda: random.random(), "outlive.rng()"),
    "random.choice": (lambda: random.choice([1, 2]), "outlive.rng()"),
    "random.shuffle": (lambda: random.shuffle([1, 2]), "outlive.rng()"),
    "random.gauss": (lambda: random.gauss(0, 1), "outlive.rng()"),
    "random.seed": (lambda: random.seed(4), "outlive.rng()"),
    "Random()": (lambda: random.Random(), "outlive.rng()"),
    "Random(None)": (lambda: random.Random(None), "outlive.rng()"),
    "SystemRandom()": (lambda: random.SystemRandom(), "make it in a step"),
    "secrets.token_hex": (lambda: secrets.token_hex(), "make it in a step"),
    "secrets.choice": (lambda: secrets.choice([1, 2]), "make it in a step"),
    "secrets.randbelow": (lambda: secrets.randbelow(2), "make it in a step"),
    "os.urandom": (lambda: os.urandom(4), "make it in a step"),
    "os.getpid": (lambda: os.getpid(), "make it in a step"),
    "os.path.exists": (lambda: os.path.exists("/"), "touch files in a step"),
    "uuid.uuid1": (lambda: uuid.uuid1(), "outlive.uuid4()"),
    "uuid.uuid4": (lambda: uuid.uuid4(), "outlive.uuid4()"),
    "uuid.getnode": (lambda: uuid.getnode(), "outlive.uuid4()"),
    "uuid_utils.uuid4": (lambda: uuid_utils.uuid4(), "outlive.uuid4()"),
    "uuid_utils.uuid7": (lambda: uuid_utils.uuid7(), "outlive.uuid4()"),
    "a dataclass's default_factory": (lambda: Stamped(), "outlive.now()"),
    "from time import time": (lambda: imported_by_name(), "outlive.now()"),
    "from random import choice": (lambda: choice([1, 2]), "outlive.rng()"),
}

AUDITED_LATELY: dict[str, tuple[Callable[[], object], str]] = {
    "threading.Thread.start": (lambda: threading.Thread(target=int).start(), "use a step"),
    "time.sleep": (lambda: time.sleep(0), "asyncio.sleep()"),
}

AUDITED: dict[str, tuple[Callable[[], object], str]] = {
    "open": (lambda: open(__file__).close(), "touch files in a step"),
    "Path.read_text": (lambda: pathlib.Path(__file__).read_text(), "touch files in a step"),
    "os.open": (lambda: os.open(__file__, os.O_RDONLY), "touch files in a step"),
    "os.listdir": (lambda: os.listdir(), "touch files in a step"),
    "os.scandir": (lambda: os.scandir(), "touch files in a step"),
    "os.remove": (lambda: os.remove("/nowhere/at/all"), "touch files in a step"),
    "socket.socket": (lambda: socket.socket(), "talk to the network in a step"),
    "socket.getaddrinfo": (lambda: socket.getaddrinfo("localhost", 1), "talk to the network in a step"),
    "socket.create_connection": (lambda: socket.create_connection(("localhost", 1)), "talk to the network in a step"),
    "subprocess.run": (lambda: subprocess.run(["true"]), "start processes in a step"),
    "os.system": (lambda: os.system("true"), "start processes in a step"),
    "sqlite3.connect": (lambda: importlib.import_module("sqlite3").connect(":memory:"), "make it in a step"),
    "input": (lambda: input(), "make it in a step"),
}


@pytest.mark.parametrize("name", UNAUDITED)
def test_strict_refuses_what_only_the_profile_hook_sees(name: str) -> None:
    call, instead = UNAUDITED[name]
    assert instead in refusal(STRICT, call)


@pytest.mark.parametrize("name", AUDITED)
def test_strict_refuses_what_is_audited(name: str) -> None:
    call, instead = AUDITED[name]
    assert instead in refusal(STRICT, call)


@pytest.mark.parametrize("name", AUDITED_LATELY)
def test_strict_refuses_what_only_newer_pythons_audit(name: str) -> None:
    call, instead = AUDITED_LATELY[name]
    assert instead in refusal(STRICT, call)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="not audited before")
@pytest.mark.parametrize("name", AUDITED_LATELY)
def test_cheap_refuses_what_only_newer_pythons_audit(name: str) -> None:
    call, instead = AUDITED_LATELY[name]
    assert instead in refusal(CHEAP, call)


@pytest.mark.parametrize("name", AUDITED)
def test_cheap_refuses_what_is_audited(name: str) -> None:
    call, instead = AUDITED[name]
    assert instead in refusal(CHEAP, call)


DETERMINISTIC: dict[str, Callable[[], object]] = {
    "a seeded generator": lambda: random.Random(7).random() + random.Random("seed").choice([1, 2]),
    "a generator seeded anew": lambda: random.Random(7).seed(8),
    "uuid5": lambda: uuid.uuid5(uuid.NAMESPACE_DNS, "outlive"),
    "uuid_utils.uuid5": lambda: uuid_utils.uuid5(uuid_utils.NAMESPACE_DNS, "outlive"),
    "time.gmtime of a time": lambda: time.gmtime(0),
    "time.strftime of a time": lambda: time.strftime("%Y", time.gmtime(0)),
    "strptime": lambda: dt.datetime.strptime("2026-11-22", "%Y-%m-%d"),
    "fromtimestamp": lambda: dt.datetime.fromtimestamp(0, dt.UTC),
    "memory files": lambda: io.BufferedReader(io.BytesIO(b"x")).read() + io.BytesIO(b"y").read(),
    "os.getenv": lambda: os.getenv("HOME"),
    "compare_digest": lambda: secrets.compare_digest("a", "a"),
    "other methods of those names": lambda: {"now": 1}.get("now"),
}


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_strict_lets_deterministic_calls_pass(name: str) -> None:
    activate(STRICT, DETERMINISTIC[name])


def test_a_clock_that_c_code_calls_is_not_seen() -> None:
    """As `docs/guard.md` says. Should this fail one day, so much the better."""
    assert activate(STRICT, lambda: functools.partial(time.time)()) > 0


def test_cheap_does_not_see_clocks() -> None:
    assert activate(CHEAP, lambda: time.time()) > 0


def test_off_sees_nothing() -> None:
    assert activate(OFF, lambda: os.listdir("/"))


@pytest.mark.parametrize("guard", [STRICT, CHEAP], ids=["strict", "cheap"])
def test_outside_activations_nothing_is_refused(guard: Guard) -> None:
    activate(guard, lambda: None)
    assert all([os.listdir("/"), time.time(), random.random()])


@pytest.mark.parametrize("guard", [STRICT, CHEAP], ids=["strict", "cheap"])
def test_other_threads_go_on_unwatched(guard: Guard) -> None:
    begun, listed = threading.Event(), list[object]()

    def elsewhere() -> None:
        begun.wait()
        listed.append((os.listdir("/"), time.time()))

    thread = threading.Thread(target=elsewhere)
    thread.start()

    def body() -> None:
        begun.set()
        thread.join()

    activate(guard, body)
    assert listed


# --- what the message says --------------------------------------------------------------------------------------------


def test_the_message_names_the_call_and_the_line() -> None:
    line = sys._getframe().f_lineno + 1
    message = refusal(STRICT, lambda: time.time())
    assert message.startswith(f"time.time() at test_guard.py:{line} ")


def test_the_message_names_what_the_body_called_in_a_library() -> None:
    assert refusal(STRICT, lambda: random.choice([1])).startswith("random.choice() at test_guard.py:")
    assert refusal(CHEAP, lambda: subprocess.run(["true"])).startswith("subprocess.run() at test_guard.py:")
    assert "(it calls subprocess.Popen)" in refusal(CHEAP, lambda: subprocess.run(["true"]))


def test_the_message_names_the_body_and_not_generated_code() -> None:
    assert refusal(STRICT, lambda: Stamped()).startswith("time.time() at test_guard.py:")


# --- a call refused once is refused always ----------------------------------------------------------------------------


def attempts(call: Callable[[], object]) -> Callable[[], int]:
    def body() -> int:
        refused = 0
        for _ in range(3):
            try:
                call()
            except NonDeterminismError:
                refused += 1
        return refused

    return body


@pytest.mark.parametrize("name", ["time.time", "random.choice", "uuid.uuid4", "Random()"])
def test_a_call_refused_once_is_refused_again_in_the_same_callback(name: str) -> None:
    assert activate(STRICT, attempts(UNAUDITED[name][0])) == 3


def test_an_audited_call_refused_once_is_refused_again() -> None:
    assert activate(CHEAP, attempts(lambda: os.listdir("/"))) == 3


def test_a_coroutine_refused_once_is_refused_again() -> None:
    lock = asyncio.Lock()
    assert activate(STRICT, attempts(drive(lock.acquire))) == 3


def test_rearming_puts_the_watch_back_that_the_body_took_off() -> None:
    def body() -> float:
        sys.setprofile(None)
        STRICT.rearm()
        return time.time()

    assert "time.time()" in refusal(STRICT, body)


def test_rearming_outside_an_activation_does_nothing() -> None:
    STRICT.rearm()
    assert sys.getprofile() is None


# --- who else is here -------------------------------------------------------------------------------------------------


def test_a_profile_function_comes_back_after_the_activation() -> None:
    def profile(frame: object, event: str, arg: object) -> None: ...

    sys.setprofile(profile)
    try:
        activate(STRICT, lambda: None)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)


def test_a_profile_function_comes_back_after_a_refusal() -> None:
    def profile(frame: object, event: str, arg: object) -> None: ...

    sys.setprofile(profile)
    try:
        refusal(STRICT, lambda: time.time())
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)


def test_cprofile_survives_an_activation() -> None:
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        activate(STRICT, lambda: None)
        sorted([3, 1, 2])
    finally:
        profiler.disable()
    assert any("sorted" in str(entry.code) for entry in profiler.getstats())


def test_a_trace_function_sees_the_body() -> None:
    seen: list[str] = []

    def trace(frame: FrameType, event: str, arg: object) -> None:
        seen.append(frame.f_code.co_name)

    before = sys.gettrace()

    def traced_body() -> None: ...

    sys.settrace(trace)
    try:
        activate(STRICT, traced_body)
    finally:
        sys.settrace(before)
    assert "traced_body" in seen


def test_activations_are_never_nested() -> None:
    with pytest.raises(AssertionError, match="R27"):
        activate(CHEAP, lambda: STRICT.enter())


# --- pauses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guard", [STRICT, CHEAP], ids=["strict", "cheap"])
def test_engine_code_may_pause_the_guard(guard: Guard) -> None:
    def body() -> object:
        with guard.paused(), guard.paused():
            return time.time(), os.listdir("/")

    assert activate(guard, body)


@pytest.mark.parametrize("guard", [STRICT, CHEAP], ids=["strict", "cheap"])
def test_the_guard_is_back_after_a_pause(guard: Guard) -> None:
    def body() -> None:
        with guard.paused(), guard.paused():
            pass
        os.listdir("/")

    assert "os.listdir()" in refusal(guard, body)


# --- the allow-list ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guard", [STRICT, CHEAP], ids=["strict", "cheap"])
def test_an_import_in_a_body_passes_with_all_that_the_module_does(
    guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import os, random, time, uuid\nstarted = time.time(), os.listdir('/'), uuid.uuid4(), random.Random()\n"
    (tmp_path / "imported_in_a_body.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "imported_in_a_body", raising=False)
    assert activate(guard, lambda: importlib.import_module("imported_in_a_body")).started


def test_importing_random_in_a_body_does_not_open_it_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "random")

    def body() -> float:
        import random

        return random.random()

    assert "random.random()" in refusal(STRICT, body)


def test_logging_in_a_body_passes(tmp_path: Path) -> None:
    logger = logging.Logger("body")
    logger.addHandler(logging.FileHandler(tmp_path / "log", delay=True))
    activate(STRICT, lambda: logger.warning("%s", "hello"))
    logger.handlers[0].close()
    assert (tmp_path / "log").read_text() == "hello\n"


def test_warning_in_a_body_passes() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        activate(STRICT, lambda: warnings.warn("look", stacklevel=1))
    assert caught


def test_formatting_a_traceback_in_a_body_passes() -> None:
    def body() -> str:
        linecache.clearcache()
        try:
            raise ValueError("here is the source")
        except ValueError:
            return traceback.format_exc()

    assert 'raise ValueError("here is the source")' in activate(STRICT, body)


def test_time_zones_in_a_body_pass() -> None:
    zoneinfo.ZoneInfo.clear_cache()
    assert activate(STRICT, lambda: zoneinfo.ZoneInfo("Europe/Paris")).key == "Europe/Paris"


def test_a_body_run_by_an_import_is_still_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import time\nerror = run(lambda: time.time())\n"
    (tmp_path / "script_that_runs.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with mock.patch("builtins.run", lambda body: refusal(STRICT, body), create=True):
        script = importlib.import_module("script_that_runs")
    assert "time.time() at script_that_runs.py:2" in script.error


# --- asyncio primitives from outside the body (R26) -------------------------------------------------------------------

FOREIGN: dict[str, Callable[[], object]] = {
    "Semaphore": asyncio.Semaphore(2).acquire,
    "BoundedSemaphore": asyncio.BoundedSemaphore(2).acquire,
    "Lock": asyncio.Lock().acquire,
    "Event": asyncio.Event().wait,
    "Condition": asyncio.Condition().acquire,
    "Barrier": asyncio.Barrier(2).wait,
    "Queue": asyncio.Queue[int]().get,
    "PriorityQueue": asyncio.PriorityQueue[int]().get,
}
OWN: dict[str, Callable[[], object]] = {
    "Semaphore": lambda: asyncio.Semaphore(2).acquire(),
    "BoundedSemaphore": lambda: asyncio.BoundedSemaphore(2).acquire(),
    "Lock": lambda: asyncio.Lock().acquire(),
    "Condition": lambda: asyncio.Condition().acquire(),
    "Queue": lambda: asyncio.Queue[int]().put(3),
    "PriorityQueue": lambda: asyncio.PriorityQueue[int]().put(3),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_strict_refuses_a_primitive_from_outside_at_first_use(name: str) -> None:
    message = refusal(STRICT, drive(FOREIGN[name]))
    assert "was created outside the workflow body; create it inside, or limit steps with a step queue" in message


def test_the_message_names_the_primitive_and_the_line() -> None:
    semaphore = asyncio.Semaphore()

    async def body() -> None:
        async with semaphore:
            pass

    line = body.__code__.co_firstlineno + 1
    assert refusal(STRICT, drive(body)).startswith(f"asyncio.Semaphore at test_guard.py:{line} was created outside")


def test_strict_refuses_the_synchronous_methods_too() -> None:
    queue = asyncio.Queue[int]()
    assert "asyncio.Queue at" in refusal(STRICT, lambda: queue.put_nowait(1))


@pytest.mark.parametrize("name", OWN)
def test_a_primitive_created_in_the_body_works(name: str) -> None:
    activate(STRICT, drive(OWN[name]))


def test_a_primitive_of_the_body_works_in_later_activations() -> None:
    loop = stand_in_loop()
    lock = activate(STRICT, lambda: asyncio.Lock(), loop=loop)
    assert activate(STRICT, drive(lock.acquire), loop=loop) is True


def test_looking_at_a_primitive_from_outside_passes() -> None:
    lock = asyncio.Lock()
    assert activate(STRICT, lambda: repr(lock))


def test_a_primitive_of_another_run_is_refused() -> None:
    lock = activate(STRICT, lambda: asyncio.Lock())
    assert "asyncio.Lock" in refusal(STRICT, drive(lock.acquire))


def test_a_primitive_of_a_module_imported_by_the_body_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "has_a_lock.py").write_text("import asyncio\nlock = asyncio.Lock()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "asyncio.Lock" in refusal(STRICT, drive(lambda: importlib.import_module("has_a_lock").lock.acquire()))


def test_cheap_lets_a_primitive_from_outside_pass_until_somebody_waits() -> None:
    assert activate(CHEAP, drive(asyncio.Lock().acquire)) is True


@pytest.mark.parametrize("guard", [CHEAP, OFF])
@pytest.mark.parametrize("wait", [asyncio.Semaphore(0).acquire, asyncio.Event().wait, asyncio.Queue[int]().get])
def test_r26_waiting_on_a_primitive_from_outside_is_refused_in_every_mode(
    guard: Guard, wait: Callable[[], object]
) -> None:
    message = refusal(guard, drive(wait))
    assert "was created outside the workflow body; create it inside, or limit steps with a step queue" in message


def test_r26_outside_of_bodies_a_primitive_is_what_it_was() -> None:
    async def main() -> bool:
        lock = asyncio.Lock()
        await lock.acquire()
        asyncio.get_running_loop().call_soon(lock.release)
        return await lock.acquire()

    shared = asyncio.Semaphore(0)
    assert asyncio.run(main())
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(shared.acquire(), 0.001))
    with pytest.raises(RuntimeError, match="is bound to a different event loop"):
        asyncio.run(asyncio.wait_for(shared.acquire(), 0.001))
