"""Have every prompt judged once; `verify` runs the same code on the answers in the journal."""

from collections.abc import Sequence

from tasks.llm_select.attention_checks import Insertion
from tasks.llm_select.verdicts import AskJudge, JudgedPrompt, Members, Question, Receive


async def judge_prompts(
    prompts: Sequence[Members],
    n_ranked: int,
    checks: Sequence[Insertion],
    judge: AskJudge,
    receive: Receive,
) -> None:
    """Have all prompts judged, and then the attention checks.

    The checks are skipped if the judge stops before all prompts are judged.

    Args:
        prompts: The candidates of each prompt.
        n_ranked: The largest number of slots that an answer ranks.
        checks: The prompts that are judged once more with junk inserted.
        judge: Ranks the candidates of each prompt.
        receive: Called with each question and its verdict, in order.
    """
    n_judged = 0

    def question(i: int, check: Insertion | None = None) -> Question:
        members = prompts[i]
        return Question(i + 1, members, min(n_ranked, len(members)), check)

    def count(judged: JudgedPrompt | None) -> None:
        nonlocal n_judged
        n_judged += judged is not None
        receive(judged)

    await judge(map(question, range(len(prompts))), count)
    if n_judged == len(prompts):
        await judge((question(check.prompt, check) for check in checks), receive)
