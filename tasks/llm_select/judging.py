"""Have every prompt judged once; `verify` runs the same code on the answers in the journal."""

from collections.abc import Iterator, Sequence

from tasks.llm_select.attention_checks import plan_checks
from tasks.llm_select.verdicts import AskJudge, Judged, JudgedPrompt, Members, Question


async def judge_prompts(
    prompts: Sequence[Members], n_ranked: int, n_attention_checks: int, seed: int, judge: AskJudge
) -> Judged:
    """Return the verdicts on all prompts and then on the attention checks.

    The checks are skipped if the judge stops before all prompts are judged.

    Args:
        prompts: The candidates of each prompt.
        n_ranked: The largest number of slots that an answer ranks.
        n_attention_checks: The number of prompts that are judged once more with junk inserted.
        seed: The seed for choosing these prompts.
        judge: Ranks the candidates of each prompt.
    """

    def questions() -> Iterator[Question]:
        for number, members in enumerate(prompts, 1):
            yield Question(number, members, min(n_ranked, len(members)))

    judged = await _ask(list(questions()), judge)
    checks: list[JudgedPrompt] = []
    if len(judged) == len(prompts):
        planned = plan_checks(len(prompts), n_attention_checks, seed)
        by_number = list(questions())
        asked = [by_number[check.prompt]._replace(attention_check=check) for check in planned]
        checks = await _ask(asked, judge)
    return Judged(judged, len(prompts), checks)


async def _ask(questions: Sequence[Question], judge: AskJudge) -> list[JudgedPrompt]:
    """Return each question that got a verdict, together with its verdict."""
    verdicts = await judge(questions)
    return [
        JudgedPrompt(question, verdict)
        for question, verdict in zip(questions, verdicts, strict=False)
        if verdict is not None
    ]
