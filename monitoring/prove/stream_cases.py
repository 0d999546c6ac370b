"""The table's rows on real streams: how often one of equals is promoted in real order, and how it fares afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np

from monitoring.bouts.design import Design
from monitoring.bouts.family import FamilyShare
from monitoring.bouts.opening import CYCLES
from monitoring.prove.course import play
from monitoring.prove.streams import RealBout, real_bouts, shuffled, significantly_behind, stream_files
from monitoring.prove.target import Target, with_errors
from monitoring.prove.traffic import Traffic
from record.configuration.loop_sections import PromotionSettings
from record.dependence import find_cycle

ALPHA = 0.05
LOOK_EVERY = timedelta(hours=12)
QUICK_MODELS, WHOLE_MODELS = 4, 8
GROUP = "real streams, exchangeable models"


def stream_targets(folder: Path, *, whole: bool) -> list[Target]:
    """Pooled over the folder's streams; skipped where there are none."""
    files = stream_files(folder)
    rng = np.random.default_rng(41)
    real: list[bool] = []
    mixed: list[bool] = []
    behind: list[bool] = []
    kept: list[bool] = []
    for file in files:
        for bout in real_bouts(file, WHOLE_MODELS if whole else QUICK_MODELS):
            design = _design(bout)
            course = play(bout.traffic, design, LOOK_EVERY)
            promoted = course.outcome == "promote"
            real.append(promoted)
            mixed.append(play(shuffled(bout, rng), replace(design, cycle_seconds=0.0), LOOK_EVERY).outcome == "promote")
            if promoted:
                following = bout.next_labels(course.requests)
                behind.append(significantly_behind(following.differences))
                kept.append(behind[-1] and not _sent_back(following))
    if not real:
        why = f"no Parquet file of 1,000 rows or more in {folder} or its folder `streams`"
        return [Target(name, GROUP, title, None, 0.05, skipped=why) for name, title in _TITLES.items()]
    most = max(2 * float(np.mean(mixed)), with_errors(ALPHA, len(real)))
    share = float(np.mean(behind)) if behind else 0.0
    return [
        Target("streams_promoted", GROUP, _TITLES["streams_promoted"], float(np.mean(real)), most, runs=len(real)),
        Target("streams_behind", GROUP, _TITLES["streams_behind"], share, 0.05, runs=len(behind)),
        Target(
            "streams_behind_kept",
            GROUP,
            _TITLES["streams_behind_kept"],
            float(np.mean(kept)) if kept else 0.0,
            0.05,
            runs=len(kept),
        ),
    ]


_TITLES = {
    "streams_promoted": "promoted in real order",
    "streams_behind": "of the promoted, significantly behind in the next 5,000 labels",
    "streams_behind_kept": "of the promoted, behind in the next 5,000 labels and not sent back by the probation",
}


def _sent_back(following: Traffic) -> bool:
    """Return True if the probation on these labels ends in a rollback to the former champion."""
    promotion = PromotionSettings.model_validate({"deadline": "3650d", "rollback_watch": len(following)})
    design = Design.of_probation(promotion, loss="brier", loss_scale=1.0, horizon=timedelta(days=1))
    return play(replace(following, differences=-following.differences), design, LOOK_EVERY).outcome == "roll_back"


def _design(bout: RealBout) -> Design:
    """With the cycle that the product finds in the champion's answers and in the losses' differences."""
    promotion = PromotionSettings.model_validate({"deadline": "3650d"})
    traffic = bout.traffic
    cycles = {find_cycle(traffic.times, traffic.answers[:, 0]), find_cycle(traffic.times, traffic.differences)}
    cycle = "week" if "week" in cycles else "day" if "day" in cycles else "none"
    return Design.of_challenge(
        promotion,
        share=FamilyShare(1, ALPHA),
        loss="brier",
        loss_scale=1.0,
        horizon=timedelta(days=1),
        cycle=CYCLES[cycle],
    )
