"""The table's rows that go through the real record: join, order, crashes, and that both ways agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from monitoring.bouts.design import Design
from monitoring.bouts.evidence_state import EvidenceState
from monitoring.prove.course import matured_pairs
from monitoring.prove.target import Target
from monitoring.prove.traffic import Traffic, at_rate, scores
from monitoring.prove.world import START, World, moment
from record.bouts.bout import Bout

REQUESTS = 400
PER_DAY = 24_000.0  # one every 3.6 seconds: a look's page has many of them
MINUTES = timedelta(minutes=5)
END = START + timedelta(days=2)
MOST_STEPS = 60  # at which a process is killed before one must be through
STEP_VARIABLE = "RINGSIDE_FAIL_AT"


def agreement(runs: int) -> list[Target]:
    """Bouts whose evidence through the record is not that of the arrays, to the last bit."""
    differ = 0
    for run in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            world, bout, traffic, ids = _begun(Path(folder), run)
            world.label(_labels(traffic, ids))
            world.settle(END)
            design = Design.from_json(bout.design)
            state = EvidenceState.start(design).add(matured_pairs(_placed(traffic)))
            differ += state.read(design.alpha, design.needed).e_value != world.look(bout)["e_value"]
            world.close()
    title = "bouts whose evidence differs between the record's join and the arrays"
    return [Target("join_agrees_with_arrays", "one join", title, float(differ), 0.0, unit="count", runs=runs)]


def repeated_labels(runs: int) -> list[Target]:
    """Every label three times, in any order and over several looks: bouts whose evidence is another."""
    differ = 0
    for run in range(runs):
        looks = []
        for repeats in (1, 3):
            with tempfile.TemporaryDirectory() as folder:
                world, bout, traffic, ids = _begun(Path(folder), run)
                told = _labels(traffic, ids) * repeats
                order = np.random.default_rng(run).permutation(len(told)) if repeats > 1 else range(len(told))
                world.label([told[place] for place in order])
                for hours in (2, 5, 9) if repeats > 1 else ():
                    world.settle(START + timedelta(hours=hours))
                world.settle(END)
                looks.append(_evidence(world, bout))
                world.close()
        differ += looks[0] != looks[1]
    title = "every label three times, any order: bouts with other evidence"
    return [
        Target(
            "labels_repeated", "the same evidence to the last bit", title, float(differ), 0.0, unit="count", runs=runs
        )
    ]


def killed() -> list[Target]:
    """A process that is killed at its first, second, third … step, and started anew each time."""
    with tempfile.TemporaryDirectory() as name:
        whole, torn = Path(name) / "whole", Path(name) / "torn"
        for folder in (whole, torn):
            world, _, traffic, ids = _begun(folder, 0)
            world.label(_labels(traffic, ids))
            world.close()
        _settled(whole, None)
        steps = 0
        while steps < MOST_STEPS and _settled(torn, steps + 1) != 0:
            steps += 1
        _settled(torn, None)
        differ = float(_kept(whole) != _kept(torn))
    title = f"kill -9 between any two of {steps} steps: bouts with other evidence"
    return [
        Target("kill_at_any_step", "the same evidence to the last bit", title, differ, 0.0, unit="count", runs=steps)
    ]


def settle_folder(folder: Path) -> None:
    """What the killed process does: the watcher's looks at one bout, hour by hour."""
    world = World.reopen(folder)
    for hours in (1, 2, 5, 9, 48):
        world.settle(START + timedelta(hours=hours))
    world.close()


def known_rows(runs: int) -> list[Target]:
    """Pairs that are not later than everything the challenger knew: by the log's order, and by time."""
    old = 0
    for run in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            world = World.build(Path(folder))
            world.register()
            traffic = scores(np.random.default_rng(run), at_rate(REQUESTS, PER_DAY), noise=(0.3, 0.3))
            ids = world.ask(traffic)
            # The source held half of the logged requests; the log had none of them matured, so that nothing was read.
            known = moment(int(traffic.times[REQUESTS // 2]))
            world.register(read_until=0, data_until=known)
            (bout,) = world.open(START + timedelta(hours=1))
            world.score(bout, traffic, 1)
            world.label(_labels(traffic, ids))
            world.settle(END)
            seqs, _ = world.record.bouts.pairs(bout.bout)
            old += int((traffic.times[seqs - 1] <= traffic.times[REQUESTS // 2]).sum())
            world.close()
    title = "pairs older than what the challenger knew"
    return [Target("pairs_that_were_known", "fresh evidence", title, float(old), 0.0, unit="count", runs=runs)]


def _begun(folder: Path, seed: int) -> tuple[World, Bout, Traffic, list[str]]:
    """A bout with its requests logged and scored, and no label yet."""
    world = World.build(folder)
    world.register()
    world.register()
    (bout,) = world.open()
    traffic = scores(np.random.default_rng([7, seed]), at_rate(REQUESTS, PER_DAY), noise=(0.3, 0.3), lean=0.2)
    ids = world.ask(traffic)
    world.score(bout, traffic, 1)
    return world, bout, traffic, ids


def _labels(traffic: Traffic, ids: list[str]) -> list[tuple[datetime, str, bool]]:
    assert traffic.labels is not None
    return [
        (moment(int(at)) + MINUTES, id, bool(label))
        for at, id, label in zip(traffic.times, ids, traffic.labels, strict=True)
    ]


def _placed(traffic: Traffic) -> Traffic:
    """The same at the record's times."""
    start = int(START.timestamp() * 1e6)
    return replace(traffic, times=traffic.times + start)


def _evidence(world: World, bout: Bout) -> str:
    look = world.look(bout)
    kept = {name: look[name] for name in ("pairs", "e_value", "e_max", "e_harm_max", "lead", "labelled", "matured")}
    return json.dumps(kept, sort_keys=True) + world.record.bouts.pairs(bout.bout)[1].tobytes().hex()


def _settled(folder: Path, step: int | None) -> int:
    environment = {name: value for name, value in os.environ.items() if name != STEP_VARIABLE}
    if step is not None:
        environment[STEP_VARIABLE] = str(step)
    command = [sys.executable, "-m", "monitoring.prove.settle_once", str(folder)]
    return subprocess.run(command, env=environment, check=False).returncode


def _kept(folder: Path) -> Any:
    world = World.reopen(folder)
    (bout,) = world.record.bouts.all()
    kept = _evidence(world, bout), bout.state, bout.outcome
    world.close()
    return kept
