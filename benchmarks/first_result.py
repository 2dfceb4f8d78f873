"""A script as a user writes it: from nothing to one durable result."""

import tempfile
from pathlib import Path

from outlive import Engine, step, workflow


@step
async def add(number: int) -> int:
    return number + 1


@workflow
async def one(number: int) -> int:
    return await add(number)


async def main(folder: str) -> int:
    async with Engine(f"sqlite:////{folder}/outlive.db") as engine:
        return await (await engine.start(one, 1)).result()


if __name__ == "__main__":
    import asyncio

    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as made:
        assert asyncio.run(main(made)) == 2
