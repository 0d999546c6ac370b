"""A version's directory: published whole or not at all, and refused unless it is exactly what was registered."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from record.canonical import canonical_json
from record.errors import ArtifactError, UnknownVersion
from record.versions.artifact import CHUNK_BYTES, MANIFEST, ArtifactStore, verify
from record.versions.onnx_file import refuse_external_data


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def published(store: ArtifactStore) -> tuple[Path, str]:
    return publish(store)


def publish(store: ArtifactStore, version: str = "v1") -> tuple[Path, str]:
    stage = store.stage()
    (stage / "model.onnx").write_bytes(model())
    (stage / "schema.json").write_text("{}")
    digest = store.seal(stage)
    directory = store.publish(stage, version)
    store.settle(version)
    return directory, digest


def weights(*, external: bool) -> TensorProto:
    tensor: TensorProto = onnx.numpy_helper.from_array(np.ones(2, np.float32), "w")
    if external:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def model(
    initializer: list[TensorProto] | None = None, attribute: TensorProto | onnx.GraphProto | None = None
) -> bytes:
    identity = helper.make_node("Identity", ["x"], ["y"])
    if attribute is not None:
        identity.attribute.append(helper.make_attribute("anything", attribute))
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    graph = helper.make_graph([identity], "g", value[:1], value[1:], initializer or [])
    content: bytes = helper.make_model(graph).SerializeToString()
    return content


def test_what_was_published_verifies(published: tuple[Path, str]) -> None:
    """An untouched directory verifies, and gives its files' bytes."""
    manifest = verify(*published)
    assert set(manifest.files) == {"model.onnx", "schema.json"}
    assert manifest.read("schema.json") == b"{}"


def rewrite_manifest(directory: Path, **files: str) -> None:
    manifest = json.loads((directory / MANIFEST).read_text())
    manifest["files"].update(files)
    (directory / MANIFEST).write_text(canonical_json(manifest))


def replace_by_link(directory: Path) -> None:
    (directory / "schema.json").rename(directory.parent / "elsewhere.json")
    (directory / "schema.json").symlink_to(directory.parent / "elsewhere.json")


def replace_by_pipe(directory: Path) -> None:
    (directory / "schema.json").unlink()
    os.mkfifo(directory / "schema.json")


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (lambda d: (d / "schema.json").write_text("[]"), "schema.json"),
        (lambda d: (d / "model.onnx").write_bytes(b""), "model.onnx"),
        (lambda d: (d / "schema.json").unlink(), "schema.json"),
        (lambda d: (d / "extra.json").write_text("{}"), "extra.json"),
        (lambda d: (d / ".hidden").write_text(""), ".hidden"),
        (lambda d: (d / "folder").mkdir(), "folder"),
        (lambda d: (d / MANIFEST).unlink(), MANIFEST),
        (lambda d: rewrite_manifest(d, **{"schema.json": "0" * 64}), MANIFEST),
        (replace_by_link, "schema.json"),
        (replace_by_pipe, "schema.json"),
    ],
)
def test_tampering_is_refused(published: tuple[Path, str], tamper: Callable[[Path], object], named: str) -> None:
    """Changed, missing, added and linked files are refused, each by its name."""
    directory, digest = published
    tamper(directory)
    with pytest.raises(ArtifactError, match=named.replace(".", r"\.")) as refusal:
        verify(directory, digest)
    assert refusal.value.field == named


@pytest.mark.parametrize("name", ["../schema.json", "/etc/passwd.json", "a/b.json", "Model.onnx", "x.pkl", "x.json\n"])
def test_a_manifest_cannot_point_elsewhere(published: tuple[Path, str], name: str) -> None:
    """Even a manifest with the right digest names plain files of the directory only."""
    directory, _ = published
    rewrite_manifest(directory, **{name: "0" * 64})
    digest = hashlib.sha256((directory / MANIFEST).read_bytes()).hexdigest()
    with pytest.raises(ArtifactError, match="cannot be a file of a version"):
        verify(directory, digest)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"files": []}', b'{"files": {"a.json": 1}}'])
