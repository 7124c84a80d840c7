"""The endpoints for files and batches of a provider on this machine, in OpenAI's protocol."""

import json
import threading
from collections.abc import Callable
from typing import Any

from tests.exchange import Response


class FakeBatches:
    """The files and batches of a provider, in OpenAI's protocol.

    A batch is answered and billed when it is created, request by request, as if these were single
    calls.

    Attributes:
        requests: All requests for files and batches so far, such as "POST /v1/batches".
        batches: All batches, by id.
        n_looks: How often a batch is polled before it ends.
        status: How a batch ends.
        share: The share of a batch's requests that are answered when it ends.
        spoil: Changes the lines of the output file.
        error: The code and message with which the validation of a batch fails, if any.
        max_requests: The largest batch that is accepted.
        notice: Called before and after each request is done; returns whether the request or its
            response is lost.

    Args:
        respond: Responds to the path, headers and body of a single call.
    """

    def __init__(self, respond: Callable[[str, dict[str, str], Any], Response]) -> None:
        self.requests: list[str] = []
        self.batches: dict[str, dict[str, Any]] = {}
        self.n_looks = 1
        self.status, self.share = "completed", 1.0
        self.spoil: Callable[[list[bytes]], list[bytes]] = lambda lines: lines
        self.error: tuple[str, str] | None = None
        self.max_requests = 10**9
        self.notice: Callable[[str, bool], bool] = lambda request, is_done: False
        self._respond_one = respond
        self._files: dict[str, bytes] = {}
        self._script: list[tuple[str, Response, bool]] = []
        self._lock = threading.RLock()

    @property
    def sizes(self) -> list[int]:
        """The number of requests of each batch."""
        return [batch["request_counts"]["total"] for batch in self.batches.values()]

    @property
    def is_script_done(self) -> bool:
        """Whether all scripted responses were used."""
        return not self._script

    def script(self, request: str, response: Response, *, is_done: bool = False) -> None:
        """Set the response to the next request, such as "POST /v1/files".

        If `is_done`, what the request asks for is also done.
        """
        self._script.append((request, response, is_done))

    def respond(self, request: str, body: bytes) -> Response:
        """Respond to a request."""
        with self._lock:
            self.requests.append(request)
            if self.notice(request, False):
                return Response(reset_after=0)
            scripted = next((s for s in self._script if request.startswith(s[0])), None)
            if scripted:
                self._script.remove(scripted)
                if scripted[2]:
                    self._do(request, body)
                return scripted[1]
            response = self._do(request, body)
            return Response(reset_after=0) if self.notice(request, True) else response

    def _do(self, request: str, body: bytes) -> Response:  # noqa: PLR0911
        method, _, path = request.partition(" ")
        kind, item, *rest = [*path.partition("?")[0].removeprefix("/v1/").split("/"), ""]
        if kind == "files" and method == "POST":
            return self._shown(self._file(_uploaded(body)))
        if kind == "files" and item in self._files:
            return Response(body=self._files[item])
        if kind == "batches" and method == "POST" and not item:
            return self._shown(self._create(json.loads(body)))
        if kind == "batches" and not item:
            newest = list(self.batches.values())[::-1]
            return self._shown({"object": "list", "data": newest, "has_more": False})
        if item not in self.batches:
            return _failure(404, f"No such object: {item}")
        batch = self.batches[item]
        if rest[0] == "cancel":
            if batch["status"] in ("completed", "failed", "expired", "cancelled"):
                return _failure(409, "The batch has already ended")
            batch["end"] = "cancelled"
        elif batch["looks"]:
            batch["looks"] -= 1
            batch["status"] = "in_progress"
        else:
            self._end(batch)
        return self._shown(batch)

    def _file(self, content: bytes) -> dict[str, Any]:
        file_id = f"file-{len(self._files) + 1}"
        self._files[file_id] = content
        shown = {"id": file_id, "object": "file", "bytes": len(content), "created_at": 1}
        return shown | {"filename": "requests.jsonl", "purpose": "batch", "status": "processed"}

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        lines = [json.loads(line) for line in self._files[asked["input_file_id"]].splitlines()]
        batch_id = f"batch_{len(self.batches) + 1}"
        counts = {"total": len(lines), "completed": 0, "failed": 0}
        batch: dict[str, Any] = asked | {"id": batch_id, "object": "batch", "created_at": 1}
        batch |= {"status": "validating", "request_counts": counts, "looks": self.n_looks}
        batch["end"], self.batches[batch_id] = self.status, batch
        error = self.error
        if len(lines) > self.max_requests:
            error = ("token_limit_exceeded", "Enqueued token limit reached. Limit: 2,000,000")
        if error:
            batch["end"], batch["errors"] = "failed", {"object": "list", "data": []}
            batch["errors"]["data"].append({"code": error[0], "message": error[1], "line": None})
            return batch
        assert len({line["custom_id"] for line in lines}) == len(lines)
        n_answered = round(self.share * len(lines))
        replies, errors = [], []
        for line in lines[:n_answered]:
            response = self._respond_one(line["url"], {}, line["body"])
            said = {"status_code": response.status, "body": json.loads(response.body)}
            whole = {"id": "r", "custom_id": line["custom_id"], "response": said, "error": None}
            is_reply = response.status == 200
            counts["completed" if is_reply else "failed"] += 1
            (replies if is_reply else errors).append(json.dumps(whole).encode())
        if self.status == "expired":
            late = {"code": "batch_expired", "message": "This request could not be executed."}
            for line in lines[n_answered:]:
                whole = {"id": "r", "custom_id": line["custom_id"], "response": None, "error": late}
                errors.append(json.dumps(whole).encode())
        batch["out"] = (self.spoil(replies), errors)
        return batch

    def _end(self, batch: dict[str, Any]) -> None:
        if batch["status"] != batch["end"]:
            batch["status"] = batch["end"]
            for name, lines in zip(("output", "error"), batch.get("out", ()), strict=False):
                if lines:
                    batch[f"{name}_file_id"] = self._file(b"\n".join(lines) + b"\n")["id"]

    def _shown(self, shown: dict[str, Any]) -> Response:
        return Response(body=json.dumps(shown, default=repr).encode())


def _uploaded(body: bytes) -> bytes:
    """Return the file in a multipart form."""
    boundary = body.partition(b"\r\n")[0]
    part = next(part for part in body.split(boundary) if b"filename=" in part)
    return part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


def _failure(status: int, message: str) -> Response:
    error = {"message": message, "type": "error", "code": None, "param": None}
    return Response(status, json.dumps({"error": error}).encode())
