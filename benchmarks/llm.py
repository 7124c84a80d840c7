"""Measure what judging costs in addition to the model: the rate of calls, and the journal.

    python benchmarks/llm.py rate [--prompts N] [--runs N] [--reply-s S] [--provider NAME]
    python benchmarks/llm.py journal

The first measures calls per second, the second the time to reserve, store and look up an answer.

Each command prints Markdown. The server runs in its own process and does almost nothing.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.journal_lookup import JournalLookup
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.request import CallSettings
from tasks.lib.gateway.routes import Route, load_route
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import Answer, Call, Refused
from tasks.lib.journal.schema import connect
from tasks.llm_select.ask_routes import JudgeSettings, RouteCascade
from tasks.llm_select.judge import Judge
from tasks.llm_select.prompt import read_prompt
from tasks.llm_select.verdicts import Members, Question, ignore

CONCURRENCY = 64
SIZE = 14
ANSWER = '{"picks": [3]}'
USED = {"prompt_tokens": 900, "completion_tokens": 8, "total_tokens": 908}


def serve(ready: Connection, latency_s: float) -> None:
    """Serve the same chat completion to every request, after `latency_s`."""
    choice = {"index": 0, "finish_reason": "stop"}
    message = {"role": "assistant", "content": ANSWER}
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "fake",
        "choices": [choice | {"message": message}],
        "usage": USED,
    }
    body = json.dumps(completion).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reply = head.encode() + body

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                length = request.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
                await reader.readexactly(int(length))
                await asyncio.sleep(latency_s)
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=1024)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def route_to(port: int, provider: str = "openai") -> Route:
    """Return a route to the server through LiteLLM's client for a provider."""
    deployment = {
        "model": f"{provider}/fake",
        "schema": "always",
        "api_base": f"http://127.0.0.1:{port}/v1",
        "api_key": "none",
        "input_cost_per_token": 1e-7,
        "output_cost_per_token": 4e-7,
    }
    return load_route({"models": {"mine": deployment}}, "mine")


def texts(candidates: Members) -> list[str]:
    """Return different records of typical length."""
    return [
        f"Explain to a beginner what {i} has to do with topic {i % 97}. " * 3 for i in candidates
    ]


def questions(n: int) -> Iterator[Question]:
    """Yield `n` prompts, each made on demand."""
    for i in range(n):
        yield Question(i + 1, np.arange(i * SIZE, (i + 1) * SIZE), 1)


def judge_settings(concurrency: int = CONCURRENCY) -> JudgeSettings:
    """Return judge settings like those in params.yaml."""
    calls = CallSettings(0, 256, 6, 60.0, concurrency)
    prompt = read_prompt(Path("tasks/llm_select/criteria.txt"))
    return JudgeSettings(
        prompt, rationale=False, votes=1, max_candidate_chars=2000, calls=calls, shortlist=1
    )


async def judged(route: Route, folder: Path, work: Callable[[Judge], Awaitable[Any]]) -> Any:
    """Return the result of `work` with a judge on `route`."""
    with closing(Journal(folder / "journal.sqlite", cap_usd=1e6)) as journal:
        gateway = Gateway([route], judge_settings().calls, journal)
        try:
            return await work(Judge(gateway, [route], judge_settings(), texts))
        finally:
            await gateway.aclose()


def rate(n: int, n_runs: int, latency_s: float, provider: str) -> None:
    """Measure calls per second, as a share of the rate that the server's latency allows.

    A run cannot reach the ideal, in which all places are in use from beginning to end: the first
    call is sent alone, the next ones are spread over its duration, and the last ones end over as
    long. The second line has the rate of a run that loses only this. The steady share is that
    of the time in between.
    """
    load_litellm()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs, latency_s), daemon=True)
    server.start()
    route = route_to(ours.recv(), provider)
    ideal = CONCURRENCY / latency_s
    print(f"| {n:,} prompts, {CONCURRENCY} at a time | s | calls/s | share | steady | CPU ms |")
    print("|---|---|---|---|---|---|")
    least_s = 2 * latency_s + (n - 2) / ideal
    for name, took_s in (("ideal", n / ideal), ("first call alone, others spread", least_s)):
        print(f"| {name} | {took_s:.1f} | {n / took_s:.0f} | {n / took_s / ideal:.0%} | 100% | |")
    for _ in range(n_runs):
        start_s, cpu_s = time.monotonic(), time.process_time()
        done_s = asyncio.run(_judge_all(route, n))
        took_s, cpu_s = time.monotonic() - start_s, time.process_time() - cpu_s
        share, steady = n / took_s / ideal, _steady_rate(done_s) / ideal
        figures = f"{took_s:.1f} | {n / took_s:.0f} | {share:.0%} | {steady:.0%}"
        print(f"| ours | {figures} | {1e3 * cpu_s / n:.1f} |")
    server.terminate()


