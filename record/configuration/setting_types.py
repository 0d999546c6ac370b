"""What the values of settings are made of, and how strictly they are taken."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _flag(value: Any) -> Any:
    """True and false only (as words, from the environment): a 0 or a "yes" is more often a slip than a wish."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number")
    return value


_CRON_FIELD = re.compile(r"[\d*/,\-]+|[\d*/,\-a-zA-Z]+")


def _cron(value: str) -> str:
    fields = value.split()
    if len(fields) != 5 or not all(_CRON_FIELD.fullmatch(field) for field in fields):
        raise ValueError('five cron fields (minute hour day month weekday), such as "0 3 * * 1"')
    return value


_ORIGIN = re.compile(r"\*|https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:.]+\](:\d{1,5})?")


def _origin(value: str) -> str:
    if not _ORIGIN.fullmatch(value.lower()):
        raise ValueError('"*" or an origin without a path, such as "https://app.example.com"')
    return value.lower()


# A slash begins another path, a question mark a query, a hash a fragment, and a percent sign an escape.
_NOT_IN_A_PATH = re.compile(r"[/\\?#%]|^\.|^\s|\s$")
_LONGEST_PATH_PART = 200


def _path_part(value: str) -> str:
    if _NOT_IN_A_PATH.search(value) or not value.isprintable() or len(value) > _LONGEST_PATH_PART:
        nearest = json.dumps(as_path_part(value), ensure_ascii=False)
        raise ValueError(
            f"a name that can stand in the path of a URL: at most {_LONGEST_PATH_PART} printable characters, none of "
            f"them / \\ ? # or %, no dot in front, no space at the ends, such as {nearest}"
        )
    return value


def as_path_part(text: str) -> str:
    """The text with what `PathPart` refuses replaced by hyphens; "ringside" where nothing else is left."""
    kept = "".join(char if char.isprintable() and not _NOT_IN_A_PATH.search(f"a{char}a") else "-" for char in text)
    return kept.strip(" .-")[:_LONGEST_PATH_PART].strip() or "ringside"


Flag = Annotated[bool, BeforeValidator(_flag)]
Count = Annotated[int, BeforeValidator(_number), Field(ge=0)]
Several = Annotated[int, BeforeValidator(_number), Field(ge=1)]
Real = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Share = Annotated[Real, Field(ge=0, le=1)]
Cron = Annotated[str, AfterValidator(_cron)]
Origin = Annotated[str, AfterValidator(_origin)]
Name = Annotated[str, Field(min_length=1)]
PathPart = Annotated[Name, AfterValidator(_path_part)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
