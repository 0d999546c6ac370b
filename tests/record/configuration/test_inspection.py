"""The first look at training data: what is found out, what is suspicious, and the file that is written."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from record.configuration.inspection import Inspection, infer_columns, inspect, inspect_frame, read_sample
from record.configuration.suspicion import WORD_ROWS
from record.configuration.template import render_toml
from record.contract.decoder import Decoder
from record.errors import DataError, SettingsError
from record.settings import Settings, load_settings
from retrain.features.words import FEWEST_ROWS, words_of

ROWS = 400
random = np.random.default_rng(0)


def shop(**columns: Any) -> pd.DataFrame:
    """Orders with a number, a category, a weak signal and a target of two classes."""
    amount = random.gamma(2, 20, ROWS)
    late = np.where(amount + random.normal(0, 40, ROWS) > 60, "yes", "no")
    city = random.choice(["Oslo", "Rome", "Bonn"], ROWS)
    return pd.DataFrame({"amount": amount, "city": city, "late": late} | columns)


def look(frame: pd.DataFrame, target: str = "late", **said: Any) -> Inspection:
    return inspect_frame(frame, target, **said)


def role_and_reason(column: Any, target: str = "late") -> tuple[str | None, str | None, str | None]:
    """What is made of one further column: its role, type and finding."""
    found = look(shop(x=column), target)
    held = next((c for c in found.columns if c.name == "x"), None)
    kind = next((f.kind for f in found.findings if f.column == "x"), None)
    return (held.role, held.type, kind) if held else (None, None, kind)


def test_a_plain_file() -> None:
    """Two classes, a number and a category: nothing is suspicious, and the rest is found out."""
    found = look(shop())
    assert (found.task, found.positive_class, found.time_column, found.id_column) == (
        "classification",
        "yes",
        None,
        None,
    )
    assert [(c.name, c.role, c.type) for c in found.columns] == [
        ("amount", "feature", "number"),
        ("city", "feature", "category"),
    ]
    assert found.findings == ()


# Each has one value per row of `shop`; the other columns there must not trip over them.
SUSPICIOUS = {
    "all_missing": ([None] * ROWS, ("carried", "category", "all_missing")),
    "constant": (["same"] * ROWS, ("carried", "category", "constant")),
    "constant number": ([3.5] * ROWS, ("carried", "number", "constant")),
    "text id": ([f"order-{i}" for i in range(ROWS)], ("carried", "text", "identifier")),
    "row number": (random.permutation(ROWS) + 7, ("carried", "number", "identifier")),
    "free text": ([f"the parcel number {i} was left outside" for i in range(ROWS)], ("carried", "text", "free_text")),
    "titles": (
        [f"{('Senior', 'Junior')[i % 2]} engineer of plant {i}" for i in range(ROWS)],
        ("feature", "category", "free_text"),
    ),
    "long texts": ([f"{i} " + "and so on " * 30 for i in range(ROWS)], ("carried", "text", "free_text")),
    "infinite": ([np.inf] + [1.0] * (ROWS - 1), ("carried", "number", "unusable")),
    "lists": ([[1]] * ROWS, (None, None, "unusable")),
    "bytes": ([b"a"] * ROWS, (None, None, "unusable")),
    "foreign date": ([f"{i % 28 + 1}.3.2024" for i in range(ROWS)], ("carried", "text", "foreign_date")),
    "mostly missing": ([None, None, 1.0, 2.0] * (ROWS // 4), ("feature", "number", None)),
    "more missing": ([None, None, None, 2.0] * (ROWS // 4), ("feature", "number", "mostly_missing")),
    "many values": ([f"c{i % 250}" for i in range(ROWS)], ("feature", "category", "high_cardinality")),
    "numbers as text": ([f"{i % 250}.5" for i in range(ROWS)], ("feature", "category", "numbers_as_text")),
    "integers": (random.integers(0, 9, ROWS), ("feature", "number", None)),
    "unlike an id": (random.permutation(ROWS) * 3, ("feature", "number", None)),
    "floats, all different": (random.normal(size=ROWS), ("feature", "number", None)),
    "booleans": ([True, False] * (ROWS // 2), ("feature", "category", None)),
    "booleans with gaps": ([True, None] * (ROWS // 2), ("feature", "category", None)),
    "decimals": ([Decimal("1.5"), Decimal("2.5")] * (ROWS // 2), ("feature", "number", None)),
    "pandas categories": (pd.Categorical(["a", "b"] * (ROWS // 2)), ("feature", "category", None)),
    "pandas categories of numbers": (pd.Categorical([1.5, 2.5] * (ROWS // 2)), ("feature", "number", None)),
    "mixed": ([1, "b"] * (ROWS // 2), ("feature", "category", None)),
}


@pytest.mark.parametrize("name", SUSPICIOUS)
def test_one_column(name: str) -> None:
    """Each kind of column gets its role and type, and its finding where there is one."""
    values, expected = SUSPICIOUS[name]
    assert role_and_reason(values) == expected


def test_what_no_model_needs_may_be_left_out_of_requests() -> None:
    """Ids, empty columns and texts that say nothing; features, the time and protected columns are required."""
    frame = shop(
        order_id=random.permutation(ROWS) + 7,
        nothing=[None] * ROWS,
        sex=["f", "m"] * (ROWS // 2),
        at=pd.date_range("2024-01-01", periods=ROWS, freq="h").strftime("%Y-%m-%dT%H:%M:%S"),
    )
    found = inspect_frame(frame, "late", protected=("sex",))
    assert {column.name for column in found.columns if not column.required} == {"order_id", "nothing"}
    text = render_toml(found, "data.csv")
    held = tomllib.loads(text)["columns"]
    assert {name for name, column in held.items() if column.get("required") is False} == {"order_id", "nothing"}
    assert 'not the id of a request, which goes into "ids"' in text


def test_a_text_is_a_feature_where_the_words_stage_can_use_it() -> None:
    """By the same number of rows as that stage asks of a word."""
    assert WORD_ROWS == FEWEST_ROWS
    texts = np.array([f"{('Senior', 'Junior')[i % 2]} engineer of plant {i}" for i in range(ROWS)], dtype=object)
    words = words_of("words", texts[:, None], (np.arange(ROWS) % 2).astype(float)[:, None])
    assert words is not None
    assert set(words.words_[0]) >= {"Senior", "Junior"}


def test_named_ids() -> None:
    """A whole number of its own in each row is an id where its name says so."""
    found = look(shop(order_id=random.permutation(ROWS) * 3))
    assert found.id_column == "order_id"


def test_copies_of_classes() -> None:
    """A column that gives the class by itself is carried; a strong signal is not."""
    frame = shop()
    yes = frame["late"] == "yes"
    frame["as_code"] = np.where(yes, 7, 3)
    frame["as_text"] = np.where(yes, "L", "P")
    frame["as_number"] = yes * 10 + random.normal(size=ROWS)
    frame["strong"] = yes * 3 + random.normal(size=ROWS)
    copies = {f.column for f in look(frame).findings if f.kind == "target_copy"}
    assert copies == {"as_code", "as_text", "as_number"}


def test_copies_of_numbers() -> None:
    """A rescaled, rounded or reversed target is carried; a strong signal is not."""
    frame = shop()
    frame["price"] = random.gamma(2, 50, ROWS)
    frame["gross"] = frame["price"] * 1.19
    frame["rounded"] = frame["price"].round(1)
    frame["logged"] = -np.log(frame["price"])
    frame["strong"] = frame["price"] + random.normal(0, 10, ROWS)
    copies = {f.column for f in look(frame, "price").findings if f.kind == "target_copy"}
    assert copies == {"gross", "rounded", "logged"}


def test_few_rows_prove_nothing() -> None:
    """With a handful of rows nothing is called an id or a copy."""
    frame = pd.DataFrame({"name": ["a", "b", "c", "d"], "late": ["no", "yes", "no", "yes"]})
    assert look(frame).findings == ()


@pytest.mark.parametrize(
    ("target", "task", "positive"),
    [
        (["no", "yes"], "classification", "yes"),
        ([True, False], "classification", True),
        ([0, 1], "classification", 1),
        ([0.0, 1.0], "classification", 1),
        (["good", "good", "bad", "good"], "classification", "bad"),
        (["a", "b", "c", "d"], "classification", None),
        ([0, 1, 2, 3], "classification", None),
        ([1, 2], "classification", 1),
        ([3, 4, 5, 6], "regression", None),
        ([1, 3, 5, 50], "regression", None),
        ([0.5, 1.5], "regression", None),
        (list(range(40)), "regression", None),
    ],
)
def test_tasks(target: list[Any], task: str, positive: Any) -> None:
    """Text, booleans, two values and gapless codes are classes; fractions, amounts and grades are numbers."""
    found = look(shop(y=(target * ROWS)[:ROWS]), "y")
    assert (found.task, found.positive_class) == (task, positive)
    assert type(found.positive_class) is type(positive)


def test_the_task_may_be_said() -> None:
    """`task` overrides the rule, unless the target cannot be it."""
    assert look(shop(y=[3, 4, 5, 6] * 100), "y", task="classification").task == "classification"
    assert look(shop(y=[0, 1, 2, 3] * 100), "y", task="regression").positive_class is None
    with pytest.raises(DataError, match="expected numbers for a regression"):
        look(shop(), task="regression")


@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2024-01-01", periods=ROWS, freq="h"),
        pd.date_range("2024-01-01", periods=ROWS, freq="h", tz="Europe/Rome"),
        [f"2024-01-{1 + i // 24:02d} {i % 24:02d}:00:00" for i in range(ROWS)],
        [date(2024, 1, 1 + i // 24) for i in range(ROWS)],
    ],
    ids=["datetime", "zone", "text", "date"],
)
def test_time_columns(times: Any) -> None:
    """However times are held, they are found, and the column that increases orders the rows."""
    stamps = pd.Series(pd.date_range("1950-01-01", periods=ROWS).to_numpy()).sample(frac=1, random_state=0)
    found = look(shop(birth_date=stamps.to_numpy(), shipped=stamps.to_numpy(), placed=times))
    held = {c.name: (c.role, c.type) for c in found.columns}
    assert found.time_column == "placed"
    assert held["placed"] == ("feature", "time")
    assert held["shipped"] == held["birth_date"] == ("feature", "time")


def test_what_is_said_is_taken() -> None:
    """A time column, an id and protected columns that the caller names are carried."""
    columns, findings = infer_columns(
        shop(born=random.integers(1, 9, ROWS)), "late", time_column="amount", id_column="city", protected=["born"]
    )
    assert {c.role for c in columns} == {"carried"}
    assert findings == ()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (shop(), "did you mean late"),
        (shop(lats=[None] * ROWS), "no value"),
        (shop(lats=["a"] * ROWS), "one value only"),
        (shop(lats=pd.date_range("2024-01-01", periods=ROWS)), "expected classes or numbers"),
        (shop(lats=[[1]] * ROWS), "expected classes or numbers"),
        (pd.concat([shop(lats=1), shop()], axis=1), "stands twice"),
        (pd.DataFrame({"lats": []}), "no value"),
    ],
)
def test_no_problem_can_be_made_of_it(frame: pd.DataFrame, message: str) -> None:
    """A target that is absent, empty, constant or no target at all is told."""
    with pytest.raises(DataError, match=message):
        look(frame, "lats")


def test_missing_targets_are_told() -> None:
    """Rows without a target are left out, and counted."""
    frame = shop()
    frame.loc[:9, "late"] = None
    assert "missing in 10 of 400 rows" in look(frame).findings[0].message


def test_reading(tmp_path: Path) -> None:
    """CSV and Parquet give the same look, and only so many rows are read."""
    frame = shop()
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=50)
    assert inspect(tmp_path / "a.csv", "late") == inspect(tmp_path / "a.parquet", "late")
    assert [len(read_sample(tmp_path / name, 70)) for name in ("a.csv", "a.parquet")] == [70, 70]
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "no.parquet").write_text("no")
    for name in ("empty.csv", "no.parquet", "absent.csv"):
        with pytest.raises(DataError, match=name):
            read_sample(tmp_path / name, 10)


def loaded(text: str, folder: Path) -> Settings:
    (folder / "ringside.toml").write_text(text)
    return load_settings(folder / "ringside.toml")


def test_the_written_file_is_read_back(tmp_path: Path) -> None:
    """ringside.toml holds what was found out, whatever the columns' names, and its defaults are the real ones."""
    odd = {
        'a "quoted" name': 1.0,
        "dotted.name": "x",
        "ünïcode": True,
        "line\nbreak": [f"n\x7f{i}" for i in range(ROWS)],
    }
    found = look(shop(**odd, placed=pd.date_range("2024-01-01", periods=ROWS)))
    settings = loaded(render_toml(found, "orders.csv"), tmp_path)
    assert settings.problem_schema() == found.problem_schema()
    assert settings.data.source == str(tmp_path / "orders.csv")
    assert settings.problem.name == "orders"
    plain = Settings(folder=tmp_path, problem=settings.problem)
    assert settings.promotion == plain.promotion
    assert settings.retrain == plain.retrain


