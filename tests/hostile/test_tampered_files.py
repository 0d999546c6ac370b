"""A version's files, changed behind Ringside's back: nobody who reads them takes them for what was registered."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitoring.bout import _intact
from monitoring.drifting.check import DriftCheck
from monitoring.quality.subject import Subjects
from monitoring.shadow import load_scorer
from record.db.tables import model_versions
from record.errors import RingsideError
from record.record import Record, open_record
from record.settings import Settings, load_settings
from retrain.evaluation.examination import read_champion
from retrain.recipe import Origin
from retrain.reproduction import reproduce
from service.champion import Champion, LoadRefused
from service.explain.explainer import explain
from service.explain.explanation import explanation
from service.http.endpoints import _report
from tests.fixtures.unfreezing import thaw_sqlite

FILES = (
    "card.json",
    "estimator.skops",
    "golden.parquet",
    "manifest.json",
    "model.onnx",
    "reference.parquet",
    "report.html",
    "schema.json",
)
CHAMPION = "v2"


def serve(record: Record, settings: Settings) -> None:
    moved = Champion(record.registry).refresh()
    if isinstance(moved, LoadRefused):
        raise RingsideError(moved.reason)


def explain_answer(record: Record, settings: Settings) -> None:
    explanation(record, settings, "repeated-1", explain)


def serve_report(record: Record, settings: Settings) -> None:
    (name,) = (held.report for held in record.reports.recent("model") if held.model_version == CHAMPION)
    assert _report(record, name)


def promote(record: Record, settings: Settings) -> None:
    if not _intact(record, CHAMPION):
        raise RingsideError("not intact")


def shadow(record: Record, settings: Settings) -> None:
    (bout,) = (held for held in record.bouts.all() if held.bout == "b1")  # in which v2 was the challenger
    load_scorer(record, bout)


READERS: dict[str, Callable[[Record, Settings], object]] = {
    "serving": serve,
    "drift": lambda record, settings: DriftCheck(settings, record)._watch(record.registry.version(CHAMPION)),
    "quality": lambda record, settings: Subjects(settings, record).schema(record.registry.version(CHAMPION)),
    "shadow": shadow,
    "promotion": promote,
    "gate": lambda record, settings: read_champion(record),
    "incremental training": lambda record, settings: Origin.read(record, record.registry.version(CHAMPION)),
    "reproduction": lambda record, settings: reproduce(settings, record, CHAMPION),
    "explanation": explain_answer,
    "report": serve_report,
}


def refuses(reader: str, record: Record, settings: Settings) -> bool:
    try:
        READERS[reader](record, settings)
    except RingsideError:
        return True
    return False


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thawed")
    thaw_sqlite("af4652c", folder)
    return folder


@pytest.fixture
def settings(project: Path, tmp_path: Path) -> Settings:
    shutil.copytree(project, tmp_path / "copy")
    return load_settings(tmp_path / "copy" / "ringside.toml")


@pytest.fixture
def record(settings: Settings) -> Iterator[Record]:
    record = open_record(settings)
    yield record
    record.close()


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_takes_whole_files(record: Record, settings: Settings, reader: str) -> None:
    READERS[reader](record, settings)


@pytest.mark.parametrize("file", FILES)
def test_no_reader_takes_a_version_with_a_changed_file(record: Record, settings: Settings, file: str) -> None:
    """Whichever file it is: also one that this reader would not open itself."""
    path = record.registry.directory(CHAMPION) / file
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert [name for name in READERS if not refuses(name, record, settings)] == []


def test_no_reader_takes_a_version_that_was_sealed_anew(record: Record, settings: Settings) -> None:
    """Other files, their manifest and the record's digest of it fit together; the audit trail says another one."""
    directory = record.registry.directory(CHAMPION)
    shutil.rmtree(directory)
    shutil.copytree(record.registry.directory("v3"), directory)
    with record.database.write() as connection:
        digest = record.registry.version("v3").digest
        other = sa.update(model_versions).where(model_versions.c.version == CHAMPION)
        connection.execute(other.values(digest=digest))
    assert [name for name in READERS if not refuses(name, record, settings)] == []


def test_product_code_reads_versions_through_the_registry_alone() -> None:
    """`Registry.directory` names a place; what is read comes from a verified manifest."""
    root = Path(__file__).parents[2]
    rooms = ("record", "service", "retrain", "monitoring", "ringside", "examples")
    places = {
        str(path.relative_to(root))
        for room in rooms
        for path in (root / room).rglob("*.py")
        if "registry.directory(" in path.read_text()
    }
    # Where a report's row gets its path, and where a person is told it.
    assert places == {"retrain/job.py", "ringside/commands.py"}
