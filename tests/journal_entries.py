"""Make entries for journals, and read the calls in a journal."""

from contextlib import ExitStack, closing

import pytest

from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import Answer, Call, Settled
from tasks.lib.journal.schema import connect_existing

ANSWER = Answer(
    key="k",
    route="mine",
    model="fake-1",
    text='{"picks": [3, 1]} 甲',
    parsed=(3, 1),
    prompt_tokens=120,
    completion_tokens=8,
    usd=0.5,
    is_upper_bound=False,
    dropped_params=("seed",),
    finish_reason="stop",
)
TIMEOUT = Settled("timeout", "no whole reply", "", 1000, 256, 1.0, True, 0.1)
REFUSED = Settled("rate_limit", "too fast", "", 0, 0, 0.0, False, 0.1)


@pytest.fixture
def db_path(tmp_path):
    return tmp_path / "new folder" / "journal.sqlite"


@pytest.fixture
def journals(db_path):
    """Return a function that opens journals on one file, as several runs would."""
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(closing(Journal(db_path, **how)))


def call(key="k", usd=1.0):
    return Call(key, "mine", "openai/fake", 1000, 256, usd, is_upper_bound=True)


def rows(place, columns="outcome, usd, is_upper_bound"):
    with closing(connect_existing(place)) as db:
        return db.execute(f"SELECT {columns} FROM calls ORDER BY id").fetchall()


async def buy(journal, key="k", answer=ANSWER, usd=1.0):
    call_id = await journal.reserve(call(key, usd))
    assert isinstance(call_id, int)
    await journal.keep(call_id, answer._replace(key=key), 0.25)
