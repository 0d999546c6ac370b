"""A model version in memory: its schema, its decoder and its ONNX session, verified and checked before it answers."""

from __future__ import annotations

import io
import json
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from record.contract.arrays import Arrays
from record.contract.decoder import Decoder
from record.contract.operating_point import OperatingPoint, said_classes
from record.contract.schema import Schema
from record.errors import ArtifactError, NoChampion
from record.process import silence_telemetry
from record.versions.artifact import Manifest, verify
from record.versions.load_deadline import LOAD_SECONDS, run_before

silence_telemetry()  # onnxruntime reads its variable while it is imported: afterwards is too late

import onnxruntime  # noqa: E402 - see above

GOLDEN_TOLERANCE: Final = 1e-5  # of a probability; for a regression, of the target's standard deviation
MODEL_BYTES: Final = 2_000_000_000  # a batch of the largest size takes some hundred megabytes
_FOLDED_BYTES: Final = "1000000"  # what the optimizer works out when a session is made is not taken from the bound
_ERROR_SEVERITY: Final = 3  # onnxruntime's, so that its warnings about our graphs stay out of the log


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says about n rows: either probabilities or values, never both."""

    probabilities: npt.NDArray[np.float64] | None  # [n, classes], in the order of the schema's classes
    values: npt.NDArray[np.float64] | None  # [n]

    def __len__(self) -> int:
        return len(self.raw)

    @property
    def raw(self) -> npt.NDArray[np.float64]:
        held = self.values if self.probabilities is None else self.probabilities
        assert held is not None
        return held

    def finite(self) -> npt.NDArray[np.bool_]:
        """For each row whether it can be answered with."""
        sound = np.isfinite(self.raw.reshape(len(self), -1))
        return np.asarray(sound.all(axis=1), dtype=np.bool_)


class ModelMemory:
    """The bound on what the models of this process take for tensors, together, in loading and in answering."""

    _bounded: ClassVar[bool] = False

    @classmethod
    def bound(cls, most_bytes: int) -> None:
        """Hold the sessions that are made from now on to so many bytes; those that are there keep what they have.

        A few bytes of a file can ask for any number: a shape, a repetition, a loop. Beyond the bound an allocation
        fails, and with it the load or the run.
        """
        place = onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        )
        onnxruntime.create_and_register_allocator(place, onnxruntime.OrtArenaCfg(most_bytes, -1, -1, -1))
        cls._bounded = True

    @classmethod
    def apply(cls, options: onnxruntime.SessionOptions) -> None:
        """Hold the session of these options to the bound, where there is one."""
        if cls._bounded:
            options.add_session_config_entry("session.use_env_allocators", "1")
            options.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", _FOLDED_BYTES)


class LoadOptions:
    """The options of a session that is made, and of the runs that check it: both can be told to stop."""

    def __init__(self) -> None:
        self.session = onnxruntime.SessionOptions()
        self.run = onnxruntime.RunOptions()

    def stop(self) -> None:
        """Ends a run at its next node, within a loop too. For other threads."""
        self.run.terminate = True
        with suppress(Exception):  # a session that is made already no longer listens
            self.session.set_load_cancellation_flag(True)


class OnnxScorer:
    """An ONNX model in memory, on one thread. Safe to share between threads.

    Inputs `numbers` float32[N, k] and `categories` string[N, m], either absent where it is empty; output
    `probabilities` [N, classes] or `value` [N, 1]. Raises ArtifactError for a model of another shape.
    """

    def __init__(self, model: bytes, options: onnxruntime.SessionOptions | None = None) -> None:
        options = options or onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # one request, one core: workers are the parallelism
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERROR_SEVERITY
        ModelMemory.apply(options)
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ArtifactError(f"model.onnx: onnxruntime cannot load it: {error}", field="model.onnx") from error
        inputs = {node.name for node in self._session.get_inputs()}
        outputs = {node.name for node in self._session.get_outputs()}
        if not inputs <= {"numbers", "categories"} or not inputs:
            raise ArtifactError(f"model.onnx: inputs {sorted(inputs)}; expected numbers, categories or both")
        if len(outputs & {"probabilities", "value"}) != 1:
            raise ArtifactError(f"model.onnx: outputs {sorted(outputs)}; expected probabilities or value")
        self._numbers = "numbers" in inputs
        self._categories = "categories" in inputs
        self.classifies = "probabilities" in outputs
        self._wanted = ["probabilities" if self.classifies else "value"]

    def score(self, arrays: Arrays, run_options: onnxruntime.RunOptions | None = None) -> Scores:
        feed: dict[str, Any] = {}
        if self._numbers:
            feed["numbers"] = arrays.numbers
        if self._categories:
            feed["categories"] = arrays.categories
        out = np.asarray(self._session.run(self._wanted, feed, run_options)[0], dtype=np.float64)
        return Scores(out, None) if self.classifies else Scores(None, out.reshape(len(arrays)))


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """One loaded version: all that an answer needs."""

    version: str
    digest: str
    schema: Schema
    decoder: Decoder
    scorer: OnnxScorer
    point: OperatingPoint | None = None  # None: the most probable class is answered

    @classmethod
    def load(cls, directory: Path, version: str, digest: str) -> ServedModel:
        """The version in a directory that holds exactly what `digest` says; else ArtifactError, as with `read`."""
        return cls.read(verify(directory, digest), version)

    @classmethod
    def read(
        cls,
        files: Manifest,
        version: str,
        *,
        longest_text: int | None = None,
        deadline_seconds: float = LOAD_SECONDS,
    ) -> ServedModel:
        """The version, ready to answer; ArtifactError where its files do not work.

        `longest_text` bounds what its decoder takes, and `deadline_seconds` how long its files may take.
        """
        options = LoadOptions()
        try:
            return run_before(
                deadline_seconds, lambda: cls._read(files, version, files.digest, longest_text, options), options.stop
            )
        except ArtifactError:
            raise
        except Exception as error:
            raise ArtifactError(f"{version}: its files cannot be read: {error!r}") from error

    @classmethod
    def _read(
        cls, files: Manifest, version: str, digest: str, longest_text: int | None, options: LoadOptions
    ) -> ServedModel:
        try:
            schema = Schema.from_json(files.read("schema.json"))
        except ValueError as error:
            raise ArtifactError(f"schema.json: {error}", field="schema.json") from error
        card = json.loads(files.read("card.json"))
        try:
            point = OperatingPoint.read(schema, card)
        except ValueError as error:
            raise ArtifactError(f"card.json: {error}", field="card.json") from error
        scorer = OnnxScorer(files.read("model.onnx"), options.session)
        model = cls(version, digest, schema, Decoder(schema, longest_text), scorer, point)
        if model.scorer.classifies != (schema.problem.task == "classification"):
            raise ArtifactError(f"model.onnx: its output does not fit the schema's task {schema.problem.task!r}")
        scale = 1.0
        if not model.scorer.classifies:
            scale = float(card.get("target_sd") or 1.0)
        check_golden(model, files.read("golden.parquet"), GOLDEN_TOLERANCE * scale, options.run)
        return model

    def said(self, scores: Scores) -> npt.NDArray[np.intp]:
        """For each row the place of the class that this version answers."""
        assert scores.probabilities is not None
        return said_classes(scores.probabilities, self.point)

    def score(self, arrays: Arrays, first: int = 0) -> Scores:
        """Raises NoChampion, naming the row, rather than give an answer that is not finite.

        `first` is the place of the first row in the request.
        """
        try:
            scores = self.scorer.score(arrays)
        except Exception as error:
            raise NoChampion(f"the champion {self.version} failed: {error}; nothing was answered or logged") from error
        # A sum of probabilities is finite where they all are; quicker than NumPy's own check for a single row.
        if not math.isfinite(np.add.reduce(scores.raw, axis=None)):
            row = first + int(np.flatnonzero(~scores.finite())[0])
            raise NoChampion(
                f"records[{row}]: the champion {self.version} gave no finite answer; nothing was answered or logged",
                field=f"records[{row}]",
            )
        return scores


def check_golden(
    model: ServedModel, golden: bytes, tolerance: float, run_options: onnxruntime.RunOptions | None = None
) -> None:
    """Raises ArtifactError where the model does not give the predictions that were packaged with it.

    So a changed runtime, processor or decode step shows before a version answers.
    """
    import pyarrow.parquet as parquet  # .1 s, needed at loading only

    try:
        # Not by `read_table`: that imports pandas for its data sets, 50 MB in every worker.
        table = parquet.ParquetFile(io.BytesIO(golden)).read(["record", "expected"]).to_pydict()
        records = [json.loads(text) for text in table["record"]]
        expected = np.array([json.loads(text) for text in table["expected"]], dtype=np.float64)
        # Training may have had longer texts than requests may have.
        got = model.scorer.score(Decoder(model.schema).decode(records), run_options).raw
    except Exception as error:
        raise ArtifactError(f"golden.parquet: cannot be answered: {error}", field="golden.parquet") from error
    if got.shape != expected.shape and got.size != expected.size:
        raise ArtifactError(f"golden.parquet: {expected.shape} answers expected, {got.shape} given")
    difference = np.abs(got - expected.reshape(got.shape))
    if len(records) == 0 or not bool((difference <= tolerance).all()):
        worst = float(np.nanmax(difference)) if difference.size else float("nan")
        raise ArtifactError(
            f"golden.parquet: {len(records)} known answers, the largest difference is {worst:g}; "
            f"expected at most {tolerance:g}",
            field="golden.parquet",
        )
