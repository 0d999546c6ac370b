"""Whether a version can be made again from its card: the same rows, the same libraries, the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from record.contract.schema import Schema
from record.errors import DataError
from record.record import Record
from record.settings import Settings
from record.versions.model_version import ModelVersion
from retrain.data.lineage import library_versions
from retrain.data.rows import read_rows
from retrain.export.graph import to_onnx
from retrain.recipe import Origin, Recipe, champions_configuration


@dataclass(frozen=True, slots=True)
class Reproduction:
    """`same`: nothing differs, the model file least of all. `made` is None where there was nothing to make it from."""

    version: str
    same: bool
    model_onnx: str  # sha256 of the registered file
    made: str | None
    differs: tuple[str, ...]


def reproduce(settings: Settings, record: Record, version: str) -> Reproduction:
    """Fits the version anew from its card's recipe on the rows of its lineage. Nothing is written.

    Raises UnknownVersion, and ArtifactError where the version's files are not what was registered.
    """
    known = record.registry.version(version)
    manifest = record.registry.open(version)
    digest = manifest.files.get("model.onnx", "")
    lineage = known.card.get("lineage", {})
    configuration = champions_configuration(known.card)
    if configuration is None or "rows" not in lineage:
        return Reproduction(version, False, digest, None, ("card: it does not say how the version was made",))
    differs = _libraries(lineage["libraries"])
    schema = Schema.from_json(manifest.read("schema.json").decode())
    # One thread, as in the run: sums in one order.
    with threadpool_limits(limits=1):
        try:
            data = read_rows(_as_then(settings, lineage), record, schema.problem, record.runs.as_of(known.run_id))
        except DataError as error:
            return Reproduction(version, False, digest, None, (*differs, f"data: {error.message}"))
        found = data.fingerprint()
        if found != lineage["data_fingerprint"]:
            numbers = (
                f"fingerprint {found} of {len(data)} rows, {lineage['data_fingerprint']} of {known.card['rows']} then"
            )
            return Reproduction(version, False, digest, None, (*differs, f"data: {numbers}"))
        recipe = Recipe(configuration, lineage["seed"], _origin(record, known))
        pipeline = recipe.make(data)
        model = to_onnx(pipeline, len(schema.number_names), len(schema.category_names), data.classes)
    made = hashlib.sha256(model).hexdigest()
    if made != digest:
        differs = (*differs, f"model.onnx: sha256 {made}, {digest} then")
    return Reproduction(version, not differs, digest, made, differs)


def _libraries(then: Mapping[str, str]) -> tuple[str, ...]:
    now = library_versions()
    names = sorted(set(then) | set(now))
    return tuple(
        f"library {name}: {now.get(name, 'absent')}, {then.get(name, 'absent')} then"
        for name in names
        if now.get(name) != then.get(name)
    )


def _as_then(settings: Settings, lineage: Mapping[str, Any]) -> Settings:
    """Today's settings, with the seed and the choice of rows that the card says."""
    held = {**settings.retrain.model_dump(mode="json"), **lineage["rows"], "seed": lineage["seed"]}
    return settings.model_copy(update={"retrain": type(settings.retrain).model_validate(held)})


def _origin(record: Record, version: ModelVersion) -> Origin | None:
    if version.card["mode"]["mode"] != "incremental" or version.parent is None:
        return None
    return Origin.read(record, record.registry.version(version.parent))
