"""``python -m benchmarks [--only NAME ...] [--quick] [--repeat N] [--postgres] [--no-dbos] [--json FILE] [--profile NAME] [--list]``."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.databases import Places, databases, folder
from benchmarks.spec import ON_POSTGRES, WORKLOADS, Workload

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
DBOS_HOME: Final = HERE / ".venv-dbos"
LONGEST: Final = 900
"""Seconds for one measurement."""

ON_SQLITE: Final = (
    "SQLite synchronous=FULL for all, each with the journal it comes with: WAL here, a rollback journal in DBOS."
)

Figures = dict[str, float]


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    workloads = ON_POSTGRES if options.postgres else WORKLOADS
    chosen = [w for w in workloads if not options.only or any(part in (w.name, w.program) for part in options.only)]
    if options.list or not chosen:
        print("\n".join(f"{w.program:12} {w.name}" for w in workloads))
        return 0 if options.list else 2
    places: AbstractContextManager[Places] = databases() if options.postgres else nullcontext(folder)
    with places as place:
        if options.profile:
            return profile(next(w for w in workloads if options.profile in (w.name, w.program)), place)
        return compare(chosen, options, place)


def compare(chosen: Sequence[Workload], options: argparse.Namespace, place: Places) -> int:
    """Measure them all, print the table."""
    dbos = None if options.no_dbos else dbos_python()
    repeats = 1 if options.quick else options.repeat
    limits = measure("limits", [[sys.executable, "-m", "benchmarks.limits"]], place, repeat=repeats) or {}
    answers: dict[tuple[str, str, int], Figures | None] = {}
    rows: list[dict[str, object]] = []
    for workload in chosen:
        size = workload.quick if options.quick else workload.size
        repeat = 1 if size > 10_000 else repeats
        ours = once(answers, "outlive", workload.program, size, repeat, sys.executable, place)
        theirs, other = None, 0
        if dbos is not None and workload.dbos is not None:
            other = min(workload.quick, workload.dbos) if options.quick else workload.dbos
            program = workload.dbos_program or workload.program
            theirs = once(answers, "dbos", program, other, 1 if repeat == 1 else 2, dbos, place)
        found = row(workload, ours, theirs, limits)
        found["name"] = workload.title(size)
        found["dbos_size"] = other if other != size else None
        if options.quick:
            found["reached"] = None  # a target is for the full size
        rows.append(found)
    show(rows, limits, None if dbos is None else version(dbos), postgres=options.postgres)
    if options.json:
        Path(options.json).write_text(json.dumps({"limits": limits, "rows": rows}, indent=1))
    return 0 if all(found["outlive"] is not None for found in rows) else 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these workloads, by name or by program")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--repeat", type=int, default=3, help="measurements of each, of which the median counts (3)")
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL that is started for it, not on SQLite")
    parser.add_argument("--no-dbos", action="store_true", help="Outlive alone")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--profile", metavar="NAME", help="run one workload under cProfile and print what takes long")
    parser.add_argument("--list", action="store_true", help="print the workloads")
    return parser.parse_args(arguments)


def dbos_python() -> str:
    """The Python of an environment with DBOS in it, made on first use."""
    python = DBOS_HOME / "bin/python"
    if not python.exists():
        note("making an environment for DBOS")
        uv = shutil.which("uv") or str(ROOT / ".venv-uv/bin/uv")
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(DBOS_HOME)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), "dbos"], check=True)
    return str(python)


def version(python: str) -> str:
    """Of the DBOS that this Python has."""
    code = "import importlib.metadata as m; print(m.version('dbos'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def once(
    answers: dict[tuple[str, str, int], Figures | None],
    who: str,
    program: str,
    size: int,
    repeat: int,
    python: str,
    place: Places,
) -> Figures | None:
    """Measure what has not been measured in this run: two rows may show two figures of one program."""
    key = (who, program, size)
    if key not in answers:
        script = ["-m", "benchmarks.outlive_programs"] if who == "outlive" else [str(HERE / "dbos_programs.py")]
        command = [python, *script, program, str(size)]
        answers[key] = measure(f"{who}: {program} {size:,}", [command] * repeat, place, repeat=1)
    return answers[key]


def measure(name: str, commands: list[list[str]], place: Places, *, repeat: int) -> Figures | None:
    """The median of each figure that the commands print, each run in a fresh place."""
    found: list[Figures] = []
    for number, command in enumerate(commands * repeat, start=1):
        note(f"{name} ({number}/{len(commands) * repeat})")
        with place() as where:
            done = subprocess.run(
                [*command, where], cwd=ROOT, capture_output=True, text=True, timeout=LONGEST, check=False
            )
        if done.returncode != 0:
            note(f"{name} failed:\n{done.stderr[-2_000:]}")
            return None
        found.append(json.loads(done.stdout.strip().splitlines()[-1]))
    return {key: statistics.median(figures[key] for figures in found) for key in found[0]}


def row(workload: Workload, ours: Figures | None, theirs: Figures | None, limits: Figures) -> dict[str, object]:
    mine = None if ours is None else ours[workload.part]
    other = None if theirs is None else theirs[workload.part]
    limit = limits.get(workload.base)
    reached = mine is not None and (mine >= workload.target if workload.higher else mine <= workload.target)
    return {
        "name": workload.name,
        "unit": workload.unit,
        "target": workload.target,
        "outlive": mine,
        "reached": reached,
        "of_limit": None if limit is None or mine is None else mine / limit,
        "dbos": other,
        "times": None if mine is None or other is None else (mine / other if workload.higher else other / mine),
    }


def show(rows: list[dict[str, object]], limits: Figures, dbos: str | None, *, postgres: bool) -> None:
    table = Table("workload", "unit", "target", "Outlive", "of the limit", f"DBOS {dbos or ''}", "Outlive is better by")
    for found in rows:
        mark = " (missed)" if found["reached"] is False else ""
        smaller = f" (of {found['dbos_size']:,})" if isinstance(found["dbos_size"], int) and found["dbos"] else ""
        table.add_row(
            str(found["name"]),
            str(found["unit"]),
            figure(found["target"]),
            figure(found["outlive"]) + mark,
            figure(found["of_limit"], "x"),
            figure(found["dbos"]) + smaller,
            figure(found["times"], "x"),
        )
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    console.print(
        f"{os.cpu_count()} CPUs, Python {sys.version.split()[0]}. Limits of this machine in this run: one durable commit "
        f"{limits.get('commit', 0):.2f} ms, a program that only encodes and commits {limits.get('ceiling', 0):,.0f} steps/s. Medians; "
        + ("one PostgreSQL with fsync for all, on this machine." if postgres else ON_SQLITE)
    )


def figure(value: object, unit: str = "") -> str:
    if not isinstance(value, (int, float)):
        return "–"
    return (f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}") + unit


def profile(workload: Workload, place: Places) -> int:
    with place() as where:
        command = ["-m", "cProfile", "-s", "tottime", "-m", "benchmarks.outlive_programs"]
        return subprocess.run(
            [sys.executable, *command, workload.program, str(workload.size), where], cwd=ROOT, check=False
        ).returncode


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
