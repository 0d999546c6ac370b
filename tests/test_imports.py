"""The rooms' arrows, by file, the vendors' doors and the declared dependencies, read from the imports themselves."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
ROOMS = ("record", "service", "retrain", "monitoring", "ringside")
# Whom a room may import: ringside → monitoring → retrain → record, and service → record.
ALLOWED = {
    "record": {"record"},
    "service": {"service", "record"},
    "retrain": {"retrain", "record"},
    "monitoring": {"monitoring", "retrain", "record"},
    "ringside": {*ROOMS, "examples"},
}
# The extras that are installed where a room's files are imported. What the service reaches has none, in any room.
EXTRAS = {
    "record": ("retrain",),
    "service": (),
    "retrain": ("retrain",),
    "monitoring": ("retrain", "watch"),
    "ringside": (),
    "examples": ("retrain", "watch", "demo"),
}
DOORS = {
    "bentoml": {"service/app.py"},
    "onnxruntime": {"record/versions/model.py"},
    "evidently": {"monitoring/drifting/evidently.py"},
    "apprise": {"monitoring/followers/notifier.py"},
    "apscheduler": {"monitoring/scheduler.py"},
    "optuna": {"retrain/search.py", "retrain/search_space.py", "retrain/search_trials.py"},
    "uvicorn": {"service/http/uvicorn_parts.py"},
}
UNPICKLERS = {"pickle", "joblib", "cloudpickle", "dill", "shelve", "marshal"}


def product_files() -> list[Path]:
    return [path for room in (*ROOMS, "examples") for path in (ROOT / room).rglob("*.py")]


@cache
def import_statements(path: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """All of a file, at its top, within functions or for types only; each file is parsed once."""
    return tuple(
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
    )


def imports(path: Path) -> Iterator[str]:
    for node in import_statements(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def modules() -> dict[str, Path]:
    """Every module of the rooms by its dotted name, a package by its folder's."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
    }


def graph(files: dict[str, Path]) -> dict[str, set[str]]:
    """Whom each module imports, at its top, within functions or for types only: all count."""
    return {
        name: {
            target if target in files else target.rpartition(".")[0]
            for target in targets(path)
            if target in files or target.rpartition(".")[0] in files
        }
        - {name}
        for name, path in files.items()
    }


def targets(path: Path) -> Iterator[str]:
    """Each imported name with its module before it: it may be a module itself."""
    for node in import_statements(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room: str) -> None:
    """The fast inner loop does not know the slow outer one."""
    wrong = [
        f"{named(path)} imports {module}"
        for path in (ROOT / room).rglob("*.py")
        for module in imports(path)
        if module.split(".")[0] in {*ROOMS, "examples", "tests", "benchmarks", "dashboards"} - ALLOWED[room]
    ]
    assert wrong == []


def test_no_files_know_each_other_in_a_circle() -> None:
    """Each file can be read, moved and tested without those that use it."""
    TopologicalSorter(graph(modules())).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize(
    "hidden", ["if TYPE_CHECKING:\n    from record.b import B", "def f():\n    from record.b import B"]
)
def test_a_circle_does_not_hide(tmp_path: Path, hidden: str) -> None:
    """Neither behind TYPE_CHECKING nor within a function."""
    a, b = tmp_path / "a.py", tmp_path / "b.py"
    a.write_text(hidden)
    b.write_text("from record import a")
    with pytest.raises(CycleError):
        TopologicalSorter(graph({"record.a": a, "record.b": b})).prepare()


def reachable(room: str) -> set[Path]:
    """The files of a room, and those that they import, and so on."""
    files = modules()
    known, waiting = graph(files), [name for name in files if name.split(".")[0] == room]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += known[name]
    return {files[name] for name in reached}


def distributions(requirements: Iterable[str]) -> set[str]:
    """The normalized names of requirements."""
    return {re.sub(r"[-_.]+", "-", Requirement(text).name.lower()) for text in requirements}


