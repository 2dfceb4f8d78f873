"""The real command in processes of its own, in a folder with a small shop and a store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SHOP = """
import asyncio
import os
import sys
from dataclasses import dataclass

from outlive import continue_as_new, create_hook, race, sleep, step, workflow


@dataclass
class Order:
    id: str
    count: int = 1


def effect(name):
    with open("effects", "a") as effects:
        print(name, os.getpid(), file=effects)


@step
async def charge(order: Order) -> str:
    effect("charge")
    return f"receipt {order.id}"


@step(max_retries=0)
async def decline() -> None:
    raise ValueError("card declined")


@step
async def announce(token: str) -> None:
    print("announced", token, file=sys.stderr, flush=True)


@workflow
async def buy(order: Order) -> dict:
    receipt = await charge(order)
    return {"receipt": receipt, "pair": (order.count, None)}


@workflow
async def double(number: float, times: int = 2) -> float:
    return number * times


@workflow
async def fail() -> None:
    await decline()


@workflow
async def ask(order: Order) -> object:
    await charge(order)
    answer = create_hook()
    telling = asyncio.create_task(announce(answer.token))  # once it runs, the hook is durable
    return await race(answer=answer, deadline=sleep("1 day"))


@workflow
async def count_down(number: int) -> str:
    await charge(Order(str(number)))
    if number:
        continue_as_new(number - 1)
    return "done"


@workflow
async def letters() -> str:
    return "".join({"a", "b", "c", "d", "e", "f", "g"})
"""

FOREVER = 60


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Project:
    """A folder in which commands are given."""

    folder: Path
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def outlive(self, *arguments: str, stdin: str = "", **variables: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "outlive", *arguments],
            cwd=self.folder,
            env=self._environment(variables),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=FOREVER,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def begin(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """A command that goes on by itself; it is ended with the test."""
        child = subprocess.Popen(
            [sys.executable, "-m", "outlive", *arguments],
            cwd=self.folder,
            env=self._environment(variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.children.append(child)
        return child

    def interrupted(self, run_id: str) -> str:
        """A run of ``ask`` whose process was killed while it waited for its hook; the hook's token."""
        child = self.begin("run", "shop:ask", '[{"id": "A1"}]', "--run-id", run_id)
        token = read_until(child, "announced", stream="stderr").split()[1]
        child.kill()
        child.wait(FOREVER)
        return token

    def effects(self) -> list[str]:
        file = self.folder / "effects"
        return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []

    def change(self, old: str, new: str) -> None:
        """Edit the shop."""
        shop = self.folder / "shop.py"
        text = shop.read_text()
        assert old in text
        shop.write_text(text.replace(old, new))

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("OUTLIVE") or name == "OUTLIVE_REPLAY_ALWAYS"
        }
        # a fixed hash seed becomes the store's, and no command need start itself again
        return inherited | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "4711"} | variables


def read_until(child: subprocess.Popen[str], word: str, *, stream: str = "stdout") -> str:
    """The line of ``child`` with ``word``, once it is printed."""
    lines = child.stdout if stream == "stdout" else child.stderr
    assert lines is not None
    for line in lines:
        if word in line:
            return line
    raise AssertionError(f"it ended without saying {word!r}: {child.stderr.read() if child.stderr else ''}")


@contextmanager
def shop_in(folder: Path) -> Iterator[Project]:
    (folder / "pyproject.toml").write_text("")
    (folder / "shop.py").write_text(SHOP)
    made = Project(folder)
    try:
        yield made
    finally:
        for child in made.children:
            child.kill()
            child.wait()
            for pipe in (child.stdout, child.stderr):
                assert pipe is not None
                pipe.close()  # unread: a child of its own may hold it open


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with shop_in(tmp_path) as made:
        yield made
