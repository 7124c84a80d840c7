"""D: files that change while a run reads them, and remotes that lack objects."""

import functools
import gzip
import json
import os
import random
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from benchmarks.attack import proof, trial
from benchmarks.attack.trial import Finding, broken, rough
from tasks.audit.dvc_lock import Lock
from tests.workspaces import Workspace, lay_out

N_ROWS = 5_000
STAGES = ("ingest", "dedupe")
SOURCES = ("pool.jsonl", "pool.jsonl.gz", "shards")
COMMAND = ("dvc", "repro", "dedupe")


def attack(rng: random.Random, root: Path, patience: float) -> tuple[str, list[Finding]]:
    """Change a file during `dvc repro`, or damage a remote before `dvc pull`."""
    return (_pull if rng.random() < 0.25 else _change)(rng, root, patience)


@functools.cache
def fresh() -> Workspace:
    """Return a workspace in which nothing has run."""
    root = Path(tempfile.mkdtemp(prefix="fresh-"))
    lay_out(root / "run", "tasks", "dvc.yaml", "params.yaml", "data/none.jsonl")
    space = Workspace.commit(root / "run", root)
    for name in SOURCES:
        _write_source(space.root / name, "the first")
    return space


def _write_source(path: Path, version: str, n_rows: int = N_ROWS) -> None:
    """Write rows that differ between versions."""
    lines = [
        json.dumps({"instruction": f"Explain topic {i} of {version} book."}).encode() + b"\n"
        for i in range(n_rows)
    ]
    if path.name == "shards":
        path.mkdir(exist_ok=True)
        for i in range(4):
            (path / f"{i}.jsonl").write_bytes(b"".join(lines[i::4]))
    else:
        content = b"".join(lines)
        path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)


def _change(rng: random.Random, root: Path, patience: float) -> tuple[str, list[Finding]]:
    """Change an input at a random moment; if DVC says nothing is stale, compare with a new run."""
    space = fresh()
    run = root / "run"
    shutil.copytree(space.root, run, symlinks=True)
    source = rng.choice(SOURCES)
    here = Workspace(run, space.env)
    here.set(f"ingest.source={source}")
    victim = run / rng.choice((source, source, "params.yaml", "data/ingest/pool.parquet"))
    change = rng.choice(CHANGES_OF_PARAMS if victim.suffix == ".yaml" else CHANGES)
    trigger = run / (".selectllm/step.lock" if victim.name != "pool.parquet" else victim)
    moment = rng.uniform(0, 3)
    ended = Event()
    done: list[str] = []

    def act() -> None:
        while not trigger.exists() and not ended.wait(0.01):
            pass
        if not ended.wait(moment):
            change(rng, victim)
            done.append(change.__name__)

    acting = Thread(target=act)
    acting.start()
    ran = _run(run, patience, *COMMAND)
    ended.set()
    acting.join()
    title = f"{victim.name} of {source}: {change.__name__} {moment:.1f} s after the start"
    found = _ending(ran)
    if not done or ran.stopped:
        return f"{title}, which was too late", found
    if ran.status == 0 and _is_clean(here):
        before = _outputs(run)
        again = _run(run, patience, *COMMAND, "--force")
        if again.status or _outputs(run) != before:
            found.append(broken("nothing is stale, but another run gives other bytes"))
    return f"{title}, status {ran.status}", found


def _run(cwd: Path, patience: float, *words: str) -> trial.Ran:
    return trial.run(*words, cwd=cwd, patience=patience, env={"DVC_ROOT": trial.UNSET})


def _ending(ran: trial.Ran) -> list[Finding]:
    """Return how the program ended, excluding what DVC alone says or prints around our words."""
    text = re.sub(r"\x1b\[[0-9;]*m|\t", " ", ran.output)
    is_ours = "failed to run" in text  # else DVC stopped before the step started
    status = (2 if is_ours else 0) if ran.status in (254, 255) else ran.status
    return list(trial.ending(ran._replace(output=text, status=status)))


def _is_clean(space: Workspace) -> bool:
    status = space.dvc("status", "--json", *STAGES, check=False)
    return status.returncode == 0 and json.loads(status.stdout) == {}


def _outputs(root: Path) -> dict[str, bytes]:
    files = (p for stage in STAGES for p in (root / "data" / stage).rglob("*") if p.is_file())
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


Change = Callable[[random.Random, Path], None]


