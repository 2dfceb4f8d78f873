"""``outlive serve`` and ``outlive dev``: a worker with a front door."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from outlive._core.registry import registry
from outlive._runtime.transactions import Begin
from outlive.cli.exits import INTERRUPTED, Complaint
from outlive.cli.modules import load_modules, load_transactions
from outlive.cli.opening import under_hash_seed, working_url
from outlive.cli.options import BaseUrl, Transactions, Url
from outlive.cli.supervising import guardian, orphaned, ward
from outlive.cli.worker import give_up
from outlive.engine import Engine
from outlive.stores.urls import shown

if TYPE_CHECKING:
    from watchfiles.main import FileChange

log: Final = logging.getLogger("outlive.http")

STARTUP_TOKEN: Final = "OUTLIVE_STARTUP_TOKEN"  # noqa: S105  # the name of a variable
PATIENCE: Final = 20.0
"""Seconds that a server gets to end before it is begun anew."""

Modules = Annotated[str, Parameter(help="Modules (shop.orders) or files (shop/orders.py) with workflows and steps.")]
Host = Annotated[str, Parameter(help="Address to listen on. Others than this machine can reach it only with API keys.")]
Port = Annotated[int, Parameter(help="Port to listen on; 0: one that is free.")]
AllowedHost = Annotated[
    tuple[str, ...], Parameter(name="--allowed-host", help="A further name under which it is served; may be repeated.")
]


def serve(
    *modules: Modules,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    base_url: BaseUrl = None,
    allowed_host: AllowedHost = (),
    transactions: Transactions = None,
    url: Url = None,
    strict: bool = False,
    verbose: bool = False,
) -> int:
    """Work on the workflows in the modules named, and serve webhooks, streams and the REST API over HTTP.

    Ends on SIGTERM or Ctrl-C: readers of streams are told to come back, other requests get a few seconds; a second signal ends it at
    once. While there is no API key a token for this machine is printed once; make a key with `outlive keys create NAME`.

    Parameters
    ----------
    strict
        Refuse everything in bodies that would differ on replay, at four times the cost of pure Python in them.
    verbose
        Log more.
    """
    needs_server()
    if not modules:
        raise Complaint("which workflows? Name the modules that hold them: outlive serve shop.orders")
    store = working_url(url)
    under_hash_seed(store)
    load_modules(modules)
    begin = load_transactions(transactions)
    if not registry.workflows.names():
        raise Complaint(f"there is no workflow in {', '.join(modules)}; decorate an async function with @workflow")
    _log(verbose=verbose)
    asyncio.run(_serve(store, host, port, base_url, allowed_host, begin, strict=strict))
    return 0


async def _serve(
    url: str,
    host: str,
    port: int,
    base_url: str | None,
    allowed_hosts: tuple[str, ...],
    transactions: Begin | None,
    *,
    strict: bool,
) -> None:
    from outlive.http import ApiKeys, create_app
    from outlive.http.serving import address_of, listen, serve

    with listen(host, port) as listener:
        address = address_of(listener)
        if listener.getsockname()[0] in ("127.0.0.1", "0.0.0.0", "::1", "::"):  # noqa: S104
            address = f"http://localhost:{listener.getsockname()[1]}"
        engine = Engine(
            url,
            guard="strict" if strict else None,
            base_url=base_url or os.environ.get("OUTLIVE_BASE_URL") or address,
            on_hopeless=give_up,
            transactions=transactions,
        )
        given = os.environ.pop(STARTUP_TOKEN, None)  # so that no step's subprocess inherits it
        app = create_app(
            engine,
            auth=ApiKeys(engine, startup=given),
            allowed_hosts=allowed_hosts,
            on_token=None if given is None else lambda _known: None,
        )

        _allow_many_connections()
        watched_by = guardian()
        watching = None if watched_by is None else asyncio.create_task(_end_with(watched_by))

        def started() -> None:
            log.info("serving %s of %s at %s", ", ".join(registry.workflows.names()), shown(url), address)
            if engine.base_url != address:
                log.info("webhooks are called at %s", engine.base_url)

        await serve(app, listener, on_started=started)
        if watching is not None:
            watching.cancel()
    log.info("stopped")


async def _end_with(guardian: int) -> None:
    """If `outlive dev` is killed, its server ends too, and does not keep the port."""
    await orphaned(guardian)
    signal.raise_signal(signal.SIGTERM)


def _allow_many_connections() -> None:
    """As many as the server takes: the usual soft limit of open files is lower."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8_192 if hard == resource.RLIM_INFINITY else min(hard, 8_192)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _log(*, verbose: bool) -> None:
    level = logging.DEBUG if verbose else logging.INFO
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        handler = RichHandler(console=Console(stderr=True), show_path=False, log_time_format="%H:%M:%S")
        logging.basicConfig(level=level, format="%(message)s", handlers=[handler])
    else:
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    for chatty in ("asyncio", "sse_starlette", *(() if verbose else ("uvicorn.error",))):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def needs_server() -> None:
    """
    Raises:
        Complaint: What serves HTTP is not installed.
    """
    if any(find_spec(name) is None for name in ("fastapi", "uvicorn", "sse_starlette", "standardwebhooks")):
        raise Complaint("serving HTTP needs an extra; install it: pip install 'outlive[server]'")


