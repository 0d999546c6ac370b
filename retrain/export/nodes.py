"""An ONNX graph under construction."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

ML_DOMAIN = "ai.onnx.ml"
OPSETS = {"": 20, ML_DOMAIN: 5}  # 20: StringSplit
IR_VERSION = 10  # what onnxruntime 1.20, the oldest allowed, reads


class Graph:
    """Nodes and constants as they are added; every method returns the name of what it made.

    What is there already is not made twice: members of an ensemble that look at columns alike share the looking.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._made: dict[bytes, str] = {}

    def constant(self, value: npt.ArrayLike, dtype: Any = np.float64) -> str:
        tensor = numpy_helper.from_array(np.asarray(value, dtype=dtype))
        tensor.name = self._name(tensor, f"c{len(self.constants)}")
        if tensor.name == f"c{len(self.constants)}":
            self.constants.append(tensor)
        return tensor.name

    def add(self, operator: str, *inputs: str, domain: str = "", more: int = 0, **attributes: Any) -> str:
        """`more`: how many outputs the operator has beside the first, which nobody asks for."""
        node = helper.make_node(operator, list(inputs), [], domain=domain, **attributes)
        name = self._name(node, f"n{len(self.nodes)}")
        if name == f"n{len(self.nodes)}":
            node.output.extend([name, *(f"{name}_{number}" for number in range(more))])
            self.nodes.append(node)
        return name

    def _name(self, made: onnx.NodeProto | onnx.TensorProto, new: str) -> str:
        """The name of the same that was made before, else the new one."""
        content = made.SerializeToString(deterministic=True)
        return self._made.setdefault(new[:1].encode() + blake2b(content, digest_size=16).digest(), new)

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