def test_a_manifest_that_is_none(published: tuple[Path, str], content: bytes) -> None:
    """Nonsense with the right digest is an ArtifactError, not a crash."""
    directory, _ = published
    (directory / MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        verify(directory, hashlib.sha256(content).hexdigest())


def test_a_backup_of_hard_links_leaves_the_version_whole(published: tuple[Path, str]) -> None:
    """`cp -al` and rsnapshot give each file a second name; its bytes are what counts."""
    directory, digest = published
    backup = directory.parent / "backup"
    backup.mkdir()
    for file in directory.iterdir():
        os.link(file, backup / file.name)
    manifest = verify(directory, digest)
    assert manifest.read("schema.json")
    (backup / "schema.json").write_bytes(b"changed through the other name")
    with pytest.raises(ArtifactError, match=r"schema\.json: sha256"):
        manifest.read("schema.json")


def test_a_linked_directory_is_refused(published: tuple[Path, str], tmp_path: Path) -> None:
    """A version's directory that is a link to another is no version's directory."""
    directory, digest = published
    (tmp_path / "v2").symlink_to(directory)
    with pytest.raises(ArtifactError):
        verify(tmp_path / "v2", digest)


def test_a_file_changed_behind_the_verification_shows(published: tuple[Path, str]) -> None:
    """Bytes are hashed again as they are read."""
    manifest = verify(*published)
    (published[0] / "schema.json").write_text("[]")
    with pytest.raises(ArtifactError, match=r"schema\.json"):
        manifest.read("schema.json")


def subgraph() -> onnx.GraphProto:
    return helper.make_graph([], "inner", [], [], [weights(external=True)])


def function_model() -> bytes:
    whole = onnx.load_model_from_string(model())
    node = helper.make_node("Constant", [], ["c"], value=weights(external=True))
    whole.functions.append(helper.make_function("own", "f", [], ["c"], [node], [helper.make_opsetid("", 20)]))
    content: bytes = whole.SerializeToString()
    return content


@pytest.mark.parametrize(
    "content",
    [
        model([weights(external=True)]),
        model(attribute=weights(external=True)),
        model(attribute=subgraph()),
        function_model(),
        b"not a model",
    ],
    ids=["initializer", "attribute", "subgraph", "function", "nonsense"],
)
def test_external_data_is_refused(store: ArtifactStore, content: bytes) -> None:
    """A model that keeps data in other files is refused wherever it says so: when sealed, and when verified."""
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        refuse_external_data(content, "model.onnx")
    stage = store.stage()
    (stage / "model.onnx").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        store.seal(stage)


def test_data_inside_the_model_is_fine() -> None:
    """Ordinary initializers and attributes pass."""
    refuse_external_data(model([weights(external=False)], weights(external=False)), "model.onnx")


@pytest.mark.parametrize("version", ["", "v0", "v01", "v-1", "../v1", "v1/", "v1\n", "V1", "v1234567890", "v١"])
def test_only_versions_have_directories(store: ArtifactStore, version: str) -> None:
    """A name from outside never becomes a path."""
    with pytest.raises(UnknownVersion):
        store.directory(version)


@pytest.mark.parametrize("name", ["model.pkl", "x.py", ".json", "no_suffix", "Model.onnx"])
def test_only_known_kinds_of_files_are_sealed(store: ArtifactStore, name: str) -> None:
    """A stage with any other file is refused."""
    stage = store.stage()
    (stage / name).write_bytes(b"")
    with pytest.raises(ArtifactError, match="no name of a version's file"):
        store.seal(stage)


def test_a_published_version_is_never_overwritten(store: ArtifactStore, published: tuple[Path, str]) -> None:
    """Publishing under a name that is taken is refused, and what was there stays."""
    stage = store.stage()
    (stage / "schema.json").write_text('{"other": 1}')
    store.seal(stage)
    with pytest.raises(ArtifactError, match="exists"):
        store.publish(stage, "v1")
    verify(*published)


def test_a_version_is_half_published_until_the_record_knows_it(store: ArtifactStore) -> None:
    """So a start after a crash finds it; once settled or withdrawn it is told no more."""
    for version in ("v1", "v2", "v10"):
        stage = store.stage()
        (stage / "schema.json").write_text("{}")
        store.seal(stage)
        store.publish(stage, version)
    assert ArtifactStore(store.root).half_published() == ["v1", "v10", "v2"]
    store.settle("v10")
    store.withdraw("v2")
    assert store.half_published() == ["v1"]
    assert store.numbers() == [1, 10]
    store.withdraw("v7")  # its directory never came to be
    assert store.half_published() == ["v1"]


@pytest.mark.parametrize("again", [False, True])
def test_a_stage_that_a_sweep_removed_is_not_handed_out(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """Another process's sweep may come between a stage's making and its lock, and a folder of its name after that."""
    flock, swept = fcntl.flock, list[Path]()

    def sweep_first(descriptor: int, operation: int) -> None:
        if not swept:
            swept.append(Path(f"/proc/self/fd/{descriptor}").readlink())
            swept[0].rmdir()
            if again:
                swept[0].mkdir()
        flock(descriptor, operation)

    monkeypatch.setattr("record.versions.artifact.fcntl.flock", sweep_first)
    stage = store.stage()
    assert stage.is_dir()
    assert stage != swept[0]
    assert ArtifactStore(store.root).sweep() == ([swept[0].name] if again else [])
    assert stage.is_dir(), "its lock is held"


def test_registrations_leave_no_descriptor_open(store: ArtifactStore) -> None:
    """A watcher publishes for years."""
    publish(store)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(2, 22):
        directory, digest = publish(store, f"v{number}")
        verify(directory, digest)
        store.discard(store.stage())
        store._unlock(store.stage())
    store.sweep()
    assert len(os.listdir("/proc/self/fd")) == before


def test_external_data_is_refused_behind_a_right_digest(published: tuple[Path, str]) -> None:
    """Whoever sealed it elsewhere did not look: it is looked at again before it is loaded."""
    directory, _ = published
    content = model([weights(external=True)])
    (directory / "model.onnx").write_bytes(content)
    rewrite_manifest(directory, **{"model.onnx": hashlib.sha256(content).hexdigest()})
    digest = hashlib.sha256((directory / MANIFEST).read_bytes()).hexdigest()
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        verify(directory, digest)


@pytest.mark.parametrize("where", ["verified", "sealed"])
def test_a_pipe_is_no_file_of_a_version(store: ArtifactStore, published: tuple[Path, str], where: str) -> None:
    """It is refused as what it is, and nobody waits for its writer."""
    directory, digest = published
    if where == "verified":
        replace_by_pipe(directory)
        with pytest.raises(ArtifactError, match="expected a regular file"):
            verify(directory, digest)
    else:
        stage = store.stage()
        os.mkfifo(stage / "schema.json")
        with pytest.raises(ArtifactError, match="expected a regular file"):
            store.seal(stage)


def test_a_file_longer_than_is_read_at_once_is_hashed_whole(store: ArtifactStore) -> None:
    """To the byte: a change in the last one shows."""
    stage = store.stage()
    content = bytearray(os.urandom(2 * CHUNK_BYTES + 1))
    (stage / "reference.parquet").write_bytes(content)
    assert store.hash_files(stage) == {"reference.parquet": hashlib.sha256(content).hexdigest()}
    digest = store.seal(stage)
    directory = store.publish(stage, "v1")
    assert verify(directory, digest).read("reference.parquet") == content
    content[-1] ^= 1
    (directory / "reference.parquet").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"reference\.parquet: sha256"):
        verify(directory, digest)


def test_sweeping_spares_a_living_stage(store: ArtifactStore) -> None:
    """Only stages whose writer is gone are removed."""
    living, dead = store.stage(), store.stage()
    store._unlock(dead)  # what the system does when a process dies
    assert ArtifactStore(store.root).sweep() == [dead.name]
    assert living.is_dir()
    assert not dead.exists()
