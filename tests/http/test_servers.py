"""Servers as processes of their own: they are killed, they are stopped, and hold a thousand readers."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from outlive import Engine
from outlive.http.serving import listen

from . import flows

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-for-one-test-and-this-machine"
KILLS = int(os.environ.get("OUTLIVE_KILLS") or (12 if "OUTLIVE_REPLAY_ALWAYS" in os.environ else 100))
CLIENTS = 4
READERS = 1_000


class Server:
    """One address and one store, and one process after the other that serves them."""

    def __init__(self, folder: Path) -> None:
        self.store = f"sqlite:///{folder / 'outlive.db'}"
        self.letters = folder / "letters"
        self.log = folder / "log"
        with listen("127.0.0.1", 0) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    async def begin(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "outlive", "serve", "tests.http.flows", "--port", str(self.port)]
        variables = {"OUTLIVE_STARTUP_TOKEN": TOKEN, flows.LETTERS: str(self.letters), "PYTHONHASHSEED": "4711"}
        with self.log.open("ab") as log:
            process = self.process = subprocess.Popen(
                [*command, "--url", self.store], cwd=ROOT, env=os.environ | variables, stdout=log, stderr=log
            )
        async with self.client() as client:
            while True:
                assert process.poll() is None, self.log.read_text()
                try:
                    if (await client.get("/healthz")).status_code == 200:
                        return process
                except httpx2.TransportError:
                    await asyncio.sleep(0.02)

    def client(self) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {TOKEN}"}
        return httpx2.AsyncClient(base_url=self.url, headers=headers, trust_env=False, timeout=60)

    async def start(self, workflow: str, *args: object) -> str:
        async with self.client() as client:
            body = {"workflow": f"tests.http.flows:{workflow}", "args": args, "run_id": workflow}
            answer = await client.post("/api/v1/runs", json=body)
            assert answer.status_code == 201, answer.text
            return workflow

    async def link(self) -> str:
        """Of the one webhook that was given away."""
        while not self.letters.exists() or not self.letters.read_text().endswith("\n"):
            await asyncio.sleep(0.01)
        return self.letters.read_text().split()[0]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.wait()


@pytest.mark.timeout(600)
async def test_d1_what_was_acknowledged_survives_a_hundred_kills(server: Server) -> None:
    """Killed at any moment between the acceptance of a request and its delivery, and in the middle of others."""
    dice = random.Random(KILLS)
    process = await server.begin()
    run = await server.start("keeps_all")
    link = await server.link()
    acknowledged: list[list[str]] = [[] for _ in range(CLIENTS)]
    sent = [0] * CLIENTS

    async def sends(number: int, client: httpx2.AsyncClient) -> None:
        """One request after the other, until the server is gone."""
        while True:
            text = f"{number}-{sent[number]}"
            sent[number] += 1
            try:
                answer = await client.post(link, content=text)
            except httpx2.TransportError:
                return
            assert answer.status_code == 202, answer.text
            acknowledged[number].append(text)

    for _ in range(KILLS):
        async with server.client() as client:
            sending = [asyncio.create_task(sends(number, client)) for number in range(CLIENTS)]
            enough = sum(map(len, acknowledged)) + dice.randrange(1, 25)
            while sum(map(len, acknowledged)) < enough:
                await asyncio.sleep(0)
            process.kill()
            process.wait()
            await asyncio.gather(*sending)
        process = await server.begin()
    async with server.client() as client:
        assert (await client.post(link, content="end")).status_code == 202
        while (answer := (await client.get(f"/api/v1/runs/{run}/result?wait=30")).json())["status"] != "completed":
            assert answer["status"] == "running", answer
        assert (await client.post(link, content="late")).status_code == 410
    kept: list[str] = answer["result"]
    assert len(kept) == len(set(kept)), "none is doubled"
    for number, mine in enumerate(acknowledged):
        assert [text for text in kept if text in set(mine)] == mine, "none is lost, and each client's are in order"
        assert {text for text in kept if text.startswith(f"{number}-")} <= {
            f"{number}-{n}" for n in range(sent[number])
        }
    async with Engine(server.store, worker=False) as engine:
        assert await engine.store.audit() == []


def resident(process: subprocess.Popen[bytes]) -> int:
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 4 * READERS), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def lines(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    while line := await reader.readline():
        yield line.decode().strip()


@pytest.mark.timeout(300)
async def test_a_thousand_idle_readers_and_a_polite_end(server: Server, many_files: None) -> None:
    process = await server.begin()
    run = await server.start("idles")
    path = f"/api/v1/runs/{run}/streams/numbers/events"
    head = f"GET {path} HTTP/1.1\r\nhost: localhost:{server.port}\r\nauthorization: Bearer {TOKEN}\r\n\r\n".encode()
    before = resident(process)

    async def opens() -> tuple[AsyncIterator[str], asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head)
        told = lines(reader)
        async for line in told:
            if line == "id: 0":
                return told, writer
        raise AssertionError("a reader was turned away")

    readers = [await opens() for _ in range(READERS)]
    assert resident(process) - before < READERS * 150_000
    process.send_signal(signal.SIGTERM)
    for told, writer in readers:
        said = [line async for line in told]
        assert "event: resume" in said and 'data: {"start":1}' in said, said
        writer.close()
    assert await asyncio.to_thread(process.wait, 60) == 0
    assert "Traceback" not in server.log.read_text()


async def test_s24_a_canary_token_is_in_no_log_and_in_no_answer(server: Server) -> None:
    """Through every path that a token takes: handed out, called, called wrongly, called after the end, and the store being shown."""
    await server.begin()
    run = await server.start("keeps_all")
    link = await server.link()
    token = link.rpartition("/")[2]
    said: list[str] = []
    async with server.client() as client:
        for method, body in (("POST", "one"), ("GET", ""), ("TRACE", ""), ("POST", "x" * 1_100_000), ("POST", "end")):
            answer = await client.request(method, f"{link}?canary=1", content=body)
            said += [answer.text, str(answer.headers)]
        while (await client.get(f"/api/v1/runs/{run}/result?wait=30")).json()["status"] == "running":
            pass
        for path in (link, f"{link}/", f"{link}x", f"/elsewhere/{token}", f"/api/v1/runs/{token}"):
            answer = await client.get(path)
            assert answer.status_code in (404, 410), path
            said += [answer.text.replace(f"there is no run {token}", ""), str(answer.headers)]
        for path in ("", "/events", "/result", "/hooks", "/streams"):
            answer = await client.get(f"/api/v1/runs/{run}{path}")
            assert answer.status_code == 200
            said.append(answer.text)
        said.append((await client.get("/api/v1/runs")).text)
    for command in (["show", run], ["show", run, "--json"], ["hooks"], ["hooks", "--json"], ["runs", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "outlive", *command, "--url", server.store], capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 0
        said += [done.stdout, done.stderr]
    assert not [text for text in said if token in text]
    log = server.log.read_text()
    assert "webhook/hidden" in log
    leaks = [line for line in log.splitlines() if token in line]
    assert leaks == []
    assert TOKEN not in log, "the start-up token was given, so it is not printed"
