"""The second toy step."""

from tasks._toy import load, nap_and_end

from tasks.lib.core.stage import Stage


def check(values):
    return load(values, "second")


def work(stage: Stage) -> None:
    nap_and_end(stage, stage.dep("first/first.txt").read_text())
