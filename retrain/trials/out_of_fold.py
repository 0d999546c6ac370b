"""What a search's models said of rows that they were not fitted on: the ground for calibration and threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrain.models.calibration import tempered
from retrain.models.configuration import CALIBRATION, Configuration, Member
from retrain.trials.selection import Candidate

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Answers of the best trials on the judged rows, with the rows' targets. Never of the holdout."""

    candidates: Sequence[Candidate]
    target: npt.NDArray[np.int64] | Floats

    def answers(self, configuration: Configuration) -> Floats | None:
        """Those of one trial, or the mean of an ensemble of trials, calibrated if it is; None where one is unknown."""
        total: Floats = np.zeros(())
        members = configuration.members or (Member(configuration.parts[0], 1.0),)
        for member in members:
            known = [held.answers for held in self.candidates if held.configuration == member.configuration]
            if not known:
                return None
            total = total + member.weight * known[0]
        calibration = [float(configuration.params[name]) for name in CALIBRATION if name in configuration.params]
        return tempered(total, *calibration) if calibration else total
