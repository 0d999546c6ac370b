"""Trees of scikit-learn and LightGBM as ONNX's TreeEnsemble has them: inner nodes, leaves, one root per tree."""

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


def written(text: str) -> Forest:
    """The trees of a model as LightGBM writes it down; tree j of an iteration adds to raw score j.

    Where a column had no gaps while the trees were grown, LightGBM takes a gap for 0.
    """
    head, *blocks = text.split("\nTree=")
    per_iteration = int(_line(head, "num_tree_per_iteration"))
    trees = [_of_block(block) for block in blocks]
    return _joined(trees, [number % per_iteration for number in range(len(trees))], per_iteration)


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


def _of_block(block: str) -> Tree:
    """Inner nodes come first, then the leaves, whose numbers LightGBM writes as −1, −2, …"""
    leaves = np.array(_line(block, "leaf_value").split(), dtype=np.float64)
    inner = len(leaves) - 1
    if inner == 0:
        nothing = np.zeros(1, dtype=np.int64)
        return Tree(nothing - 1, nothing - 1, nothing, np.zeros(1), nothing.astype(bool), leaves[:, None])
    left, right, features, kinds = (
        np.array(_line(block, name).split(), dtype=np.int64)
        for name in ("left_child", "right_child", "split_feature", "decision_type")
    )
    thresholds = np.array(_line(block, "threshold").split(), dtype=np.float64)
    none = np.full(len(leaves), -1)
    # Bit 1: gaps go left; bits 2 and 3: what counts as a gap, 2 being NaN.
    missing_left = np.where((kinds >> 2) & 3 == 2, (kinds & 2) > 0, thresholds >= 0.0)
    return Tree(
        left=np.concatenate([np.where(left >= 0, left, inner + ~left), none]),
        right=np.concatenate([np.where(right >= 0, right, inner + ~right), none]),
        features=np.concatenate([features, np.zeros_like(none)]),
        thresholds=np.concatenate([thresholds, np.zeros(len(leaves))]),
        missing_left=np.concatenate([missing_left, np.zeros(len(leaves), dtype=bool)]),
        values=np.concatenate([np.zeros(inner), leaves])[:, None],
    )


def _line(block: str, name: str) -> str:
    start = block.index(f"\n{name}=") + len(name) + 2
    return block[start : block.index("\n", start)]


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
