"""Random files of every shape: each row is kept or dropped, or the file is refused in two lines."""

import random

import pytest

from benchmarks.attack import readers
from tasks.ingest.step import work
from tasks.lib.core.errors import CurationError
from tasks.lib.core.stage import Stage
from tests.workspaces import StepWorkspace

N_FILES = 40
SMALL = [readers.FORMATS[name] for name in ("jsonl", "json", "csv", "encoded")]


@pytest.mark.slow
def test_a_random_file_is_read_or_refused_in_two_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = StepWorkspace(tmp_path)
    for seed in range(N_FILES):
        rng = random.Random(seed)
        suffix, content = rng.choice(SMALL)(rng)
        content = readers.damaged(rng, content) if rng.random() < 0.3 else content
        (tmp_path / f"a{suffix}").write_bytes(content)
        turn = rng.choice(("last", "first", "all"))
        space.update(ingest={"source": f"a{suffix}", "turn": turn, "max_dropped": 1.0})
        try:
            Stage("ingest", tmp_path).run(work)
        except CurationError as error:
            assert error.fix, seed
            continue
        except Exception as error:
            error.add_note(f"the seed: {seed}")
            raise
        assert readers.faults_of_outputs(tmp_path) == [], seed
