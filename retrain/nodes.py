"""An ONNX graph under construction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

ML_DOMAIN = "ai.onnx.ml"
OPSETS = {"": 18, ML_DOMAIN: 5}
IR_VERSION = 10  # what onnxruntime 1.20, the oldest allowed, reads


class Graph:
    """Nodes and constants as they are added; every method returns the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: npt.ArrayLike, dtype: Any = np.float64) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def model(self, inputs: Mapping[str, tuple[int, int]], source: str, output: str, width: int) -> onnx.ModelProto:
        """The finished model: `source` is given out under the name `output`."""
        self.nodes.append(helper.make_node("Identity", [source], [output]))
        held = helper.make_graph(
            self.nodes,
            "ringside",
            [helper.make_tensor_value_info(name, kind, [None, columns]) for name, (kind, columns) in inputs.items()],
            [helper.make_tensor_value_info(output, TensorProto.DOUBLE, [None, width])],
            self.constants,
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        return helper.make_model(held, opset_imports=opsets, ir_version=IR_VERSION, producer_name="ringside")
