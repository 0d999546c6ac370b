"""scikit-learn's trees as flat arrays, the shape of ONNX's TreeEnsemble: inner nodes, leaves, and one root per tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree: node i is a leaf where `left[i]` is −1, else x[feature] <= threshold goes left."""

    left: Ints
    right: Ints
    features: Ints
    thresholds: Floats
    missing_left: Flags
    values: Floats  # [nodes, values of a leaf]


@dataclass(frozen=True, slots=True)
class Forest:
    """All trees: children are numbers of inner nodes, or of leaves where the flag beside says so."""

    roots: Ints
    features: Ints
    thresholds: Floats
    missing_left: Ints
    left: Ints
    right: Ints
    left_is_leaf: Ints
    right_is_leaf: Ints
    leaf_targets: Ints
    leaf_values: Floats  # [leaves, values of a leaf]
    targets: int


def boosted(model: Any) -> Forest:
    """The trees of a histogram gradient boosting; tree j of an iteration adds to raw score j."""
    trees: list[Tree] = []
    targets: list[int] = []
    for iteration in model._predictors:
        for target, predictor in enumerate(iteration):
            trees.append(_of_predictor(predictor.nodes))
            targets.append(target)
    return _joined(trees, targets, max(targets) + 1)


def grown(model: Any) -> Forest:
    """The trees of a random forest, each leaf's values divided by the number of trees.

    One value for a regression and for the second of two classes, which add up to one score. For more classes each
    leaf has a value per class, and each tree is a target of its own.
    """
    count = len(model.estimators_)
    trees = [_of_tree(member.tree_, count) for member in model.estimators_]
    if trees[0].values.shape[1] == 1:
        return _joined(trees, [0] * count, 1)
    return _joined(trees, list(range(count)), count)


def _of_predictor(nodes: npt.NDArray[Any]) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        features=nodes["feature_idx"].astype(np.int64),
        thresholds=nodes["num_threshold"].astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        values=nodes["value"].astype(np.float64)[:, None],
    )


def _of_tree(tree: Any, count: int) -> Tree:
    values = tree.value[:, 0, :] / count
    return Tree(
        left=tree.children_left.astype(np.int64),
        right=tree.children_right.astype(np.int64),
        features=tree.feature.astype(np.int64),
        thresholds=tree.threshold.astype(np.float64),
        missing_left=tree.missing_go_to_left.astype(bool),
        values=values[:, 1:] if values.shape[1] == 2 else values,
    )


def _joined(trees: list[Tree], targets: list[int], count: int) -> Forest:
    parts = [_with_root(tree) for tree in trees]
    inner = [part.left >= 0 for part in parts]
    nodes = np.concatenate([[0], np.cumsum([flags.sum() for flags in inner])])
    leaves = np.concatenate([[0], np.cumsum([(~flags).sum() for flags in inner])])
    columns: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in ("l", "r", "ll", "rl", "f", "t", "m", "v", "o")}
    for number, (part, flags) in enumerate(zip(parts, inner, strict=True)):
        place = np.where(flags, np.cumsum(flags) - 1 + nodes[number], np.cumsum(~flags) - 1 + leaves[number])
        for side, child in (("l", part.left[flags]), ("r", part.right[flags])):
            columns[side].append(place[child])
            columns[side + "l"].append(~flags[child])
        columns["f"].append(part.features[flags])
        columns["t"].append(part.thresholds[flags])
        columns["m"].append(part.missing_left[flags])
        columns["v"].append(part.values[~flags])
        columns["o"].append(np.full((~flags).sum(), targets[number]))
    flat = {name: np.concatenate(held) for name, held in columns.items()}
    whole = {name: flat[name].astype(np.int64) for name in ("l", "r", "ll", "rl", "f", "m", "o")}
    return Forest(
        roots=nodes[:-1].astype(np.int64),
        features=whole["f"],
        thresholds=flat["t"],
        missing_left=whole["m"],
        left=whole["l"],
        right=whole["r"],
        left_is_leaf=whole["ll"],
        right_is_leaf=whole["rl"],
        leaf_targets=whole["o"],
        leaf_values=flat["v"],
        targets=count,
    )


def _with_root(tree: Tree) -> Tree:
    """A tree that never split gets a root whose both sides are that leaf: TreeEnsemble's roots are inner nodes."""
    if len(tree.left) > 1:
        return tree
    return Tree(
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        features=np.zeros(3, dtype=np.int64),
        thresholds=np.zeros(3),
        missing_left=np.zeros(3, dtype=bool),
        values=np.repeat(tree.values, 3, axis=0),
    )
