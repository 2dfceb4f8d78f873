"""The commands by name, and what becomes of their errors."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Final, cast

from cyclopts import App, CycloptsError, Group, Parameter

from outlive.cli import exits
from outlive.cli.db import app as db
from outlive.cli.demo import demo
from outlive.cli.hooks import hooks, resume
from outlive.cli.keys import app as keys
from outlive.cli.queues import app as queues
from outlive.cli.replay import replay
from outlive.cli.run import run
from outlive.cli.runs import cancel, runs, terminate, wake
from outlive.cli.serving import dev, serve
from outlive.cli.show import show
from outlive.cli.store import doctor, prune
from outlive.cli.tail import tail
from outlive.cli.version import version, version_line
from outlive.cli.worker import worker
from outlive.errors import ConfigurationError, OutliveError, UsageError

app: Final = App(
    name="outlive",
    help="Plain async functions that outlive the process.",
    help_epilogue=exits.MEANINGS,
    version=version_line,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),
)
_groups: Final[tuple[tuple[str, tuple[Callable[..., object] | App, ...]], ...]] = (
    ("Run", (demo, run, worker, serve, dev)),
    ("Look", (runs, show, tail, hooks, queues, replay)),
    ("Act", (resume, cancel, wake, terminate)),
    ("Keep", (keys, doctor, prune, db, version)),
)
for _place, (_name, _commands) in enumerate(_groups):
    _group = Group(_name, sort_key=_place)
    for _command in _commands:
        if isinstance(_command, App):
            _command.group = _group
            app.command(_command)
        else:
            app.command(_command, group=_group)


def start(tokens: Sequence[str]) -> int:
    """Carry out one command line; the exit code."""
    try:
        code = cast("object", app(tokens, exit_on_error=False, print_error=False))
        sys.stdout.flush()
        return code if isinstance(code, int) else exits.DONE
    except CycloptsError as error:
        exits.complain(f"{str(error).strip()} See: outlive --help")
        return exits.USAGE
    except exits.Complaint as complaint:
        exits.complain(str(complaint))
        return complaint.code
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.PIPE_CLOSED
    except OutliveError as error:
        _say(str(error), error)
        return exits.USAGE if isinstance(error, ConfigurationError | UsageError) else exits.FAILED
    except Exception as error:
        _say(f"{type(error).__name__}: {error} (for the traceback: OUTLIVE_DEBUG=1)", error)
        return exits.FAILED


def _say(message: str, error: Exception) -> None:
    if os.environ.get("OUTLIVE_DEBUG"):
        traceback.print_exception(error)
    exits.complain(message)
