"""Load from outside: wrk for what a server can give, hey for what it feels like at a given pace.

Both are Debian packages (`apt-get install wrk hey`). Bodies are POSTed as JSON to loopback only.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Throughput:
    """What wrk saw. Latencies in seconds."""

    requests_per_second: float
    p50: float
    p99: float
    failed: int


@dataclass(frozen=True, slots=True)
class Pace:
    """What hey saw at a fixed rate. Latencies in seconds."""

    requests_per_second: float
    p50: float
    p99: float
    failed: int


def wrk(url: str, bodies: Sequence[str], *, connections: int = 8, seconds: int = 5) -> Throughput:
    """As many requests as `connections` can have in flight, one at a time each, going round the bodies."""
    _need("wrk")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        quoted = ",\n".join(f"[==[{body}]==]" for body in bodies)
        script.write_text(
            f"local bodies = {{{quoted}}}\n"
            "local i = 0\n"
            'local headers = {["Content-Type"] = "application/json"}\n'
            'request = function() i = i % #bodies + 1; return wrk.format("POST", nil, headers, bodies[i]) end\n'
        )
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
        text = _run([*command, "-s", str(script), url])
    failed = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    failed += sum(int(n) for line in re.findall(r"Socket errors: (.*)", text) for n in re.findall(r"\d+", line))
    return Throughput(
        float(_find(r"Requests/sec:\s+([\d.]+)", text)),
        _seconds(_find(r"50%\s+(\S+)", text)),
        _seconds(_find(r"99%\s+(\S+)", text)),
        failed,
    )


def hey(url: str, body: str, *, rate: float, connections: int = 8, seconds: int = 10) -> Pace:
    """`rate` requests per second over `connections`, evenly paced."""
    _need("hey")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(body)
        file.flush()
        per_connection = rate / connections
        command = ["hey", "-z", f"{seconds}s", "-c", str(connections), "-q", f"{per_connection:.2f}"]
        text = _run([*command, "-m", "POST", "-T", "application/json", "-D", file.name, url])
    codes = {int(code): int(n) for code, n in re.findall(r"\[(\d+)\]\s+(\d+) responses", text)}
    errors = sum(int(n) for n in re.findall(r"^\s+\[(\d+)\]\t", text.partition("Error distribution:")[2], re.M))
    return Pace(
        float(_find(r"Requests/sec:\s+([\d.]+)", text)),
        float(_find(r"50%\*?%? in ([\d.]+) secs", text)),
        float(_find(r"99%\*?%? in ([\d.]+) secs", text)),
        sum(n for code, n in codes.items() if code >= 400) + errors,
    )


def _need(program: str) -> None:
    if shutil.which(program) is None:
        raise SystemExit(f"{program} is not installed: apt-get install {program}")


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr or done.stdout}")
    return done.stdout


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"no {pattern!r} in the load generator's output:\n{text}")
    return found.group(1)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if found is None:  # wrk shows no latency where no request was answered
        return float("nan")
    number, unit = found.groups()
    return float(number) * UNITS[unit]
