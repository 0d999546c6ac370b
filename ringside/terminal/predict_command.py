"""`ringside predict`: a file scored by a version, without a service."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from record.errors import InputError, NoChampion
from record.ownership import give_to_owner
from record.printable import print_file, print_json, print_line
from ringside.terminal.options import ConfigOption, JsonOption, opened

if TYPE_CHECKING:
    import pandas as pd

PARQUET = (".parquet", ".pq")


def predict(
    data: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV or Parquet file with a column for each feature.")],
    model: Annotated[str | None, typer.Option(help="The version that answers; the champion if not given.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The .csv or .parquet file to write; CSV to standard output if not given."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a file by a model version: the answers that /predict would give, written to a file; nothing is logged.

    Example: ringside predict new_orders.csv --model v3 -o answers.parquet
    """
    from retrain.batch_scoring import score_file
    from retrain.progress import progress_shown

    if output is None and as_json:
        raise typer.BadParameter("--json prints a summary; expected --output with it")
    if output is not None:
        _check_output(output, data, force)
    settings, record = opened(config)
    version = model or record.registry.roles().champion
    if version is None:
        raise NoChampion("there is no champion yet; expected --model VERSION, or `ringside train` first")
    predictions = score_file(record, version, data, settings.data.reading_rules())
    with progress_shown() as show:

        def parts() -> Iterable[pd.DataFrame]:
            done = 0
            for part in predictions.parts:
                yield part
                done += len(part)
                show({"stage": f"scored by {version}", "done": done, "total": predictions.rows, "unit": "rows"})

        _write(parts(), output)
    if output is not None and as_json:
        print_json({"version": version, "rows": predictions.rows, "output": str(output)})
    elif output is not None:
        print_line(f"wrote {output}: {predictions.rows} rows, answered by {version}")


def _check_output(output: Path, data: Path, force: bool) -> None:
    if output.suffix.lower() not in (".csv", *PARQUET):
        raise InputError(f"{output}: expected a name that ends in .csv or .parquet", field="output")
    if output.is_dir():
        raise InputError(f"{output} is a folder; expected a file", field="output")
    if output.exists() and data.exists() and output.samefile(data):
        raise InputError(f"{output} is the file that is read; expected another --output", field="output")
    if output.exists() and not force:
        raise InputError(f"{output} is there already; expected another --output, or --force to write over it")
    if not output.absolute().parent.is_dir():
        raise InputError(f"{output}: its folder is not there; expected one that is", field="output")


def _write(parts: Iterable[pd.DataFrame], output: Path | None) -> None:
    """Write the frames one after the other; a file appears under its name only when it is whole."""
    if output is None:
        for number, part in enumerate(parts):
            print_file(part.to_csv(index=False, header=number == 0))
        return
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        if output.suffix.lower() in PARQUET:
            _write_parquet(parts, unfinished)
        else:
            with unfinished.open("w", encoding="utf-8", newline="") as file:
                for number, part in enumerate(parts):
                    part.to_csv(file, index=False, header=number == 0)
        unfinished.replace(output)
        give_to_owner(output)
    except OSError as error:
        raise InputError(f"{output}: {error.strerror}", field="output") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _write_parquet(parts: Iterable[pd.DataFrame], file: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    writer: parquet.ParquetWriter | None = None
    try:
        for part in parts:
            table = pa.Table.from_pandas(part, schema=writer.schema if writer else None, preserve_index=False)
            writer = writer or parquet.ParquetWriter(file, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
