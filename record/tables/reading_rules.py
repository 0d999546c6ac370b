"""The rules by which a text file is read: what `[data]` of ringside.toml says, else what the file shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

DecimalMark = Literal[".", ","]

DELIMITERS: Final = (",", ";", "\t", "|")

# Words for a missing value in columns of numbers, times, booleans and class codes. In a column of texts only an empty
# field is missing: "NA" may be North America, and "None" a grade.
MISSING_WORDS: Final = frozenset({
    "", "NA", "N/A", "n/a", "na", "<NA>", "#N/A", "#NA", "#N/A N/A", "NaN", "nan", "NAN", "-nan", "-NaN", "null",
    "NULL",
    "Null", "(null)", "None", "none", "NONE", "nil", "\\N", "-", "--", "---", ".", "..", "?", "missing", "Missing",
    "MISSING", "unknown", "Unknown", "UNKNOWN", "NaT", "#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NAME?", "#NULL!",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReadingRules:
    """Delimiter, decimal mark, encoding, and words for missing values; None: found out from the file.

    `missing` are words that are missing in every column, beside MISSING_WORDS in those that are not texts.
    """

    delimiter: str | None = None
    decimal: DecimalMark | None = None
    encoding: str | None = None
    missing: tuple[str, ...] = ()

    @property
    def words(self) -> frozenset[str]:
        """What is missing in a column of numbers, times or booleans, blanks around a cell apart."""
        return MISSING_WORDS | {word.strip() for word in self.missing}


USUAL: Final = ReadingRules()  # everything is found out
