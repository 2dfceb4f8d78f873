"""What a workflow body may not call, as data: the names, and what to use instead.

Everything is written as names, not objects: ``random`` or ``uuid_utils`` may be imported at any time, and a table of
objects would have to notice. CPython tells the module and the name of whatever it calls, so names are enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW: Final = "use outlive.now(), or measure it in a step"
TODAY: Final = "use outlive.now().date()"
RNG: Final = "use outlive.rng()"
SEED: Final = "use outlive.rng(), or give random.Random a seed of your own"
UUID: Final = "use outlive.uuid4()"
STEP: Final = "make it in a step"
FILES: Final = "touch files in a step"
NETWORK: Final = "talk to the network in a step"
PROCESS: Final = "start processes in a step"
THREAD: Final = "use a step: a plain `def` step runs in a thread of its own"
SLEEP: Final = "await asyncio.sleep() or outlive.sleep() instead"
PRIMITIVE: Final = "create it inside, or limit steps with a step queue"

# Functions of C modules: module -> name -> what to use instead. What every CPython audits stands in EVENTS only.
_OS: Final = {
    "urandom": STEP,
    "getrandom": STEP,
    "getpid": STEP,
    "getppid": STEP,
    "getloadavg": STEP,
    "times": NOW,
    **dict.fromkeys(("stat", "lstat", "fstat", "statvfs", "fstatvfs", "access", "readlink"), FILES),
    **dict.fromkeys(("read", "readv", "pread", "preadv", "sendfile", "pipe", "pipe2", "write", "writev"), FILES),
    **dict.fromkeys(("_path_exists", "_path_lexists", "_path_isfile", "_path_isdir", "_path_islink"), FILES),
    **dict.fromkeys(("wait", "waitpid", "waitid", "wait3", "wait4"), PROCESS),
}
FUNCTIONS: Final[Mapping[str | None, Mapping[str, str]]] = {
    "time": {
        **dict.fromkeys(("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime"), NOW),
        **dict.fromkeys(
            ("time_ns", "monotonic_ns", "perf_counter_ns", "process_time_ns", "thread_time_ns", "clock_gettime_ns"), NOW
        ),
        **dict.fromkeys(("localtime", "gmtime", "ctime", "asctime", "strftime"), NOW),
        "sleep": SLEEP,  # audited from 3.13
    },
    "_thread": dict.fromkeys(("start_new_thread", "start_new", "start_joinable_thread"), THREAD),  # audited from 3.12
    "_signal": dict.fromkeys(("signal", "alarm", "setitimer", "pause", "sigwait"), STEP),
    "posix": _OS,
    "nt": _OS,
    "_uuid": dict.fromkeys(("generate_time_safe", "UuidCreate"), UUID),
    "uuid_utils._uuid_utils": dict.fromkeys(("uuid1", "uuid4", "uuid6", "uuid7", "getnode"), UUID),
    "_ssl": dict.fromkeys(("RAND_bytes", "RAND_pseudo_bytes"), STEP),
    "select": {"select": NETWORK},
    "resource": {"getrusage": STEP},
}

# These read the clock only when called with at most so many arguments; given a time, they just convert it.
CLOCK_UP_TO: Final[Mapping[str, int]] = {"localtime": 0, "gmtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}

# Methods of C types: (module, type) anywhere in the owner's bases -> name -> what to use instead.
METHODS: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    ("_random", "Random"): dict.fromkeys(("random", "getrandbits", "seed", "getstate", "setstate"), RNG),
    ("_socket", "socket"): dict.fromkeys(
        ("recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into", "send", "sendall", "_accept"),
        NETWORK,
    ),
    ("_io", "_IOBase"): dict.fromkeys(("read", "readline", "readlines", "read1", "readinto", "readall"), FILES),
    ("sqlite3", "Connection"): dict.fromkeys(("execute", "executemany", "executescript", "commit", "rollback"), STEP),
    ("sqlite3", "Cursor"): dict.fromkeys(("execute", "executemany", "executescript", "fetchone", "fetchall"), STEP),
}
# Class methods of ``datetime.date`` and everything derived from it.
CLOCK_METHODS: Final[Mapping[str, str]] = {"now": NOW, "utcnow": NOW, "today": TODAY}

# Python functions: (module, qualified name) -> what to use instead.
PYTHON: Final[Mapping[tuple[str, str], str]] = {
    **{("uuid", name): UUID for name in ("uuid1", "uuid4", "uuid6", "uuid7", "getnode")},
    ("random", "SystemRandom.seed"): STEP,
    ("random", "Random.seed"): SEED,  # without a seed only: the guard looks at the argument
}

# Methods with which an asyncio primitive is used. The class is told by the module that defines the method.
PRIMITIVE_MODULES: Final = frozenset({"asyncio.locks", "asyncio.queues"})
PRIMITIVE_USES: Final = frozenset(
    {
        *("acquire", "release", "locked", "__aenter__", "__aexit__"),
        *("wait", "wait_for", "notify", "notify_all", "set", "clear", "is_set"),
        *("get", "put", "get_nowait", "put_nowait", "join", "task_done", "empty", "full", "qsize", "shutdown"),
        *("abort", "reset"),
    }
)

# Modules whose Python functions are worth a second look.
MODULES: Final = frozenset({module for module, _ in PYTHON} | PRIMITIVE_MODULES)

# Audit events, first by full name, then by the part before the first dot.
EVENTS: Final[Mapping[str, str]] = {
    "open": FILES,
    "time.sleep": SLEEP,
    "builtins.input": STEP,
    "_thread.start_new_thread": THREAD,
    "_thread.start_joinable_thread": THREAD,
    **dict.fromkeys(("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn"), PROCESS),
    **dict.fromkeys(("os.startfile", "os.startfile/2", "os.kill", "os.killpg"), PROCESS),
    **dict.fromkeys(("os.putenv", "os.unsetenv"), STEP),
}
EVENT_FAMILIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("os", "shutil", "tempfile", "glob", "fcntl", "mmap", "msvcrt", "winreg"), FILES),
    **dict.fromkeys(("socket", "http", "urllib", "ftplib", "imaplib", "poplib", "smtplib", "nntplib"), NETWORK),
    **dict.fromkeys(("telnetlib", "webbrowser", "syslog"), NETWORK),
    **dict.fromkeys(("subprocess", "pty", "_winapi", "signal"), PROCESS),
    **dict.fromkeys(("sqlite3",), STEP),
}

# What CPython, a debugger or a test runner does by itself beneath a body: its answers don't reach the body.
ALLOWED: Final = frozenset(
    {
        *("importlib", "zipimport", "pkgutil", "linecache", "tokenize", "zoneinfo", "encodings"),
        *("logging", "warnings", "traceback", "inspect", "pdb", "bdb", "cmd"),
        *("ipdb", "IPython", "pydevd", "_pydevd_bundle", "_pydevd_frame_eval", "debugpy", "coverage", "_pytest"),
    }
)
