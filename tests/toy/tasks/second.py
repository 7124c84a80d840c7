"""The second toy step."""

from tasks._toy import load, nap_and_end

from tasks.core.stage import Stage, run_step


def check(values):
    return load(values, "second")


def work(stage: Stage) -> None:
    nap_and_end(stage, stage.dep("first/first.txt").read_text())


if __name__ == "__main__":
    run_step("second", work)