def _file(rng: random.Random, path: Path) -> Path:
    """Return the path itself, or a file of a folder."""
    return rng.choice(sorted(path.iterdir())) if path.is_dir() else path


def _replaced(rng: random.Random, path: Path) -> None:
    """Put another version in the place of a file or folder, by renaming it."""
    new = path.parent / "new" / path.name
    new.parent.mkdir()
    if path.name in SOURCES:
        _write_source(new, "the other")
    else:
        new.write_bytes(path.read_bytes()[:-100])
    if path.is_dir():
        shutil.rmtree(path)
    os.replace(new, path)


def _overwritten(rng: random.Random, path: Path) -> None:
    if path.name in SOURCES:
        _write_source(path, "the other")
    else:
        _cut(rng, path)


def _cut(rng: random.Random, path: Path) -> None:
    path = _file(rng, path)
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


def _grown(rng: random.Random, path: Path) -> None:
    path = _file(rng, path)
    path.chmod(0o644)
    with path.open("ab") as file:
        row = b'{"instruction": "One more."}\n'
        file.write(gzip.compress(row) if path.suffix == ".gz" else row)


def _removed(rng: random.Random, path: Path) -> None:
    _file(rng, path).unlink()


def _touched(rng: random.Random, path: Path) -> None:
    os.utime(_file(rng, path))


CHANGES: tuple[Change, ...] = (_replaced, _replaced, _overwritten, _cut, _grown, _removed, _touched)


def _own_key(rng: random.Random, path: Path) -> None:
    new = rng.choice(("max_chars: 40", "max_dropped: 0.9", "turn: all"))
    key = new.partition(":")[0]
    path.write_text(re.sub(rf"(?m)^  {key}:.*$", f"  {new}", path.read_text()))


def _other_key(rng: random.Random, path: Path) -> None:
    path.write_text(re.sub(r"(?m)^  budget:.*$", "  budget: 7", path.read_text()))


def _comment(rng: random.Random, path: Path) -> None:
    path.write_text(path.read_text() + "# seen\n")


def _not_yaml(rng: random.Random, path: Path) -> None:
    path.write_bytes(rng.choice((b"[", b"\xff", b"", b"5\n")))


CHANGES_OF_PARAMS: tuple[Change, ...] = (
    _own_key,
    _own_key,
    _other_key,
    _comment,
    _not_yaml,
    _removed,
)


@functools.cache
def pushed() -> Path:
    """Return a remote with all outputs of the finished workspace."""
    space = proof.finished()
    remote = Path(tempfile.mkdtemp(prefix="remote-"))
    space.dvc("remote", "add", "--local", "--default", "--force", "storage", str(remote))
    space.dvc("push", "-q")
    return remote


def _pull(rng: random.Random, root: Path, patience: float) -> tuple[str, list[Finding]]:
    """Damage an object of the remote; let `dvc pull` and then `verify` or `doctor` meet it."""
    remote, run = root / "remote", root / "run"
    shutil.copytree(pushed(), remote)
    proof.copy(run)
    outputs = sorted((f.path, f.md5) for f in Lock(run).files if f.is_out)
    for name, md5 in outputs:
        path = run / name
        shutil.rmtree(path) if md5.endswith(".dir") else path.unlink()
    name, md5 = rng.choice(outputs)
    here = Workspace(run, proof.finished().env)
    here.dvc("remote", "add", "--local", "--default", "--force", "storage", str(remote))
    path = remote / "files/md5" / md5[:2] / md5[2:]
    how = rng.choice(("missing", "cut", "noise", "folder"))
    content = path.read_bytes()
    path.chmod(0o644)
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how != "missing":
        path.write_bytes(content[: len(content) // 2] if how == "cut" else rng.randbytes(500))
    here.dvc("pull", "-q", check=False)
    command = rng.choice(("verify", "doctor"))
    ran = _run(run, patience, "flows.cli", command)
    found = list(trial.ending(ran))
    if command == "verify" and (ran.status == 0 or name not in ran.output):
        found.append(broken(f"status {ran.status}, {name} is not named: {ran.output[-300:]}"))
    if (
        command == "doctor"
        and how == "missing"
        and not re.search(r"has \d+ of the outputs", ran.output)
    ):
        found.append(rough(f"the missing object is not named: {ran.output[-600:]}"))
    return f"{name} in the remote: {how}, then {command}", found
