"""How large a model may be: trees of boosting grow with rounds times classes, a forest's leaves with classes.

A version is loaded by every worker at its start and at each swap, and answers while a request waits. So rounds and
leaves are bounded by the number of classes (`python -m benchmarks.many_classes` measures loading and answering).
"""

from __future__ import annotations

from typing import Final

# More rounds than this are never chosen: what they gain over a larger step is small, what they cost is not.
MOST_ROUNDS: Final = 1_000
MOST_TREES: Final = 6_000  # one for each round and class
MOST_LEAVES: Final = 400_000  # of all trees together: 20 MB as ONNX
# 100 trees of 2,000 leaves are 400,000 nodes: 20 MB as ONNX, 0.1 ms for one record.
FOREST_TREES: Final = 100
FOREST_LEAVES: Final = 2_000
MOST_LEAF_VALUES: Final = 4_000_000  # a forest's leaf has a value for each class: 32 MB
FEWEST_FOREST_LEAVES: Final = 16
# With few rounds a small step gets nowhere: the steps of all rounds add up to this at least.
LEAST_WAY: Final = 6.0
LARGEST_STEP: Final = 0.3


def trees_a_round(classes: int) -> int:
    """Boosting grows one tree for a regression and for two classes, else one for each class."""
    return classes if classes > 2 else 1


def most_boosting_rounds(classes: int, leaves: int) -> int:
    """Rounds of trees with so many leaves at most; one in any case."""
    trees = trees_a_round(classes)
    return max(1, min(MOST_ROUNDS, MOST_TREES // trees, MOST_LEAVES // (trees * max(1, leaves))))


def least_step(rounds: int) -> float:
    """The learning rate below which so many rounds would not come far."""
    return min(LARGEST_STEP, float(f"{LEAST_WAY / rounds:.4g}"))


def most_forest_leaves(classes: int) -> int:
    """Leaves of each tree of a forest."""
    values = classes if classes > 2 else 1
    return max(FEWEST_FOREST_LEAVES, min(FOREST_LEAVES, MOST_LEAF_VALUES // (FOREST_TREES * values)))
