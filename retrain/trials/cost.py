"""What a trial will take, in processor seconds, before it is begun.

Rough, within a factor of three or so. It is there for what is out of all proportion, as boosting of three hundred
classes within ten seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from retrain.data.dataset import Dataset
from retrain.models.bounds import most_forest_leaves, trees_a_round
from retrain.models.configuration import Configuration
from retrain.models.families import FORESTS, SMOOTH
from retrain.trials.rounds import most_rounds

# Measured on one core of 2020, per unit.
TREE_SECONDS = 1e-4  # of boosting, however small
CELL_SECONDS = 1.2e-8  # a row and column of one tree
SPLIT_SECONDS = 2e-8  # a row, column and level of a forest's tree
CLASS_SECONDS = 1e-8  # a class, column and node of a forest's tree
PRODUCT_SECONDS = 4e-10  # one multiplication and addition of large matrices, there and back
STEP_SECONDS = 3e-9  # the same in a perceptron's small batches
BATCH_SECONDS = 3e-4
LINEAR_ITERATIONS = 100
ROUNDS_SHARE = 0.5  # of the most rounds or epochs: most trials stop earlier
BATCH_ROWS = 64
RAMPS = 16
LEVELS = 30  # columns of a category, one-hot
MEANS = 8  # columns of a category's target means, of several classes


@dataclass(frozen=True, slots=True)
class Workload:
    """What trials are fitted on."""

    fits: tuple[int, ...]  # rows of each fold
    numbers: int
    categories: int
    classes: int
    trial_trees: int

    @classmethod
    def of(cls, data: Dataset, fits: tuple[int, ...], trial_trees: int) -> Workload:
        schema = data.schema
        return cls(fits, len(schema.number_names), len(schema.category_names), data.classes, trial_trees)

    def seconds(self, configuration: Configuration) -> float:
        """All folds together."""
        return sum(self._fit(configuration, rows) for rows in self.fits)

    def _fit(self, configuration: Configuration, rows: int) -> float:
        params, columns = configuration.params, self._columns(configuration)
        outputs = max(1, self.classes if self.classes > 2 else 1)
        if configuration.family in FORESTS:
            kept = max(1.0, columns * float(params.get("max_features", 0.4)))
            nodes = 2 * min(rows, most_forest_leaves(self.classes))
            tree = rows * math.log2(rows + 2) * kept * SPLIT_SECONDS + nodes * outputs * kept * CLASS_SECONDS
            return self.trial_trees * tree
        if configuration.family == "linear":
            if self.classes == 0:
                return rows * columns**2 * PRODUCT_SECONDS
            return LINEAR_ITERATIONS * rows * columns * outputs * PRODUCT_SECONDS
        rounds = ROUNDS_SHARE * most_rounds(configuration, self.classes)
        if configuration.family == "perceptron":
            units, layers = int(params.get("units", 64)), int(params.get("layers", 1))
            weights = columns * units + units * units * (layers - 1) + units * outputs
            return rounds * (rows * weights * STEP_SECONDS + rows / BATCH_ROWS * BATCH_SECONDS)
        return rounds * trees_a_round(self.classes) * (TREE_SECONDS + rows * columns * CELL_SECONDS)

    def _columns(self, configuration: Configuration) -> int:
        """About as many as the encoder makes."""
        params, smooth = configuration.params, configuration.family in SMOOTH
        means = params.get("categories") in ("target", "crossed")
        each = (MEANS if self.classes > 2 else 1) if means else (LEVELS if smooth else 1)
        return max(1, self.numbers * (RAMPS if params.get("numbers") == "ramps" else 1) + self.categories * each)
