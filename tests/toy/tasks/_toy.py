"""What both toy steps do: nap, report it, then end as params.yaml says."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tasks.lib.core.errors import DataError
from tasks.lib.core.params import Params, load_section
from tasks.lib.core.stage import Stage


class Toy(Params):
    source: str
    naps: int = Field(ge=0)
    ending: Literal["well", "data", "die"]


def load(values: Mapping[str, Any], name: str) -> Toy:
    return load_section(values, name, Toy)


def nap_and_end(stage: Stage, text: str) -> None:
    toy = load(stage.values, stage.name)
    with Path("ran.log").open("a") as file:
        file.write(f"{stage.name}\n")
    out = stage.out(f"{stage.name}/{stage.name}.txt")
    out.write_text("half")
    progress = stage.progress(toy.naps, "naps")
    for _ in range(toy.naps):
        time.sleep(0.1)
        progress.advance()
    if toy.ending == "die":
        os._exit(9)
    if toy.ending == "data":
        raise DataError("expected a number, got a word", where="source.txt:1", fix="Fix it.")
    out.write_text(f"{text} {toy.naps}")