@pytest.mark.parametrize("room", [*ROOMS, "examples"])
def test_every_library_is_declared(room: str) -> None:
    """What a file imports does not come by luck, with something else: `pyproject.toml` names it for its room."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [text for extra in EXTRAS[room] for text in project["optional-dependencies"][extra]]
    serving = reachable("service")
    providers = importlib.metadata.packages_distributions()
    wrong = {
        f"{named(path)} imports {module}"
        for path in (ROOT / room).rglob("*.py")
        for module in (target.split(".")[0] for target in targets(path))
        if module not in sys.stdlib_module_names
        and module not in {*ROOMS, "examples"}
        and not distributions(providers.get(module, [module]))
        & distributions(project["dependencies"] + ([] if path in serving else extras))
    }
    assert sorted(wrong) == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_rooms_folders_know_each_other_one_way(room: str) -> None:
    """A folder can be read, moved and tested without those that use it: no circle of folders."""
    folders = {path.name for path in (ROOT / room).iterdir() if (path / "__init__.py").exists()}
    known = {
        folder: {
            parts[1]
            for path in (ROOT / room / folder).rglob("*.py")
            for parts in (module.split(".") for module in imports(path))
            if parts[0] == room and len(parts) > 1 and parts[1] in folders - {folder}
        }
        for folder in folders
    }
    TopologicalSorter(known).prepare()


@pytest.mark.parametrize("vendor", DOORS)
def test_each_vendor_library_has_one_door(vendor: str) -> None:
    """What a vendor's next release breaks is broken in one file."""
    importers = {
        named(path) for path in product_files() if any(module.split(".")[0] == vendor for module in imports(path))
    }
    assert importers, f"nobody imports {vendor}: the door has moved, and this test with it"
    assert importers <= DOORS[vendor]


def test_nothing_unpickles() -> None:
    """Models are ONNX and skops; nothing in the product can load a pickle."""
    wrong = [
        f"{named(path)} imports {module}"
        for path in product_files()
        for module in imports(path)
        if module.split(".")[0] in UNPICKLERS
    ]
    assert wrong == []


def test_a_room_is_empty_at_its_door() -> None:
    """Importing a record does not load BentoML: every `__init__.py` is empty, but for the clients' lazy door."""
    spoken = [named(path) for room in ROOMS for path in (ROOT / room).rglob("__init__.py") if path.read_text()]
    assert spoken == ["ringside/__init__.py"]


def test_every_folder_is_packed() -> None:
    """The wheel's packages are the rooms' folders, none forgotten."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {named(path.parent).replace("/", ".") for room in ROOMS for path in (ROOT / room).rglob("__init__.py")}
    assert sorted(listed) == sorted(folders | {"examples", "examples.flights"})


@pytest.mark.parametrize("room", ROOMS)
def test_a_rooms_root_and_a_folder_of_it_know_each_other_one_way(room: str) -> None:
    """A folder stands above a file at the room's root or beneath it: no file of it imports one that imports it."""
    known = {name: targets for name, targets in graph(modules()).items() if name.startswith(f"{room}.")}
    roots = {name for name in known if name.count(".") == 1}
    wrong = [
        f"{name} imports {root}, which imports {folder}/"
        for name, imported in known.items()
        for folder in [name.split(".")[1]]
        if name.count(".") > 1
        for root in imported & roots
        if any(target.startswith(f"{room}.{folder}.") for target in known[root])
    ]
    assert wrong == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_folder_stands_on_the_map(room: str) -> None:
    """The architecture page names each room's folders, and no others."""
    table = (
        (ROOT / "docs" / "architecture.md")
        .read_text()
        .split("## Repository layout")[1]
        .split("\n## ")[0]
        .split("| `record/`")[1]
    )
    rows = re.split(r"\| `(?:service|retrain|monitoring|ringside)/`", table)[ROOMS.index(room)]
    named_there = re.findall(r"`(\w+)/`", rows)
    assert sorted(named_there) == sorted(path.parent.name for path in (ROOT / room).glob("*/__init__.py"))


def test_no_module_hides_the_standard_library() -> None:
    """A file named after a standard module at the top of the path would take its place."""
    top = {path.stem for path in ROOT.glob("*.py")} | {path.name for path in ROOT.iterdir() if path.is_dir()}
    assert top & set(sys.stdlib_module_names) == set()