@pytest.mark.parametrize("target", ["late", "amount"])
def test_the_written_comments_are_true(tmp_path: Path, target: str) -> None:
    """Each `# key = value` may be uncommented as it stands."""
    text = render_toml(look(shop(), target), "orders.csv")
    text = re.sub(r"(?m)^# (?=(?!positive_class|id_column|time_column|entity_column)\w+ = )", "", text)
    settings = loaded(text, tmp_path)
    assert settings.retrain.memory_limit == 4_000_000_000
    assert settings.promotion.loss == ("brier" if target == "late" else "absolute")
    keys = {line.split(" = ")[0] for line in text.splitlines() if " = " in line and not line.startswith("#")}
    for section, field in Settings.model_fields.items():
        names = getattr(field.annotation, "model_fields", {})
        left_out = set(names) - keys - {"positive_class", "id_column", "time_column", "entity_column"}
        assert not left_out, (section, left_out)


def test_findings_stand_beside_their_columns() -> None:
    """The reason is a comment on the column's own line."""
    text = render_toml(look(shop(key=[f"k{i}" for i in range(ROWS)], place=["here"] * ROWS)), "orders.csv")
    assert "[columns.key]  # 400 values in 400 rows: an id" in text
    assert "[columns.place]  # the same value in every row: 'here'" in text