# --- dev -------------------------------------------------------------------------------------------------------------


def dev(
    *modules: Modules,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    base_url: BaseUrl = None,
    transactions: Transactions = None,
    url: Url = None,
    watch: Annotated[tuple[str, ...], Parameter(help="A folder to watch; may be repeated. Unset: this one.")] = (),
    verbose: bool = False,
) -> int:
    """`outlive serve` for the desk: begun anew whenever a Python file changes, with the strict guard.

    Runs go on where they were, on the changed code; one whose past no longer fits it is parked, and `outlive show RUN` says where.

    Parameters
    ----------
    verbose
        Log more.
    """
    needs_server()
    if find_spec("watchfiles") is None:
        raise Complaint("reloading needs an extra; install it: pip install 'outlive[server]'")
    if not modules:
        raise Complaint("which workflows? Name the modules that hold them: outlive dev shop.orders")
    options = ["--host", host, "--port", str(port), "--strict"]
    if base_url is not None:
        options += ["--base-url", base_url]
    if transactions is not None:
        options += ["--transactions", transactions]
    if verbose:
        options.append("--verbose")
    # one token for all lives of the server, so that a reload logs nobody out
    token = os.environ.get(STARTUP_TOKEN) or secrets.token_urlsafe(32)
    # the url not as an argument: everybody on this machine can read those, and it may hold a password
    environment = {**ward(), "OUTLIVE_URL": working_url(url), STARTUP_TOKEN: token}
    return _Reloader([sys.executable, "-m", "outlive", "serve", *modules, *options], environment, watch or (".",)).run()


class _Reloader:
    """Keeps one child running on the newest code."""

    def __init__(self, command: list[str], environment: dict[str, str], folders: tuple[str, ...]) -> None:
        self._command = command
        self._environment = environment
        self._folders = folders
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        from watchfiles import PythonFilter, watch

        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self._begin()
            try:
                # a timeout lets it see that the child has ended by itself
                for changes in watch(
                    *self._folders,
                    watch_filter=PythonFilter(),
                    yield_on_timeout=True,
                    rust_timeout=500,
                    raise_interrupt=True,
                ):
                    if changes:
                        self._reload(changes)
            finally:
                self._end()
        except KeyboardInterrupt:
            pass
        except FileNotFoundError as error:
            raise Complaint(f"there is no folder to watch: {error}") from error
        return INTERRUPTED

    def _reload(self, changes: set[FileChange]) -> None:
        names = sorted({os.path.relpath(path) for _, path in changes})
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        print(f"== changed: {', '.join(names[:3])}{more}; beginning anew", file=sys.stderr, flush=True)
        self._end()
        self._begin()

    def _begin(self) -> None:
        self._child = subprocess.Popen(self._command, env=self._environment)

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None or child.poll() is not None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also when told again to end
            child.kill()
            child.wait()
