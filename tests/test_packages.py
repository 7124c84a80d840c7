"""Packages are pinned, and those that `make` installs have hashes."""

import re
from itertools import pairwise

from tests.conftest import PROJECT


def test_every_package_is_pinned_and_none_is_known_malware():
    pins = [
        line.split(";")[0].strip()
        for line in (PROJECT / "constraints.txt").read_text().splitlines()
        if line and line[0] != "#"
    ]
    assert all(re.fullmatch(r"[a-z0-9-]+==[^ ]+", pin) for pin in pins)
    assert not {"litellm==1.82.7", "litellm==1.82.8"} & set(pins)


def test_make_installs_only_pinned_packages_whose_files_have_hashes():
    def pins(lines):
        return {line.partition(" ;")[0] for line in lines}

    pinned = pins((PROJECT / "constraints.txt").read_text().splitlines())
    for path in (PROJECT / ".ci/requirements").glob("*.txt"):
        lines = path.read_text().replace(" \\\n", "\n").splitlines()
        packages = [line for line in lines if line[0] != " "]
        assert pins(packages) <= pinned, path
        hashed = {a for a, b in pairwise(lines) if b.startswith("    --hash=sha256:")}
        assert set(packages) <= hashed, path
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}|[a-z0-9-]+==.*", x) for x in lines)
        assert "://" not in path.read_text()
    makefile = (PROJECT / "Makefile").read_text()
    installs = [line for line in makefile.splitlines() if line.startswith("\t$(PIP)")]
    assert installs
    for line in installs:
        assert "--require-hashes" in line or line.split("#")[0].split()[-1] in ("torch", "."), line