def test_the_schema_decodes_the_frame() -> None:
    """What was inferred from a frame reads that frame."""
    frame = shop(placed=pd.date_range("2024-01-01", periods=ROWS), n=[None, 1, 2, 3] * 100)
    of = Decoder(look(frame).problem_schema())
    records = of.frame_records(frame)
    of.check(records)
    assert (of.decode_frame(frame).categories == of.decode(records).categories).all()


def test_a_column_of_ids_that_repeat_is_proposed_as_the_entity(tmp_path: Path) -> None:
    """One that names each row is its id; a category that repeats is no entity."""
    rows = 400
    frame = pd.DataFrame(
        {
            "order_id": [f"o{n}" for n in range(rows)],
            "customer_id": [f"c{n % 80}" for n in range(rows)],
            "colour": [f"shade {n % 80}" for n in range(rows)],
            "amount": np.random.default_rng(1).normal(size=rows),
            "late": ["yes" if n % 3 else "no" for n in range(rows)],
        }
    )
    found = look(frame, "late")
    assert (found.id_column, found.entity_column) == ("order_id", "customer_id")
    assert loaded(render_toml(found, "orders.csv"), tmp_path).problem.entity_column == "customer_id"
    assert look(frame.drop(columns="customer_id"), "late").entity_column is None


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ('entity_column = "late"', "is the target"),
        ('entity_column = "who"', "is no column of records"),
    ],
)
def test_an_entity_column_that_cannot_be_one_is_refused(tmp_path: Path, more: str, reason: str) -> None:
    text = f'[problem]\ntask = "classification"\ntarget = "late"\n{more}\n[columns.x]\ntype = "number"\n'
    with pytest.raises(SettingsError, match=reason):
        loaded(text, tmp_path)
