"""Write a judge's answers to MLflow as traces: question, reply, tokens, price and duration."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from flows.tracking.store import Store
from tasks.lib.documents.traced_answer import TracedAnswer

MAX_TRACES = 100
"""Answers per run; if there are more, a sample is written. 100 take 0.3 CPU s and 1 MB."""
MAX_LINKS = 100  # to a run in one request, which is MLflow's limit


def write_traces(
    store: Store, run_id: str, answers: Sequence[TracedAnswer], prompt: Mapping[str, Any]
) -> None:
    """Write each answer as a trace, and link the traces to a run.

    An answer has the same trace in all runs that use it. All spans are written at once, since
    MLflow's `start_span` commits four times for each trace, and so is 25 times as slow.

    Args:
        store: The open store.
        run_id: The run.
        answers: The answers.
        prompt: The name and version of the registered prompt.
    """
    from mlflow.entities import Span  # noqa: PLC0415  two seconds, see store.prepare
    from mlflow.tracing.client import TracingClient  # noqa: PLC0415

    spans = [Span.from_dict(_span(answer, prompt)) for answer in answers]
    TracingClient().log_spans(store.experiment_id, spans)
    client = store.mlflow.MlflowClient()
    for start in range(0, len(spans), MAX_LINKS):
        client.link_traces_to_run(
            [span.trace_id for span in spans[start : start + MAX_LINKS]], run_id
        )


def _span(answer: TracedAnswer, prompt: Mapping[str, Any]) -> dict[str, Any]:
    """Return the only span of an answer's trace, in MLflow's own form."""
    trace_id = bytes.fromhex(answer.digest)
    start_ns = int(answer.began.timestamp() * 1e9)
    return {
        "trace_id": base64.b64encode(trace_id).decode(),
        "span_id": base64.b64encode(trace_id[:8]).decode(),
        "parent_span_id": None,
        "name": f"prompt {answer.prompt}",
        "start_time_unix_nano": start_ns,
        "end_time_unix_nano": start_ns + int(answer.duration_s * 1e9),
        "events": [],
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {
            name: json.dumps(value, ensure_ascii=False)
            for name, value in _attributes(answer, prompt).items()
        },
        "links": [],
    }


def _attributes(answer: TracedAnswer, prompt: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an answer; MLflow's pages read those that begin with ``mlflow``."""
    reply = {"role": "assistant", "content": answer.text}
    n_tokens = answer.prompt_tokens, answer.completion_tokens
    return {
        "mlflow.traceRequestId": f"tr-{answer.digest}",
        "mlflow.spanType": "CHAT_MODEL",
        "mlflow.spanInputs": {"messages": answer.messages},
        "mlflow.spanOutputs": {
            "choices": [{"message": reply, "finish_reason": answer.finish_reason}]
        },
        "mlflow.chat.tokenUsage": {
            "input_tokens": n_tokens[0],
            "output_tokens": n_tokens[1],
            "total_tokens": sum(n_tokens),
        },
        "mlflow.llm.cost": {"total_cost": answer.usd},
        "mlflow.llm.model": answer.model,
        "mlflow.traceTag.mlflow.traceName": f"prompt {answer.prompt}",
        "mlflow.traceTag.route": answer.route,
        "mlflow.linkedPrompts": [prompt],
        "is_upper_bound": answer.is_upper_bound,
        "n_failed_calls": answer.n_failed,
    }
