"""A cell means one thing to `init`, to training, and to a JSON request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from record.configuration.inspection import inspect_frame
from record.contract.decoder import Decoder
from record.contract.schema import canonical_class
from record.errors import DataError
from record.settings import load_settings
from record.tables.number_text import parse_number
from record.tables.text_column import read_class_cells
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.data.target import read_classes
from tests.field.tables import ROWS, csv, orders, project, with_cells

MEMBER = [n % 3 == 0 for n in range(ROWS)]
HOURS = pd.date_range("2024-01-01", periods=ROWS, freq="h").astype(str).to_numpy()


@pytest.mark.parametrize(("yes", "no"), [("True", "False"), ("TRUE", "FALSE"), ("true", "false"), ("t", "f")])
@pytest.mark.parametrize("gap", [None, "", "NA"])
def test_booleans_are_true_and_false_however_they_are_spelt(tmp_path: Path, yes: str, no: str, gap: str | None) -> None:
    """Levels of booleans differed between training and scoring (h2oai/sparkling-water#2711, mlops-dai-runtimes#327)."""
    frame = orders(member=[yes if member else no for member in MEMBER])
    made = project(tmp_path, csv(with_cells(frame, "member", gap) if gap is not None else frame))
    assert made.seen("member").categories == ("false", "true")
    arrays = made.decoder.decode([{"age": 1, "city": "Bonn", "amount": 1, "member": value} for value in (True, yes)])
    assert arrays.categories[:, 1].tolist() == ["true", "true"]


@pytest.mark.parametrize(
    ("cells", "classes", "positive"),
    [
        (["1.0", "0.0"], (("0", "1"), "integer"), 1),
        (["1.0", "0.0", ""], (("0", "1"), "integer"), 1),
        (["1", "0", "NA"], (("0", "1"), "integer"), 1),
        (["1", "0", "null"], (("0", "1"), "integer"), 1),
        (["1", "0", "N/A"], (("0", "1"), "integer"), 1),
        (["True", "False", "nan"], (("false", "true"), "boolean"), True),
        (["01", "02"], (("01", "02"), "string"), None),
        (["+1", "-1"], (("+1", "-1"), "string"), None),
        (["None", "Some"], (("None", "Some"), "string"), None),
        (["null", "full"], (("full", "null"), "string"), None),
        (["None", "Mild", "Severe"], (("Mild", "None", "Severe"), "string"), None),
    ],
)
def test_classes_are_what_init_says(tmp_path: Path, cells: list[str], classes: Any, positive: Any) -> None:
    """pos_label=1 met '0.0' and '1.0' (pycaret/pycaret#1042); which words are missing (pandas-dev/pandas#16078)."""
    made = project(tmp_path, csv(orders(y=[cells[n % len(cells)] for n in range(ROWS)])))
    assert made.classes == classes
    said = made.inspection.positive_class
    assert said is None or canonical_class(said) in made.data.schema.classes
    if positive is not None:
        assert (said, type(said)) == (positive, type(positive))
    left_out = ROWS - len(made.data)
    assert (f"missing in {left_out} of {ROWS} rows" in made.notes) == (left_out > 0)


@pytest.mark.parametrize("word", ["NA", "null", "None", "nan", "n/a", "#N/A", "<NA>"])
def test_rows_without_a_number_as_target_are_left_out_as_said(tmp_path: Path, word: str) -> None:
    """Rows with missing targets were dropped or not, unsaid (openml/OpenML#72, mljar-supervised#752)."""
    made = project(tmp_path, csv(with_cells(orders(), "amount", word)), target="amount")
    assert len(made.data) == ROWS - 3
    assert f"missing in 3 of {ROWS} rows" in made.notes


@pytest.mark.parametrize("word", ["NA", "NULL", "null", "None", "nan", "N/A"])
@pytest.mark.parametrize("orders_rows", [True, False])
def test_words_for_a_missing_time_are_missing(tmp_path: Path, word: str, orders_rows: bool) -> None:
    """pandas-dev/pandas#16078."""
    hours = np.sort(HOURS) if orders_rows else HOURS[::-1]
    made = project(tmp_path, csv(with_cells(orders(seen=hours), "seen", word)))
    assert made.types["seen"][1] == "time"
    assert np.isnan(made.data.arrays.numbers).any(axis=1).sum() == 3


@pytest.mark.parametrize(
    "word",
    ["unknown", "?", "--", "-", ".", " ", "missing", "\\N", "(null)", "#DIV/0!", "n/a", "#N/A", "<NA>", "<5", "100 kg"],
)
def test_a_few_other_spellings_leave_a_column_of_numbers_what_it_is(tmp_path: Path, word: str) -> None:
    """Numbers as strings became categories (fg-data-profiling#675, ludwig-ai/ludwig#1542)."""
    made = project(tmp_path, csv(with_cells(orders(), "amount", word)))
    assert made.types["amount"] == ("feature", "number")
    assert np.isnan(made.data.arrays.numbers[:, 1]).sum() == 3
    made.decoder.check([{"age": 1, "city": "Bonn", "amount": 96.82}])
    if word in ("<5", "100 kg"):
        assert repr(word) in made.notes
        assert made.settings.data.missing == (word,)


def test_an_odd_word_that_is_a_value_elsewhere_is_no_missing_one(tmp_path: Path) -> None:
    """What is missing is missing in every column, or in none."""
    frame = with_cells(orders(group=["<5" if n % 2 else "5-10" for n in range(ROWS)]), "amount", "<5")
    made = project(tmp_path, csv(frame))
    assert made.seen("group").categories == ("5-10", "<5")
    assert made.types["amount"][1] == "category" or made.types["amount"][0] == "carried"
    assert "98% numbers, and others such as '<5'" in made.notes


@pytest.mark.parametrize(
    ("column", "word", "held"),
    [
        ("active", "TRUE", ["TRUE", "FALSE"]),
        ("active", "f", ["t", "f"]),
        ("active", "2024-06-01", ["2024-05-01", "2024-06-01"]),
        ("y", "TRUE", ["TRUE", "FALSE"]),
        ("y", "f", ["t", "f"]),
        ("y", "not yet", ["not yet", "done"]),
    ],
)
def test_no_value_of_another_column_is_deleted(tmp_path: Path, column: str, word: str, held: list[str]) -> None:
    """A slip of a spreadsheet in one column of numbers, whatever the other one is: `data.missing` counts for all."""
    plain = orders(**{column: [held[n // 3 % 2] for n in range(ROWS)]})
    made = project(tmp_path / "a", csv(with_cells(plain, "amount", word)))
    expected = project(tmp_path / "b", csv(plain))
    assert made.inspection.rules.missing == ()
    assert made.types.get(column) == expected.types.get(column)
    assert made.classes == expected.classes
    assert len(made.data) == len(expected.data)
    if made.types.get(column, ("", ""))[1] == "category":
        assert made.seen(column) == expected.seen(column)


def test_a_word_of_missing_that_is_a_class_leaves_out_its_rows(tmp_path: Path) -> None:
    """As training does."""
    frame = pd.DataFrame({"a": [1, 2, 3, 4] * 10, "y": [True, False, True, False] * 10})
    classes = pd.Series([None, False, True, False] * 10, dtype=object, name="y")
    found = inspect_frame(frame, "y", classes=classes)
    assert found.task == "classification"
    assert found.positive_class is True


SPOILT = {
    "blanks around a word": lambda n: " <5" if n % 40 == 3 else f" {n}",
    "blanks behind a word": lambda n: "n.a. " if n % 40 == 3 else f"{n}.5",
    "inf": lambda n: "inf" if n == 3 else f"{n}.5",
    "inf and NA": lambda n: {3: "inf", 4: "NA"}.get(n, f"{n}.5"),
    "Infinity, signed": lambda n: {3: "-Infinity", 4: "+inf"}.get(n, str(n)),
    "nan in other letters": lambda n: {3: "+nan", 4: "nAn"}.get(n, str(n)),
    "1e999": lambda n: "1e999" if n == 3 else str(n),
    "5,000 digits": lambda n: "9" * 5000 if n == 3 else str(n),
    "ids": lambda n: str(2**60 + n),
    "house numbers": lambda n: f"{n}a" if n % 7 == 3 and n < 80 else str(n),
    "many house numbers": lambda n: f"{n}a" if n % 12 == 3 else str(n % 9),
    "t, f, ?": lambda n: "tf?"[n % 3] if n % 5 == 0 else "tf"[n % 2],
    "t, f, NaT": lambda n: "NaT" if n % 9 == 3 else "tf"[n % 2],
}


@pytest.mark.parametrize("way", SPOILT)
def test_what_init_takes_training_takes(tmp_path: Path, way: str) -> None:
    """One definition of a number, a boolean and a word, of either's blanks, too."""
    cells = [SPOILT[way](n) for n in range(ROWS)]
    made = project(tmp_path, csv(orders(x=cells)))
    role, kind = made.types["x"]
    assert len(made.data) == ROWS
    if kind == "number" and role == "feature":
        numbers = [parse_number(cell, ".") for cell in cells]
        present = [number for number in numbers if number is not None]
        assert (made.seen("x").low, made.seen("x").high) == (np.float32(min(present)), np.float32(max(present)))
    if way.startswith("t, f"):
        assert made.seen("x").categories == ("false", "true")
        record = {"age": 1, "city": "Bonn", "amount": 1, "x": cells[3] if way == "t, f, NaT" else "?"}
        missing, none = made.decoder.decode([record, record | {"x": None}]).categories[:, 1]
        assert missing == none


def test_a_tail_of_other_words_that_grows_makes_texts(tmp_path: Path) -> None:
    """The next file has words that no list in the settings knows."""
    cells = [f"{n}a" if n % 12 == 3 else str(n) for n in range(1200)]
    made = project(tmp_path, csv(orders(1200, x=cells)))
    assert made.inspection.rules.missing == ()
    assert made.types["x"][1] != "number"
    assert "92% numbers, and others such as '3a'" in made.notes


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (["1", "0", "1 ", "0"], (("0", "1"), "integer")),
        ([" 1.0", "0.0", "1.0"], (("0", "1"), "integer")),
        (["True", "False ", " False"], (("false", "true"), "boolean")),
        (["+1", "-1 ", "-1"], (("+1", "-1"), "string")),
        (["1", "0", " NA "], (("0", "1"), "integer")),
        (["9" * 5000, "1"], (("1", "9" * 5000), "string")),
    ],
)
def test_blanks_make_no_other_class(cells: list[str], classes: Any) -> None:
    read = [cell for cell in read_class_cells(cells * 3) if cell is not None]
    found = read_classes(read)
    assert (found.classes, found.class_type) == classes


@pytest.mark.parametrize(
    "write_number",
    [
        lambda v: f"{100 * v:,.2f}",
        lambda v: f"${100 * v:,.2f}",
        lambda v: f"{100 * v:.2f} €",
        lambda v: f"{100 * v:.2f}%",
        lambda v: f"{100 * v:.2f}".replace(".", ","),
        lambda v: f"{100 * v:,.2f}".translate(str.maketrans(",.", ".,")),
        lambda v: f"{100 * v:,.2f}".replace(",", "\u00a0"),
        lambda v: f"{100 * v:,.2f}".replace(",", "'"),
        lambda v: f"EUR {100 * v:.2f}",
        lambda v: f"+{100 * v:.2f}",
        lambda v: f" {100 * v:.2f} ",
    ],
)
@pytest.mark.parametrize("target", ["y", "amount"])
def test_numbers_as_people_write_them(tmp_path: Path, write_number: Any, target: str) -> None:
    """Thousands, decimal commas, currency: a feature stays a number, and a target a regression's (ludwig#1542)."""
    plain = orders()
    plain["amount"] = (100 * plain["amount"]).round(2)
    made = project(tmp_path / "a", csv(orders(amount=[write_number(v) for v in orders()["amount"]])), target=target)
    expected = project(tmp_path / "b", csv(plain), target=target)
    assert made.inspection.task == expected.inspection.task
    np.testing.assert_array_equal(made.data.arrays.numbers, expected.data.arrays.numbers)
    np.testing.assert_array_equal(made.data.target, expected.data.target)


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("1,234.5", ".", 1234.5),
        ("1.234,5", ",", 1234.5),
        ("1.234", ",", 1234.0),
        ("1,234", ".", 1234.0),
        ("1 234,5", ",", 1234.5),
        ("12,34,567.8", ".", 1234567.8),
        ("(12.5)", ".", -12.5),
        ("1.234,50-", ",", -1234.5),
        ("-$5", ".", -5.0),
        ("$-5", ".", -5.0),
        ("R$ 1.234,5", ",", 1234.5),
        ("\u22125", ".", -5.0),
        ("1e-3", ".", 0.001),
        (".5", ".", 0.5),
        ("5.", ".", 5.0),
        ("1,23", ".", None),
        ("1.5", ",", None),
        ("1,2345", ".", None),
        ("R12", ".", None),
        ("INR3", ".", None),
        ("12 34", ".", None),
        ("1_000", ".", None),
        ("0x10", ".", None),
        ("", ".", None),
        ("€", ".", None),
        ("--5", ".", None),
        ("٣", ".", None),
    ],
)
def test_one_number(text: str, decimal: Any, number: float | None) -> None:
    """A grouping that is not of three digits is no grouping, and letters beside a digit are a code."""
    assert parse_number(text, decimal) == number


def test_codes_with_leading_zeros_stay_text(tmp_path: Path) -> None:
    """nao1215/filesql#150, molgenis-armadillo#1029."""
    made = project(tmp_path, csv(orders(region=[f"{n % 20:02d}" for n in range(ROWS)])))
    assert made.types["region"] == ("feature", "category")
    assert "04" in (made.seen("region").categories or ())


def test_whole_numbers_with_gaps_as_categories_are_written_without_a_point(tmp_path: Path) -> None:
    """Integers with missing values change their type on the way through pandas (mlflow/mlflow#3798)."""
    made = project(tmp_path, csv(with_cells(orders(code=[f"{n % 3}.0" for n in range(ROWS)]), "code", "")))
    text = (tmp_path / "ringside.toml").read_text(encoding="utf-8")
    assert made.types["code"] == ("feature", "number")
    changed = text.replace('[columns.code]\nrole = "feature"\ntype = "number"', '[columns.code]\ntype = "category"')
    assert changed != text
    (tmp_path / "ringside.toml").write_text(changed, encoding="utf-8")
    settings = load_settings(tmp_path / "ringside.toml")
    data = load(settings, problem_schema(settings, None), [])
    assert data.schema.seen["code"].categories == ("0", "1", "2")


@pytest.mark.parametrize(
    "moments",
    [
        [f"01/{n % 28 + 1:02d}/2023 {n % 24:02d}:{n % 60:02d}" for n in range(ROWS)],
        [f"{hour} UTC" for hour in HOURS],
        [f"01/{n % 28 + 1:02d}/2023 {n % 12 + 1}:{n % 60:02d} AM" for n in range(ROWS)],
        [hour if n % 2 else f"{n % 28 + 1}.1.2024 {n}" for n, hour in enumerate(HOURS)],
    ],
)
def test_moments_in_other_spellings_are_no_ids(tmp_path: Path, moments: list[str]) -> None:
    """Unique datetimes were dropped as ids (skrub-data/skrub#2037)."""
    made = project(tmp_path, csv(orders(seen=moments)))
    assert made.inspection.id_column is None
    assert "not ISO 8601" in made.notes


def test_the_bad_date_is_named_not_a_good_one(tmp_path: Path) -> None:
    made = project(tmp_path, csv(with_cells(orders(seen=HOURS), "seen", "2023-02-30", (80,))))
    assert "dates such as '2023-02-30'" in made.notes


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("epoch", [1_672_531_200 + 3600 * n for n in range(ROWS)]),
        ("counter", list(range(1000, 1000 + ROWS))),
        ("month", [202301 + n // 20 for n in range(ROWS)]),
        ("half", [n / 2 for n in range(ROWS)]),
    ],
)
def test_plain_numbers_order_rows_from_csv_as_from_parquet(tmp_path: Path, name: str, values: list[float]) -> None:
    """Epoch seconds were no time from CSV, and a counter the years 1000 to 1159 (Arize-ai/phoenix#269)."""
    frame = orders(seen=values).sample(frac=1, random_state=1)
    made = []
    for file in ("rows.csv", "rows.parquet"):
        folder = tmp_path / file.replace(".", "-")
        content = (lambda p: frame.to_parquet(p, index=False)) if file.endswith("parquet") else csv(frame)
        project(folder, content, name=file)
        toml = (folder / "ringside.toml").read_text(encoding="utf-8")
        toml = toml.replace('# time_column = "scheduled_at"', 'time_column = "seen"').replace(
            '[columns.seen]\nrole = "feature"', '[columns.seen]\nrole = "carried"'
        )
        (folder / "ringside.toml").write_text(toml, encoding="utf-8")
        settings = load_settings(folder / "ringside.toml")
        assert settings.problem.time_column == "seen"
        made.append(load(settings, problem_schema(settings, None), []))
    assert made[0].frame["seen"].astype(float).is_monotonic_increasing
    assert made[0].fingerprint() == made[1].fingerprint()
    assert made[0].data_until is None


@pytest.mark.parametrize(
    ("values", "kind"),
    [([20230101 + n % 28 for n in range(400)], "category"), ([20230101 + n for n in range(400)], "number")],
)
def test_values_that_single_precision_merges_are_told(tmp_path: Path, values: list[int], kind: str) -> None:
    """28 dates as numbers became 15 (Arize-ai/phoenix#269): as codes they stay 28, and amounts are told."""
    made = project(tmp_path, csv(orders(400, day=values)))
    assert made.types["day"] == ("feature", kind)
    assert "in single precision" in made.notes
    if kind == "category":
        assert len(made.seen("day").categories or ()) == 28
        assert (
            made.decoder.decode([{"age": 1, "city": "x", "amount": 1, "day": 20230128}]).categories[0, 1] == "20230128"
        )


@pytest.mark.parametrize("cells", [[f"{n} km" for n in range(ROWS)], [f"text {n}" for n in range(ROWS)]])
def test_a_target_that_is_none_stops_init(tmp_path: Path, cells: list[str]) -> None:
    """Otherwise a search begins with as many classes as rows."""
    with pytest.raises(DataError, match=r"expected (plain numbers|classes)"):
        project(tmp_path, csv(orders(y=cells)))


def test_what_no_model_takes_is_optional_in_requests(tmp_path: Path) -> None:
    """An id, an index and an empty trailing column were demanded of requests."""
    frame = orders(
        loan_id=[f"L{n}" for n in range(ROWS)], note="none", empty="", customer_id=[f"c{n % 40}" for n in range(ROWS)]
    )
    made = project(tmp_path, frame.to_csv())
    assert made.types["loan_id"][0] == made.types["note"][0] == made.types["empty"][0] == "carried"
    assert made.inspection.entity_column == "customer_id"
    made.decoder.check([{"age": 1, "city": "Bonn", "amount": 1, "customer_id": "c1"}])
    text = (tmp_path / "ringside.toml").read_text(encoding="utf-8")
    assert text.count("required = false") == 3


def test_another_file_is_read_as_the_version_learned(tmp_path: Path) -> None:
    """A column with gaps says 1.0 where one without says 1; a few rows may hold one boolean only."""
    made = project(tmp_path, csv(orders(member=MEMBER, code=[n % 3 for n in range(ROWS)])))
    text = (tmp_path / "ringside.toml").read_text(encoding="utf-8")
    changed = text.replace('[columns.code]\nrole = "feature"\ntype = "number"', '[columns.code]\ntype = "category"')
    (tmp_path / "ringside.toml").write_text(changed, encoding="utf-8")
    settings = load_settings(tmp_path / "ringside.toml")
    decoder = Decoder(load(settings, problem_schema(settings, None), []).schema)
    assert made.seen("member").categories == ("false", "true")
    later = decoder.decode_frame(orders(2, member=["TRUE", "t"], code=["1.0", "2"]))
    sent = decoder.decode(
        [
            {**record, "member": True, "code": code}
            for record, code in zip(made.decoder.frame_records(orders(2, member=True)), (1, 2), strict=True)
        ]
    )
    assert later.categories[:, 1:].tolist() == sent.categories[:, 1:].tolist() == [["true", "1"], ["true", "2"]]


@pytest.mark.parametrize("cells", [["+1", "-1", "NA"], ["1.5", "2.5", "NA"], ["01", "02", "NA"]])
def test_words_beside_numbers_mean_the_same_to_init_and_to_training(tmp_path: Path, cells: list[str]) -> None:
    made = project(tmp_path, csv(orders(y=[cells[n % 3] for n in range(ROWS)])))
    left_out = ROWS - len(made.data)
    assert (f"missing in {left_out} of {ROWS} rows" in made.notes) == (left_out > 0)
    if made.inspection.task == "classification":
        assert ("NA" in made.data.schema.classes) == (left_out == 0)
