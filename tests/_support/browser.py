"""A headless Chromium that a test drives: DevTools messages as JSON over two pipes, no library in between."""

import base64
import contextlib
import fcntl
import json
import os
import select
import time
from pathlib import Path
from typing import Any, Self

_FLAGS = """headless no-sandbox disable-gpu disable-quic no-first-run no-default-browser-check hide-scrollbars
disable-background-networking disable-component-update disable-sync disable-extensions remote-debugging-pipe"""


class Browser:
    """One page in one Chromium; a context that ends the process.

    Args:  path: of the program;  profile: an empty folder.
    Attributes:  console: what the page complained of;  requests: addresses that it asked for, ``data:`` left out.
    """

    def __init__(self, path: str, profile: Path) -> None:
        self.console: list[str] = []
        self.requests: list[str] = []
        self._number, self._rest, self._session = 0, b"", None
        theirs_in, self._out = _pipe()
        self._in, theirs_out = _pipe()
        quiet = os.open(os.devnull, os.O_WRONLY)
        # Chromium reads descriptor 3 and writes to descriptor 4.
        self._process = os.posix_spawn(
            path,
            [path, *(f"--{flag}" for flag in _FLAGS.split()), f"--user-data-dir={profile}", "about:blank"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, *pair) for pair in ((theirs_in, 3), (theirs_out, 4), (quiet, 1), (quiet, 2))
            ],
        )
        for descriptor in (theirs_in, theirs_out, quiet):
            os.close(descriptor)

    def __enter__(self) -> Self:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._session = None
            self.call("Browser.close")
        for descriptor in (self._in, self._out):
            os.close(descriptor)
        os.waitpid(self._process, 0)

    def open(self, page: Path, *, width: int = 1200, height: int = 900, scheme: str = "light") -> None:
        """Load a page in a window of that size, for a reader who prefers that color scheme."""
        self.resize(width, height)
        self.prefer(scheme)
        self.console.clear()
        self.requests.clear()
        self.call("Page.navigate", url=page.as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def resize(self, width: int, height: int = 900) -> None:
        """Give the window another size."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def prefer(self, scheme: str) -> None:
        """Let the reader prefer light or dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def run(self, script: str) -> Any:
        """The value of an expression in the page, as JSON."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 20.0) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.02)

    def hover(self, x: float, y: float) -> None:
        """Move the mouse there, in pixels of the window."""
        for shift in (3, 0):
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + shift, y=y)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse, move it and let it go."""
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def click(self, selector: str) -> None:
        """Scroll to the first element that matches, and press the mouse in its middle."""
        x, y = self.middle(selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def middle(self, selector: str) -> tuple[float, float]:
        """Scroll to the first element that matches; its middle in pixels of the window."""
        x, y = self.run(f"""(() => {{
            const found = document.querySelector({json.dumps(selector)});
            found.scrollIntoView({{block: "center", behavior: "instant"}});
            const box = found.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        return x, y

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write what the window shows, or the whole page, as PNG."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and wait for its answer; what is told meanwhile is noted."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        _write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        """Keep complaints and requests."""
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.console.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.console.append(params["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.console.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith("data:"):
            self.requests.append(params["request"]["url"])

    def _next(self, seconds: float = 60.0) -> dict[str, Any]:
        """The next message of the browser."""
        while b"\0" not in self._rest:
            assert select.select([self._in], [], [], seconds)[0], "the browser says nothing"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser has ended"
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)


def _pipe() -> tuple[int, int]:
    """A pipe whose two ends are well above the descriptors that the browser expects."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
