"""``outlive serve`` and ``outlive dev``, called as the world calls them: with curl, and with httpx2."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from outlive.cli import supervising
from outlive.stores.urls import shown

from .conftest import FOREVER, Project, read_until

pytestmark = pytest.mark.slow

PARTY = """
import asyncio
from outlive import Response, create_webhook, get_writable, progress, sleep, step, workflow


@step
async def invite(guest: str, link: str) -> None:
    with open("letters", "a") as letters:
        print(guest, str(link), file=letters, flush=True)


@step
async def note(guest: str, wish: str) -> str:
    with open("effects", "a") as effects:
        print("note", guest, file=effects)
    return f"{guest}: {wish}"


@step
async def count(number: int) -> None:
    stream = get_writable("numbers")
    for value in range(number):
        await stream.write({"n": value})
        await progress(value + 1, number, "counting")
    await stream.write("end")


@workflow
async def party(guests: list[str]) -> list[str]:
    wishes = []

    async def collect(guest, invitation):
        request = await invitation
        wishes.append(await note(guest, request.query["wish"]))

    invitations = {guest: create_webhook(respond_with=Response(text="thanks")) for guest in guests}
    tasks = [asyncio.create_task(collect(guest, webhook)) for guest, webhook in invitations.items()]
    await asyncio.gather(*(invite(guest, webhook.url) for guest, webhook in invitations.items()))
    await sleep("30 days")
    return sorted(wishes)


@workflow
async def counting(number: int) -> int:
    await count(number)
    return number


@workflow
async def broken(number: int) -> int:
    await count(number)
    raise ValueError("broken")
"""


class Served:
    """A server of the party, at one address for all its lives."""

    def __init__(self, project: Project) -> None:
        (project.folder / "party.py").write_text(PARTY)
        self.project = project
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        self.child: subprocess.Popen[str] | None = None

    def begin(self, command: str = "serve") -> str:
        """Start it; the start-up token."""
        self.child = self.project.begin(command, "party.py", "--port", str(self.port))
        token = "" if command == "dev" else read_until(self.child, "start-up token:", stream="stderr").split()[-1]
        read_until(self.child, "serving", stream="stderr")
        return token

    def kill(self) -> None:
        assert self.child is not None
        self.child.kill()
        self.child.wait(FOREVER)

    def stop(self) -> tuple[int, str]:
        assert self.child is not None
        self.child.send_signal(signal.SIGTERM)
        _, said = self.child.communicate(timeout=FOREVER)
        return self.child.returncode, said

    def start(self, token: str, workflow: str, *args: Any, run_id: str) -> None:
        body = {"workflow": f"party:{workflow}", "args": list(args), "run_id": run_id}
        headers = {"authorization": f"Bearer {token}"}
        answer = httpx2.post(f"{self.url}/api/v1/runs", json=body, headers=headers, trust_env=False)
        assert answer.status_code == 201, answer.text

    def letters(self, number: int) -> dict[str, str]:
        """The links, once all are invited."""
        file = self.project.folder / "letters"
        while not file.exists() or len(file.read_text().splitlines()) < number:
            time.sleep(0.01)
        return dict(line.split() for line in file.read_text().splitlines())


@pytest.fixture
def served(project: Project) -> Served:
    return Served(project)


def curl(*arguments: str) -> str:
    """What curl prints; without it on this machine, what httpx2 gets for the same GET."""
    program = shutil.which("curl")
    if program is None:
        return httpx2.get(arguments[-1], trust_env=False).text
    done = subprocess.run(
        [program, "--silent", "--show-error", "--noproxy", "*", *arguments],
        capture_output=True,
        text=True,
        timeout=FOREVER,
        check=True,
    )
    return done.stdout


def test_a_card_whose_guests_answer_by_links_while_its_server_is_killed(served: Served) -> None:
    token = served.begin()
    served.start(token, "party", ["Ben", "Cleo", "Dora"], run_id="card")
    links = served.letters(3)
    assert curl(f"{links['Ben']}?wish=joy") == "thanks"
    answer = httpx2.get(links["Cleo"], params={"wish": "luck"}, trust_env=False)
    served.kill()
    assert (answer.status_code, answer.text) == (200, "thanks")

    served.begin()
    assert curl(f"{links['Dora']}?wish=cake") == "thanks", "a link outlives its server"
    project = served.project
    while sorted(project.effects()) != ["note"] * 3:
        time.sleep(0.01)
    assert len(project.outlive("hooks", "--run", "card", "--json").json) == 3, "a webhook is open until its run ends"
    assert project.outlive("wake", "card").code == 0
    done = project.outlive("run", "party:party", '[["Ben", "Cleo", "Dora"]]', "--run-id", "card")
    assert done.json == ["Ben: joy", "Cleo: luck", "Dora: cake"]
    refused = httpx2.get(links["Dora"], trust_env=False)
    assert refused.status_code == 410
    code, said = served.stop()
    assert code == 0
    assert "stopped" in said
    assert not [link for link in links.values() if link.rpartition("/")[2] in said], "no token is logged"


def test_streams_are_told_on_the_command_line(served: Served) -> None:
    token = served.begin()
    project = served.project
    served.start(token, "counting", 3, run_id="three")
    told = project.outlive("tail", "three")
    assert (told.code, told.out.splitlines()) == (0, ['{"n":0}', '{"n":1}', '{"n":2}', "end"])
    assert "completed" in told.err
    last = project.outlive("tail", "three", "--stream", "progress", "--start", "-1")
    assert last.out.split("\t") == ["party:count", "3", "3", "counting\n"]
    lines = project.outlive("tail", "three", "--start", "2", "--json").out.splitlines()
    assert '"index":2' in lines[0] and lines[-1] == '{"end":"completed"}'
    served.start(token, "broken", 1, run_id="bad")
    failed = project.outlive("tail", "bad")
    assert (failed.code, failed.out.splitlines()) == (1, ['{"n":0}', "end"])
    assert project.outlive("tail", "no-such-run").code == 1
    assert project.outlive("tail", "three", "--stream", "a/b").code == 2


def test_keys_are_made_listed_and_taken_back(served: Served) -> None:
    served.begin()
    project = served.project
    key = project.outlive("keys", "create", "ci", "--role", "operator").out.strip()
    viewer = project.outlive("keys", "create", "board", "--expires", "90d", "--json").json
    served.start(key, "counting", 1, run_id="one")

    def status(token: str, method: str = "GET") -> int:
        url = f"{served.url}/api/v1/runs/one" + ("/cancel" if method == "POST" else "")
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        return httpx2.request(method, url, headers=headers, trust_env=False).status_code

    assert [status(viewer["key"]), status(viewer["key"], "POST"), status(key, "POST")] == [200, 403, 200]
    listed = project.outlive("keys", "list", "--json").json
    assert [(each["name"], each["role"]) for each in listed] == [("ci", "operator"), ("board", "viewer")]
    assert key not in project.outlive("keys", "list").out
    assert project.outlive("keys", "revoke", viewer["id"]).code == 0
    assert status(viewer["key"]) == 401
    assert project.outlive("keys", "revoke", viewer["id"]).code == 1
    assert project.outlive("keys", "create", "x", "--role", "king").code == 2
    assert project.outlive("keys", "create", "x", "--expires", "soon").code == 2
    first, second = (project.outlive("keys", "secret").out.strip() for _ in range(2))
    assert first != second and first.startswith("whsec_")


def test_what_can_not_be_served_is_told(served: Served) -> None:
    project = served.project
    served.begin()
    taken = project.outlive("serve", "party.py", "--port", str(served.port))
    assert (taken.code, "choose another" in taken.err) == (2, True)
    assert project.outlive("serve").code == 2
    assert project.outlive("serve", "json").code == 2
    assert project.outlive("serve", "party.py", "--port", "70000").code == 2
    outside = project.outlive("serve", "party.py", "--host", "0.0.0.0", "--port", "0")
    assert outside.code == 2
    assert "outlive keys create" in outside.err


def test_a_second_signal_ends_it_at_once(served: Served) -> None:
    served.begin()
    assert served.child is not None
    with httpx2.stream("GET", f"{served.url}/healthz", trust_env=False):
        served.child.send_signal(signal.SIGTERM)
        served.child.send_signal(signal.SIGTERM)
        assert served.child.wait(FOREVER) in (0, 128 + signal.SIGTERM)


def test_dev_begins_anew_when_the_code_changes(served: Served) -> None:
    served.begin("dev")
    child = served.child
    assert child is not None
    source = Path(served.project.folder / "party.py")
    source.write_text(PARTY + "\n\nthis is no Python\n")
    read_until(child, "party.py; beginning anew", stream="stderr")
    read_until(child, "can't be imported", stream="stderr")
    source.write_text(PARTY.replace("def counting", "def counting_anew"))
    read_until(child, "beginning anew", stream="stderr")
    assert "party:counting_anew" in read_until(child, "serving", stream="stderr")
    assert httpx2.get(f"{served.url}/healthz", trust_env=False).status_code == 200
    child.send_signal(signal.SIGINT)
    assert child.wait(FOREVER) == 130
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{served.url}/healthz", trust_env=False)


def test_when_dev_is_killed_its_server_ends(served: Served) -> None:
    served.begin("dev")
    served.kill()
    assert served.child is not None
    served.child.communicate(timeout=FOREVER)  # its server holds the pipes as long as it lives


def test_what_a_step_begins_is_looked_after_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that it started found that the guardian of its parent was not its own parent, and stopped."""
    for name, value in supervising.ward().items():
        monkeypatch.setenv(name, value)
    assert (supervising.guardian(), supervising.guardian()) == (os.getpid(), None)


STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("here", flush=True)
time.sleep(1_000)
"""
RELOADER = "import sys; from outlive.cli.serving import _Reloader as R; sys.exit(R([sys.executable, 'stubborn'], {}, ('.',)).run())"


def test_who_interrupts_dev_while_it_waits_for_its_server_is_obeyed(project: Project) -> None:
    """A change seen a moment before had it begin another one."""
    (project.folder / "stubborn").write_text(STUBBORN)
    dev = subprocess.Popen(
        [sys.executable, "-c", RELOADER], cwd=project.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    project.children.append(dev)
    read_until(dev, "here")
    (project.folder / "changed.py").write_text("")
    read_until(dev, "beginning anew", stream="stderr")
    dev.send_signal(signal.SIGINT)
    out, _ = dev.communicate(timeout=FOREVER)  # so is its server, which holds the pipes
    assert (dev.returncode, out) == (130, "")


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_server_never_tells_the_password_of_its_store(served: Served, postgres_url: str, command: str) -> None:
    url = postgres_url.replace("//outlive@", "//outlive:hunter2@")
    assert "hunter2" in url
    child = served.project.begin(command, "party.py", "--port", str(served.port), "--verbose", OUTLIVE_URL=url)
    line = read_until(child, "serving", stream="stderr")
    arguments = arguments_of_children(child.pid)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=FOREVER)

    assert shown(url) in line
    assert "hunter2" not in line + out + err
    assert "hunter2" not in arguments, "everybody on the machine can read the arguments of a process"


def arguments_of_children(pid: int) -> str:
    children = Path(f"/proc/{pid}/task/{pid}/children")  # on Linux
    numbers = children.read_text().split() if children.exists() else []
    return " ".join(Path(f"/proc/{number}/cmdline").read_text() for number in numbers)
