"""Cost of a model of many classes: its run, its size, loading it, and one row.

    python -m benchmarks.many_classes              300 classes of seven rows, a budget of 8 s (about a minute)

Trains with every family through the product's own job, then loads the version as a worker does and answers single rows.
Then each family's largest model of 300 classes is loaded alone. Replaces its section of benchmarks/RESULTS.md with
--write. Exit code 1 where a bound is broken: loading takes over 2 s, or a row over 1 ms.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.results import replace_section, table
from record.configuration.inspection import inspect
from record.configuration.template import render_toml
from record.contract.arrays import Arrays
from record.record import open_record
from record.settings import load_settings
from record.versions.model import OnnxScorer, ServedModel
from retrain.export.graph import to_onnx
from retrain.job import run
from retrain.models.configuration import Configuration, Family
from retrain.models.pipeline import build, fit

RESULTS = Path(__file__).parent / "RESULTS.md"
CLASSES = 300
ROWS_PER_CLASS = 7
MOST_LOAD_SECONDS = 2.0
MOST_ROW_MS = 1.0
ANSWERS = 200
LARGEST: dict[Family, dict[str, float | int | str]] = {
    "lightgbm": {"max_iter": 1_000, "learning_rate": 0.3, "max_leaf_nodes": 128, "min_samples_leaf": 2},
    "gradient_boosting": {"max_iter": 1_000, "learning_rate": 0.3, "max_leaf_nodes": 64, "min_samples_leaf": 2},
    "extra_trees": {"min_samples_leaf": 1, "max_features": 1.0},
    "random_forest": {"min_samples_leaf": 1, "max_features": 1.0},
    "perceptron": {"units": 128, "layers": 3},
    "linear": {"numbers": "ramps"},
}


def make_rows(seed: int = 0) -> pd.DataFrame:
    """A number that tells the class but for its neighbours, and columns of noise."""
    generator = np.random.default_rng(seed)
    codes = np.repeat(np.arange(CLASSES), ROWS_PER_CLASS)
    generator.shuffle(codes)
    return pd.DataFrame(
        {
            "a": codes + generator.normal(0.0, 0.2, len(codes)),
            "b": generator.normal(size=len(codes)),
            "c": generator.choice(list("xyz"), len(codes)),
            "y": [f"c{code:03d}" for code in codes],
        }
    )


def measure(load: Callable[[], Callable[[], object]]) -> tuple[float, float]:
    """Seconds that loading takes, and milliseconds that a row takes: of the processor, so that no neighbour counts."""
    began = time.process_time()
    answer = load()
    loading = time.process_time() - began
    answer()
    began = time.process_time()
    for _ in range(ANSWERS):
        answer()
    return loading, 1e3 * (time.process_time() - began) / ANSWERS


def train(folder: Path, budget: str) -> list[str]:
    """One run through the job, and the version loaded as a worker loads it: a row of the table."""
    make_rows().to_csv(folder / "rows.csv", index=False)
    text = render_toml(inspect(folder / "rows.csv", "y"), "rows.csv")
    text = text.replace('# budget = "10m"', f'budget = "{budget}"')
    (folder / "ringside.toml").write_text(text, encoding="utf-8")
    settings = load_settings(folder / "ringside.toml")
    with closing(open_record(settings)) as record:
        held = record.runs.request("command", "benchmark", "many classes")
        record.runs.start(held.run_id, record.clock.now())
        wall, processor = time.perf_counter(), time.process_time()
        result = run(settings, record, held.run_id, fence=None, progress=lambda _: None)
        seconds, own = time.perf_counter() - wall, time.process_time() - processor
        if result.version is None:
            raise SystemExit("the gate refused the model; no figures")
        version = record.registry.version(result.version)
        directory = record.registry.directory(result.version)
        row = {"a": 17.0, "b": 0.0, "c": "x"}

        def load() -> Callable[[], object]:
            model = ServedModel.load(directory, version.version, version.digest)
            return lambda: model.score(model.decoder.decode([row]))

        loading, answering = measure(load)
        size = (directory / "model.onnx").stat().st_size / 1e6
        name = f"run of {budget} ({version.card['family']}): {seconds:.1f} s, {own:.1f} s of processor"
    return [name, f"{size:.1f}", f"{loading:.2f}", f"{answering:.3f}"]


def largest(family: Family) -> list[str]:
    """The family's largest model of so many classes, alone: a row of the table."""
    frame = make_rows()
    numbers = frame[["a", "b"]].to_numpy(np.float32)
    rows = Arrays(numbers, frame[["c"]].to_numpy(object))
    codes = np.unique(frame["y"], return_inverse=True)[1].astype(np.int64)
    pipeline = fit(build(Configuration(family, LARGEST[family]), "classification", 0), rows, codes)
    content = to_onnx(pipeline, 2, 1, CLASSES)
    one = rows.rows(0, 1)

    def load() -> Callable[[], object]:
        scorer = OnnxScorer(content)
        return lambda: scorer.score(one)

    loading, answering = measure(load)
    return [f"largest {family}", f"{len(content) / 1e6:.1f}", f"{loading:.2f}", f"{answering:.3f}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="8s")
    parser.add_argument("--write", action="store_true", help="replace the section of benchmarks/RESULTS.md")
    arguments = parser.parse_args()
    with threadpool_limits(limits=1), tempfile.TemporaryDirectory() as folder:
        rows = [train(Path(folder), arguments.budget), *(largest(family) for family in LARGEST)]
    shown = table(["model of 300 classes", "MB", "load, s", "row, ms"], rows)
    print(shown)
    if arguments.write:
        head = (
            f"## Many classes\n\n`python -m benchmarks.many_classes`: {CLASSES} classes of {ROWS_PER_CLASS} rows, "
            f"processor time of one thread. Bounds: loading {MOST_LOAD_SECONDS:g} s, a row {MOST_ROW_MS:g} ms.\n\n"
        )
        replace_section(RESULTS, "many classes", head + shown)
    broken = [row for row in rows if float(row[2]) > MOST_LOAD_SECONDS or float(row[3]) > MOST_ROW_MS]
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
