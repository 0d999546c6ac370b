"""The serving benchmark's one problem and one model: histogram gradient boosting, 150 trees, on flights.

Three string and twelve numeric columns with missing values. Peers get a scikit-learn pipeline, Ringside and the floor
the ONNX of the same hyperparameters on the same rows.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from examples.flights.dataset import LATE, TARGET, package_folder, read_flights

CATEGORIES = ["carrier", "origin", "destination"]
NUMBERS = [
    "departure_minute",
    "arrival_minute",
    "distance",
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "precip",
    "pressure",
    "visib",
    "plane_seats",
]
FEATURES = [*NUMBERS, *CATEGORIES]
TREES = 150
ROWS = 30_000


def flights() -> pd.DataFrame:
    """ROWS flights of the year in time order, with the target; strings are None where missing."""
    frame = read_flights(package_folder(), every=10)
    frame = frame[frame[TARGET].notna()].head(ROWS)
    return frame[[*FEATURES, TARGET]].reset_index(drop=True)


def save_pipeline(frame: pd.DataFrame, path: Path) -> None:
    """The scikit-learn pipeline that the peers serve, as they would have it: joblib."""
    import joblib
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    pipeline = Pipeline(
        [
            ("encode", ColumnTransformer([("categories", encoder, CATEGORIES), ("numbers", "passthrough", NUMBERS)])),
            ("model", HistGradientBoostingClassifier(max_iter=TREES, early_stopping=False, random_state=0)),
        ]
    )
    pipeline.fit(frame[FEATURES], (frame[TARGET] == LATE).astype(int))
    joblib.dump(pipeline, path)


def records(frame: pd.DataFrame, count: int) -> list[dict[str, float | str | None]]:
    """`count` rows as JSON records, missing values as null."""
    rows = frame[FEATURES].sample(count, random_state=0).astype(object)
    return json.loads(rows.where(rows.notna(), None).to_json(orient="records"))  # type: ignore[no-any-return]


def write_toml(folder: Path, frame: pd.DataFrame) -> Path:
    """Ringside's settings for the problem; the rows are its data source."""
    frame.to_parquet(folder / "flights.parquet", index=False)
    columns = "\n".join(
        f'[columns.{name}]\nrole = "feature"\ntype = "{"category" if name in CATEGORIES else "number"}"'
        for name in FEATURES
    )
    path = folder / "ringside.toml"
    path.write_text(
        f'[problem]\nname = "flights"\ntask = "classification"\ntarget = "{TARGET}"\npositive_class = "{LATE}"\n'
        f'[data]\nsource = "flights.parquet"\n{columns}\n'
    )
    return path


def rows_per_request(rows: list[dict[str, float | str | None]], size: int) -> list[str]:
    """Bodies of `size` records each."""
    taken = [rows[start : start + size] for start in np.arange(0, len(rows) - size + 1, size)]
    return [json.dumps({"records": part}) for part in taken]
