"""A real headless Chromium, driven by its DevTools protocol over a websocket."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-port=0", "--hide-scrollbars"),
)
WAIT_S = 60


class Page:
    """The one open page.

    Attributes:
        problems: Errors and warnings in the console, and uncaught exceptions.
        requests: Every requested address, excluding data URLs.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._n = socket, 0
        self.problems: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the answer to a command, and record the events that arrive before it."""
        self._n += 1
        self._socket.send(json.dumps({"id": self._n, "method": method, "params": params}))
        while True:
            reply = json.loads(self._socket.recv(timeout=WAIT_S))
            if reply.get("id") == self._n:
                if "error" in reply:
                    raise AssertionError(f"{method}: {reply['error']}")
                answer: dict[str, Any] = reply["result"]
                return answer
            self._note(reply.get("method"), reply.get("params", {}))

    def _note(self, event: str | None, reply: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(reply["exceptionDetails"])[:2000])
        elif event == "Log.entryAdded":
            self.problems.append(reply["entry"]["text"])
        elif event == "Runtime.consoleAPICalled" and reply["type"] in (
            "error",
            "warning",
            "assert",
        ):
            self.problems.append(json.dumps(reply["args"])[:2000])
        elif event == "Network.requestWillBeSent":
            address = reply["request"]["url"]
            if not address.startswith("data:"):
                self.requests.append(address)

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page; a promise is awaited."""
        result = self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise AssertionError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def open(self, path: Path, width: int, height: int = 900, scheme: str = "light") -> None:
        """Open a file on a screen of the given width, and wait until everything is drawn."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.show_as(scheme)
        self.problems.clear()
        self.requests.clear()
        self.ask("Page.navigate", url=path.as_uri())
        self.wait("document.documentElement?.dataset.drawn === 'yes'")

    def show_as(self, scheme: str) -> None:
        """Emulate a user who prefers a light or a dark page."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", features=features)

    def wait(self, condition: str) -> None:
        """Wait until an expression is true in the page."""
        deadline = time.monotonic() + WAIT_S
        while not self.run(condition):
            if time.monotonic() > deadline:
                raise AssertionError(f"never true: {condition}\n" + "\n".join(self.problems))
            time.sleep(0.05)

    def move(self, x: float, y: float) -> None:
        """Move the mouse to a point in the window."""
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if (kind, key) == ("keyDown", "Enter") else {}
            self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text
            )

    def picture(self, path: Path) -> None:
        """Return the whole page as a PNG file."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def browser(home: Path) -> Iterator[Page]:
    """Open a page in a fresh browser with its profile in `home`; close it after the block."""
    assert CHROMIUM
    process = subprocess.Popen(
        [CHROMIUM, *FLAGS, f"--user-data-dir={home}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        port = _port(home / "DevToolsActivePort")
        with connect(f"ws://127.0.0.1:{port[0]}{port[1]}", max_size=None, proxy=None) as whole:
            address = f"ws://127.0.0.1:{port[0]}/devtools/page/{_target(whole)}"
        with connect(address, max_size=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _port(file: Path) -> tuple[str, str]:
    deadline = time.monotonic() + WAIT_S
    while not (file.exists() and file.read_text().count("\n")):
        assert time.monotonic() < deadline, "Chromium did not start"
        time.sleep(0.05)
    port, path = file.read_text().split()
    return port, path


def _target(socket: ClientConnection) -> str:
    socket.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
    pages = json.loads(socket.recv(timeout=WAIT_S))["result"]["targetInfos"]
    return str(next(each["targetId"] for each in pages if each["type"] == "page"))
