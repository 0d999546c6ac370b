"""Running sums by block: the same to the last bit in whatever parts rows arrive, and never more than 64 blocks."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from record.block_sums import MOST_BLOCKS, BlockSums, fixed


def summed(keys: np.ndarray, values: np.ndarray, cuts: list[int]) -> BlockSums:
    sums = BlockSums(4)
    for part in np.split(np.arange(len(keys)), sorted(cuts)):
        sums.add(keys[part], fixed(values[part]), fixed(values[part] ** 2))
    return sums


@given(st.lists(st.floats(-1, 1), max_size=700), st.lists(st.integers(0, 700), max_size=5))
def test_the_parts_do_not_matter(values: list[float], cuts: list[int]) -> None:
    keys, numbers = np.arange(len(values)) * 3, np.array(values)
    whole, parts = summed(keys, numbers, []), summed(keys, numbers, cuts)
    assert whole.to_json() == parts.to_json()
    assert len(whole.sums) <= MOST_BLOCKS
    assert BlockSums.from_json(json.loads(json.dumps(whole.to_json()))).to_json() == whole.to_json()


def test_beyond_64_blocks_neighbours_are_joined_and_nothing_is_lost() -> None:
    values = np.random.default_rng(1).uniform(-1, 1, 4 * 65)
    sums = summed(np.arange(len(values)), values, [])
    blocks = sums.blocks()
    assert (sums.length, len(blocks)) == (8, 33)
    assert blocks.rows.sum() == len(values)
    assert abs(blocks.totals.sum() - values.sum()) < 1e-6
