"""`ringside rekey`: goes on with a record whose key is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from record.errors import Conflict
from ringside.terminal.options import ConfigOption, JsonOption, ReasonOption, operator_name, settings_of
from ringside.terminal.output import tell

if TYPE_CHECKING:
    from record.settings import Settings


def rekey(reason: ReasonOption, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Give the record another key where its own (record.key) is lost for good. Stop every service and watcher first.

    Ids that were answered before are refused with 409 until log.id_window is over; nothing else is lost. A key from a
    backup is better: put it back in its place instead.

    Example: ringside rekey --reason "the artifacts' disk was lost, and no backup has the key"
    """
    from record.record import replace_lost_key

    settings = settings_of(config)
    _expect_stopped(settings)
    replace_lost_key(settings, actor=operator_name(), reason=reason)
    file = settings.store.key_file or settings.store.artifacts / "record.key"
    where = "RINGSIDE_STORE__KEY" if settings.store.key is not None else str(file)
    tell({"key": where, "next": "copy it to every host and to your backups, then start"}, as_json)


def _expect_stopped(settings: Settings) -> None:
    """Raise Conflict while `ringside up` runs here: its processes would go on with the key that they have."""
    from record.settings_in_force import up_runs

    if up_runs(settings):
        folder = settings.store.artifacts.parent
        raise Conflict(f"`ringside up` runs on {folder}; stop it first, and on every other host")