async def _judge_all(route: Route, n: int) -> list[float]:
    """Return when each of `n` prompts was judged, in seconds."""
    done_s: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        await judged(
            route,
            Path(folder),
            lambda judge: judge(questions(n), lambda _: done_s.append(time.monotonic())),
        )
    return done_s


def _steady_rate(done_s: list[float]) -> float:
    """Return the calls per second while all places are in use.

    Only whole rounds of calls count, since the calls of a round may run in step. There must be at
    least four rounds.
    """
    n = CONCURRENCY * (len(done_s) // CONCURRENCY - 3)
    end = len(done_s) - CONCURRENCY - 1
    return n / (done_s[end] - done_s[end - n])


def journal(n: int = 20_000, n_resumed: int = 100_000) -> None:
    """Measure the time to reserve, store and look up answers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        with closing(Journal(path, cap_usd=1e6)) as book:
            alone_s = asyncio.run(_buy(book, range(n // 10), 1)) / (n // 10)
            crowd_s = asyncio.run(_buy(book, range(n // 10, n), CONCURRENCY)) / (n - n // 10)
    print("| journal | |\n|---|---|")
    print(f"| ms per answer (reserved, stored), one at a time | {1e3 * alone_s:.2f} |")
    print(f"| ms per answer, {CONCURRENCY} at a time | {1e3 * crowd_s:.2f} |")
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), n_resumed)
        start_s = time.process_time()
        work = judged(route_to(9), Path(folder), lambda judge: judge(questions(n_resumed), ignore))
        asyncio.run(work)
        took_s = time.process_time() - start_s
        print(f"| CPU s to judge {n_resumed:,} prompts again | {took_s:.1f} |")


async def _buy(book: Journal, numbers: range, concurrency: int) -> float:
    waiting = iter(numbers)
    answer = Answer("", "mine", "fake", ANSWER, (3,), 900, 8, 1e-4, False, (), "stop")

    async def worker() -> None:
        for i in waiting:
            key = f"{i:064x}"
            booked = await book.reserve(Call(key, "mine", "openai/fake", 4000, 256, 5e-4, True))
            assert not isinstance(booked, Refused)
            await book.keep(booked, answer._replace(key=key), 0.5)

    start_s = time.monotonic()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return time.monotonic() - start_s


def fill(folder: Path, n: int) -> None:
    """Write a journal with the answers to the first `n` questions."""
    settings, route = judge_settings(), route_to(9)
    names = (*Answer._fields, "created")
    insert = f"INSERT INTO answers ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    answer = Answer("", "mine", "fake", ANSWER, (3,), 900, 8, 1e-4, False, (), "stop")
    with closing(connect(folder / "journal.sqlite")) as db:
        db.execute("BEGIN")
        for question in questions(n):
            cascade = RouteCascade(JournalLookup(None), [route], settings)  # type: ignore[arg-type]
            key = cascade._request(route, texts(question.candidates), 1, 1).key
            db.execute(insert, (*answer._replace(key=key).as_row(), ""))
        db.execute("COMMIT")


if __name__ == "__main__":
    os.chdir(Path(__file__).parent.parent)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("rate", "journal"))
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--reply-s", type=float, default=0.5)
    parser.add_argument("--provider", default="openai")
    asked = parser.parse_args()
    if asked.what == "journal":
        journal()
    else:
        rate(asked.prompts, asked.runs, asked.reply_s, asked.provider)
