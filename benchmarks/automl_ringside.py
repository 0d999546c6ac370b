"""Ringside as one would use it for the first time: `ringside init`, `ringside train`, and the packaged model's answers.

Run as `python -m benchmarks.automl_ringside FOLDER`, with a job's files in it as `benchmarks.peers.automl.job` has
them. The time is that of both commands. A prediction of a single row is from a record, as JSON gives it, through the
decode step and model.onnx to probabilities; neither HTTP nor the log are in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from record.versions.model import ServedModel

    Floats = npt.NDArray[np.float64]


def main() -> None:
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text())
    began = time.monotonic()
    made = train(folder, job, folder / "train.parquet")
    seconds = time.monotonic() - began
    if made["version"] is not None:
        answer(folder, job, made, seconds)
    elif any(check["name"] == "dummy" and not check["passed"] for check in _checks(made)):
        answer_always_the_same(folder, job, seconds)
    else:
        raise SystemExit(f"no version was made: {json.dumps(made['outcome'])[:250]}")


def train(folder: Path, job: dict[str, Any], source: Path) -> dict[str, Any]:
    """What `ringside train` says of the run, in a project that is set up where there is none."""
    ringside = str(Path(sys.executable).with_name("ringside"))
    config = folder / "ringside.toml"
    task = "regression" if job["kind"] == "regression" else "classification"
    given = {
        "RINGSIDE_CONFIG": str(config),
        "RINGSIDE_PROBLEM__TASK": task,
        "RINGSIDE_DATA__SOURCE": str(source),
        "RINGSIDE_RETRAIN__BUDGET": f"{job['budget_seconds']}s",
    }
    # A leak would stop the run, where the other systems make use of it: here it is only told.
    given |= {f"RINGSIDE_GUARDS__{guard}": "warning" for guard in ("LEAKAGE", "DUPLICATES", "TARGET_DRIFT")}
    if not config.exists():
        init = [ringside, "init", str(source), "--target", job["target"], "--output", str(config)]
        subprocess.run(init, check=True, env=os.environ | given, stdout=subprocess.DEVNULL)
    said = subprocess.run([ringside, "train", "--json"], env=os.environ | given, stdout=subprocess.PIPE, text=True)
    if not said.stdout.strip():
        raise SystemExit(f"ringside train said nothing, and ended with {said.returncode}")
    held: dict[str, Any] = json.loads(said.stdout.strip().splitlines()[-1])
    return held


def _checks(made: dict[str, Any]) -> list[dict[str, Any]]:
    checks: list[dict[str, Any]] = (made["outcome"] or {}).get("gate", {}).get("checks", [])
    return checks


def answer_always_the_same(folder: Path, job: dict[str, Any], seconds: float) -> None:
    """Where the gate found nothing better than that, that is what one is left with."""
    import numpy as np
    import pandas as pd

    from benchmarks.peers.automl.job import single_row_ms, write_answer

    target = pd.read_parquet(folder / "train.parquet", columns=[job["target"]])[job["target"]]
    rows = len(pd.read_parquet(folder / "test.parquet"))
    if job["classes"]:
        shares = target.astype(str).value_counts(normalize=True).reindex(job["classes"], fill_value=0.0).to_numpy()
        np.save(folder / "predictions.npy", np.tile(shares, (rows, 1)))
    else:
        np.save(folder / "predictions.npy", np.full(rows, target.mean()))
    write_answer(
        folder, seconds, single_row_ms(lambda _: None, list(range(rows))[:1000]), refused="no better than that"
    )


def answer(folder: Path, job: dict[str, Any], made: dict[str, Any], seconds: float) -> None:
    # Not before the training is over: the memory of both is counted together.
    import numpy as np
    import pandas as pd

    from benchmarks.peers.automl.job import single_row_ms, write_answer

    model, card = served(folder, made["version"])
    target = pd.read_parquet(folder / "train.parquet", columns=[job["target"]])[job["target"]]
    # JSON, as applications send it, has no infinity.
    rows = pd.read_parquet(folder / "test.parquet").replace([np.inf, -np.inf], np.nan)
    records = model.decoder.frame_records(rows)
    np.save(folder / "predictions.npy", predict(model, records, target, job["classes"]))
    detail = {
        name: card[name] for name in ("family", "params", "members", "ensemble", "search_seconds") if name in card
    }
    detail["trials"] = len(card["trials"])
    detail["held_out"] = {name: round(held["value"], 6) for name, held in card["metrics"].items()}
    row_ms = single_row_ms(lambda one: model.score(model.decoder.decode([one])), records[:1000])
    write_answer(folder, seconds, row_ms, **detail)


def served(folder: Path, name: str) -> tuple[ServedModel, dict[str, Any]]:
    """A version of the project, loaded as a serving worker loads it, and its card."""
    from record.record import open_record
    from record.settings import load_settings
    from record.versions.model import ServedModel

    record = open_record(load_settings(folder / "ringside.toml"))
    version = record.registry.version(name)
    model = ServedModel.load(record.registry.directory(name), name, version.digest)
    record.close()
    return model, dict(version.card)


def predict(model: ServedModel, records: list[dict[str, Any]], target: pd.Series[Any], classes: list[str]) -> Floats:
    """Values [n], or probabilities in the order of `classes`; `target` tells how the model names them."""
    import numpy as np

    from retrain.data.target import read_classes

    scores = model.score(model.decoder.decode(records))
    if scores.values is not None:
        return scores.values
    assert scores.probabilities is not None
    read = read_classes(target.tolist())
    named = dict(zip((read.classes[code] for code in read.values), target.astype(str), strict=True))
    held = np.zeros((len(records), len(classes)))
    for place, name in enumerate(model.schema.classes):
        held[:, classes.index(named[name])] = scores.probabilities[:, place]
    return held


if __name__ == "__main__":
    main()
