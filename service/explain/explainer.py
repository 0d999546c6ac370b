"""What moved one logged answer: the version's own files are loaded, and the model is asked about the record again.

In a child process, so that the worker keeps its memory and its event loop, the interpreter's lock is never held by
work that yields, and a version that is large, slow or broken ends with its child. `python -m service.explain.explainer`
takes a Question as JSON on standard input, and answers as JSON on standard output.
"""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from record.contract.arrays import Arrays
from record.contract.decoder import Decoder
from record.contract.feature_places import FeaturePlaces, feature_places
from record.contract.schema import native_class
from record.errors import NotFound, Overloaded, RingsideError
from record.log_lines import log_line
from record.process import NO_TELEMETRY, begin_process, restart_without_telemetry
from record.versions.artifact import Manifest, verify
from record.versions.model import MODEL_BYTES, ModelMemory, ServedModel
from service.explain.attribution import attribute, background_rows

METHOD = "interventional Shapley values"
# As much as an answer may wait: loading and 40,000 rows take 1 s, on a busy machine some more.
SECONDS = 5.0
START_SECONDS = 4.0  # until the model is loaded: .3 s, on a crowded machine ten times that
# A tenth of what the worker gets of a busy processor. In the worker's own session, so that the explanation gives way
# to predictions, and still comes while a model is being trained in another one.
NICE = 10
# Of an answer: what the log has was said by this very model, to the last digits of its arithmetic.
SAME = 1e-6


@dataclass(frozen=True, slots=True)
class Question:
    """`record` and `said` are JSON as the log has them; `said` is the probabilities, or a regression's value.

    `model_bytes` is what the model may take for tensors in the child process, as in a worker.
    """

    id: str
    version: str
    directory: str
    digest: str
    record: str
    said: str
    seconds: float = SECONDS
    model_bytes: int = MODEL_BYTES


def explain(question: Question) -> dict[str, Any]:
    """What moved the answer, in JSON's types. NotFound where the version's files are not what was registered.

    The base belongs to the version and the orders of features to the id: asked again, the numbers are the same.
    """
    started = time.monotonic()
    directory = Path(question.directory)
    try:
        manifest = verify(directory, question.digest)
        model = ServedModel.read(manifest, question.version)
        features = feature_places(model.schema.problem)
        background = read_background(manifest, model.decoder, features, question.digest)
    except (RingsideError, OSError) as error:
        raise NotFound(
            f"the files of {question.version}, which answered {question.id!r}, are not there as they were registered: "
            f"{error}; what the record says of it is shown with attribution=false",
            field="model_version",
        ) from error
    record = json.loads(question.record)
    row = model.decoder.decode([record])
    answered = model.score(row)
    place = _explained(model, int(model.said(answered)[0]) if answered.probabilities is not None else 0)
    found = attribute(
        lambda arrays: model.score(arrays).raw.reshape(len(arrays), -1)[:, place],
        row,
        background,
        features,
        seed=int.from_bytes(sha256(question.id.encode("utf-8", "surrogatepass")).digest()[:8]),
        late=lambda: time.monotonic() - started > question.seconds,
    )
    named = model.schema.classes[place] if model.schema.classes else None
    moved = sorted(found.contributions, key=lambda name: (-abs(found.contributions[name]), name))
    return {
        "method": METHOD,
        "of": "value" if named is None else "probability",
        "class": None if named is None else native_class(named, model.schema.class_type),
        "base": found.base,
        "prediction": found.prediction,
        "reproduced": _reproduced(question.said, model, answered.raw[0]),
        "contributions": [
            {
                "feature": name,
                "value": record.get(name),
                "contribution": found.contributions[name],
                "error": None if math.isnan(found.errors[name]) else found.errors[name],
            }
            for name in moved
        ],
        "background_rows": found.background,
        "exact": found.exact,
        "complete": found.complete,
    }


def read_background(manifest: Manifest, decoder: Decoder, features: list[FeaturePlaces], digest: str) -> Arrays:
    """A sample of the version's reference.parquet, the same one for every prediction of the version."""
    import pyarrow.parquet as parquet

    # Not by `read_table`: that imports pandas.
    file = parquet.ParquetFile(io.BytesIO(manifest.read("reference.parquet")))
    rows = file.metadata.num_rows
    generator = np.random.default_rng(int(digest[:16], 16))
    chosen = np.sort(generator.permutation(rows)[: background_rows(len(features))])
    names = [feature.name for feature in features]
    blank: dict[str, Any] = {column.name: None for column in decoder.problem.columns}
    records: list[dict[str, Any]] = []
    start = 0
    for batch in file.iter_batches(batch_size=2048, columns=names):
        within = chosen[(chosen >= start) & (chosen < start + len(batch))] - start
        records += [blank | _finite(held) for held in batch.take(within).to_pylist()]
        start += len(batch)
    return decoder.decode(records)


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    """A missing number stands there as NaN, which JSON has not."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in record.items()}


def _explained(model: ServedModel, predicted: int) -> int:
    """Whose probability: the positive class's of two, as the metrics show it; else the predicted one's."""
    classes, positive = model.schema.classes, model.schema.problem.positive_class
    if positive in classes:
        return classes.index(positive)
    return 1 if len(classes) == 2 else predicted


def _reproduced(said: str, model: ServedModel, answered: Any) -> bool:
    """Whether the model says today what the log says that it said."""
    held = json.loads(said)
    logged = [held.get(name, math.nan) for name in model.schema.classes] if isinstance(held, dict) else [held]
    now = np.atleast_1d(answered)
    return bool(np.allclose(now, np.array(logged, dtype=np.float64), rtol=SAME, atol=SAME))


def explain_apart(question: Question) -> dict[str, Any]:
    """The same from a child process. Overloaded where it takes too long, or dies."""
    command = [sys.executable, "-m", "service.explain.explainer"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(asdict(question)).encode(),
            capture_output=True,
            cwd=Path(__file__).parents[2],  # where `service` is found
            env={**os.environ, **NO_TELEMETRY},
            timeout=question.seconds + START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Overloaded("the explanation took too long beside other work; try again in a moment") from None
    try:
        told = json.loads(done.stdout)
    except ValueError:
        log_line(
            "explanation failed", level=40, code=done.returncode, reason=done.stderr.decode(errors="replace")[-500:]
        )
        raise Overloaded("the explanation ended without an answer; the service's log says more") from None
    if "error" in told:
        raise NotFound(told["error"]["message"], field=told["error"]["field"])
    found: dict[str, Any] = told["attribution"]
    return found


def main() -> None:
    """Answers one question, giving way to those that answer predictions."""
    os.nice(NICE)
    question = Question(**json.load(sys.stdin))
    ModelMemory.bound(question.model_bytes)
    try:
        told = {"attribution": explain(question)}
    except NotFound as error:
        told = {"error": {"message": error.message, "field": error.field}}
    json.dump(told, sys.stdout, allow_nan=False)


if __name__ == "__main__":
    restart_without_telemetry()
    begin_process()
    main()
