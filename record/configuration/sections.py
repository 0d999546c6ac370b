"""The sections of ringside.toml that serving goes by: every key with its default, its bounds, and what it is for."""

from __future__ import annotations

import codecs
import json
import socket
import tomllib
import unicodedata
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, SecretStr, TypeAdapter, ValidationError

from record.configuration.setting_types import Flag, Name, Origin, PathPart, Real, Section, Several
from record.configuration.units import PositiveDuration, Size
from record.contract.columns import ColumnType, Role
from record.contract.schema import canonical_class
from record.errors import SettingsError
from record.tables.reading_rules import DecimalMark, ReadingRules

SHORTEST_KEY_BYTES = 32

TokenRole = Literal["predict", "label", "alert", "read", "operate"]


class ProblemSettings(Section):
    """What is predicted."""

    name: PathPart = Field(
        "ringside", description="The problem's name, shown on dashboards and reports, and a part of URLs."
    )
    task: Literal["classification", "regression"] = Field(description="What kind of answer the model gives.")
    target: Name = Field(description="The source's column that is predicted, and that labels bring.")
    unit: Name | None = Field(None, examples=["EUR"], description="The target's unit, as pages show it.")
    time_column: Name | None = Field(
        None, examples=["scheduled_at"], description="Orders the source's rows; they are split by it."
    )
    time_features: Flag = Field(
        True,
        description="Whether the calendar of `time_column`, and what lies between it and other times, may be fed to "
        "models where requests carry it as a feature; false: it only orders rows.",
    )
    id_column: Name | None = Field(
        None, examples=["order_id"], description="Names the source's rows; never fed to a model."
    )
    entity_column: Name | None = Field(
        None,
        examples=["customer"],
        description="Says who or what a row is about, where one comes again: evidence counts each of them once, "
        "intervals count by it, and none is both learned from and judged on.",
    )
    positive_class: str | int | bool | None = Field(
        None, examples=["yes"], description="Of two classes, the one that is looked for."
    )
    false_positive_cost: Annotated[Real, Field(gt=0)] = Field(
        1,
        description="What it costs to take another row for the positive class, beside `false_negative_cost`; "
        "where they differ, a version answers from the probability on that costs least.",
    )
    false_negative_cost: Annotated[Real, Field(gt=0)] = Field(
        1, description="What it costs to miss a row of the positive class."
    )
    protected: tuple[Name, ...] = Field((), description="Columns to judge fairness by; never fed to a model.")

    def positive_text(self) -> str | None:
        """The positive class as models know it: its text, in NFC."""
        held = self.positive_class
        return None if held is None else unicodedata.normalize("NFC", canonical_class(held))


class ColumnSettings(Section):
    """One column of the records that applications send."""

    role: Role = Field("feature", description='"feature" is fed to models; "carried" is only logged.')
    type: ColumnType = Field(description='"number", "category", "time" (ISO 8601) or "text" (carried only).')
    required: Flag = Field(True, description="Whether every record must have it (null is allowed in any case).")
    arrival: Flag = Field(
        False,
        description="Fill a time column with the request's arrival time where a request has no value. "
        "One column at most; optional in requests.",
    )
    unit: Name | None = Field(None, examples=["km"], description="The unit of its values, as pages show it.")


def _known_encoding(name: str) -> str:
    try:
        codec = codecs.lookup(name)
    except LookupError:
        codec = None
    if codec is None or not getattr(codec, "_is_text_encoding", True):
        raise ValueError('an encoding of texts, such as "utf-8", "cp1252" or "utf-16"')
    return codec.name


class DataSettings(Section):
    """What models are trained on, besides what was logged and labelled."""

    source: str | None = Field(
        None,
        examples=["history.parquet"],
        description="File or glob of CSV/Parquet, or an SQLAlchemy URL (with `query`).",
    )
    query: str | None = Field(
        None,
        examples=["SELECT * FROM history"],
        description="The SQL that reads the source's rows, when it is a database.",
    )
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None, examples=[";"], description="Between a text file's fields; else found out: a comma, ;, | or a tab."
    )
    decimal: DecimalMark | None = Field(
        None, examples=[","], description="The decimal mark of a text file's numbers; else found out."
    )
    encoding: Annotated[str, AfterValidator(_known_encoding)] | None = Field(
        None, examples=["cp1252"], description="Of text files; else found out: UTF-8, UTF-16, or Windows-1252."
    )
    missing: tuple[str, ...] = Field(
        (), examples=[["?"]], description="Words of text files for a missing value, in every column."
    )
    include_labelled_log: Flag = Field(True, description="Train on logged requests whose labels came, too.")
    include_set_aside: Flag = Field(
        False, description="Train on rows of a broken feed, too, which the data checks set aside (`drift.set_aside`)."
    )

    def reading_rules(self) -> ReadingRules:
        """What is set of how text files are read."""
        return ReadingRules(self.delimiter, self.decimal, self.encoding, self.missing)


class StoreSettings(Section):
    """Where the record and the models are kept."""

    database: str = Field("sqlite:///.ringside/record.db", description="SQLAlchemy URL: SQLite or PostgreSQL.")
    artifacts: Path = Field(Path(".ringside/artifacts"), description="The folder of model versions and reports.")
    key_file: Path | None = Field(
        None,
        examples=["/etc/ringside/record.key"],
        description="The secret that digests of requests are keyed by, the same on every host; else record.key in the "
        "artifacts' folder, made at the first start.",
    )
    key: SecretStr | None = Field(
        None,
        examples=[""],
        description="That secret itself; give it by the environment: RINGSIDE_STORE__KEY.",
    )


class AuditSettings(Section):
    """What makes the audit trail provable to somebody who does not trust the database."""

    anchor_file: Path | None = Field(
        None,
        examples=["/var/log/ringside/heads.jsonl"],
        description="The trail's head is appended to this file each hour; best on another machine or a medium that "
        "only grows.",
    )
    signing_key_file: Path | None = Field(
        None,
        examples=["/etc/ringside/signing.key"],
        description="Events are signed with this secret (HMAC-SHA256), at least 32 bytes that the database's "
        "administrators cannot read.",
    )

    def read_signing_key(self) -> bytes | None:
        """None where no file is set; SettingsError where it holds no key."""
        if self.signing_key_file is None:
            return None
        try:
            key = self.signing_key_file.read_bytes().strip()
        except OSError as error:
            reason = error.strerror or "cannot be read"
            raise SettingsError(
                f"audit.signing_key_file: {self.signing_key_file}: {reason}", field="audit.signing_key_file"
            ) from error
        if len(key) < SHORTEST_KEY_BYTES:
            raise SettingsError(
                f"audit.signing_key_file: {self.signing_key_file} holds {len(key)} bytes; expected at least "
                f"{SHORTEST_KEY_BYTES}, as from `openssl rand -hex 32`",
                field="audit.signing_key_file",
            )
        return key


class ClockSettings(Section):
    """Whose time counts."""

    source: Literal["system", "requests"] = Field(
        "system", description='"requests": time is what the Ringside-Time header says (loopback only; for replays).'
    )


# Who acts in events without a token: a caller of such a name could pass for the program itself.
RESERVED_NAMES: Final = ("watcher", "service", "retrain", "local", "anonymous")


def _own_name(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name)
    if "".join(letter for letter in plain if letter.isprintable()).strip().casefold() in RESERVED_NAMES:
        raise ValueError(f"another name: {', '.join(RESERVED_NAMES)} are Ringside's own in the audit trail")
    return name


def _written_time(value: Any) -> Any:
    if not isinstance(value, str | datetime) or (isinstance(value, str) and value.isdecimal()):
        raise ValueError('a time with its offset, such as "2027-01-31T00:00:00Z"')
    return value


Rate = Annotated[Real, Field(gt=0)]


class Token(Section):
    """A caller: the name is the actor in events, the hash is of the bearer token, which counts until it expires."""

    name: Annotated[Name, Field(max_length=100), AfterValidator(_own_name)]
    roles: tuple[TokenRole, ...] = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    expires_at: Annotated[AwareDatetime, BeforeValidator(_written_time)] | None = Field(
        None, description='After it the token is refused: a time with its offset, such as "2027-01-31T00:00:00Z".'
    )
    requests_per_second: Rate | None = Field(None, description="Requests that it may send; serve's where it has none.")
    rows_per_second: Rate | None = Field(None, description="Records, labels and alerts that it may send.")


_TOKENS = TypeAdapter(tuple[Token, ...])


def parse_tokens(held: Any) -> tuple[Token, ...]:
    """The tokens of a file: a list of them, or a table whose key `tokens` is one. ValueError or KeyError otherwise."""
    return _TOKENS.validate_python(held["tokens"] if isinstance(held, dict) else held)


class ServeSettings(Section):
    """The prediction service."""

    host: Name = Field("127.0.0.1", description="An IP address, or a name that has one; any but loopback needs tokens.")
    port: Annotated[Several, Field(le=65535)] = Field(3000, description="The service's TCP port.")
    workers: Several = Field(2, description="Serving processes.")
    max_batch: Several = Field(10_000, description="Records in one request, at most.")
    max_body_mb: Several = Field(16, description="Megabytes (1,000,000 bytes) of one request's body, at most.")
    requests_per_second: Rate | None = Field(
        None,
        examples=[50],
        description="Requests that each token may send, over all workers; further ones are refused with 429.",
    )
    rows_per_second: Rate | None = Field(
        None, examples=[20000], description="Records, labels and alerts that each token may send, over all workers."
    )
    max_text: Several = Field(10_000, description="Characters of a text or a category in a request, at most.")
    max_concurrency: Several = Field(256, description="Requests under way per worker; further ones are refused.")
    request_timeout: PositiveDuration = Field(timedelta(seconds=10), description="A request is given up after it.")
    model_memory: Size = Field(
        2_000_000_000,
        description=(
            "What models may take for tensors in each worker, shadow and explanation, in loading and in answering, "
            "all together."
        ),
    )
    load_timeout: PositiveDuration = Field(
        timedelta(seconds=60), description="A model that takes longer to load is refused; the one before goes on."
    )
    keep_alive: PositiveDuration = Field(
        timedelta(seconds=75), description="How long a connection stays open between two requests."
    )
    cors_origins: tuple[Origin, ...] = Field(
        (),
        examples=[["https://app.example.com"]],
        description='Pages of these origins may call from a browser; "*" for all, with tokens only.',
    )
    refresh: PositiveDuration = Field(
        timedelta(milliseconds=250), description="How often a worker looks for a new champion."
    )
    tokens: tuple[Token, ...] | Path = Field(
        (),
        description="Who may call: [{name, roles, sha256}], with `expires_at` if it ends, or the path of a TOML or "
        "JSON file of them, which is read again when it changes.",
    )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        try:
            return ip_address(self.address()).is_loopback
        except (SettingsError, ValueError):
            return False

    def address(self) -> str:
        """The host as an IP address; a name is resolved. SettingsError where it has none.

        Of several addresses the first of version 4 is taken, else the first: one service listens on one.
        """
        try:
            return str(ip_address(self.host))
        except ValueError:
            if self.host == "localhost":
                return "127.0.0.1"
        try:
            found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "not a name"
            raise SettingsError(
                f"serve.host: {self.host!r} cannot be resolved ({reason}); expected an IP address of this machine, "
                "or a name that has one, such as 127.0.0.1, 0.0.0.0 or localhost",
                field="serve.host",
            ) from None
        addresses = [str(held[4][0]) for held in sorted(found, key=lambda held: held[0] != socket.AF_INET)]
        return addresses[0]

    def read_tokens(self) -> tuple[Token, ...]:
        """The tokens, read from their file if they are in one; SettingsError says what is wrong with it."""
        if not isinstance(self.tokens, Path):
            return self.tokens
        try:
            text = self.tokens.read_text(encoding="utf-8")
            return parse_tokens(json.loads(text) if self.tokens.suffix == ".json" else tomllib.loads(text))
        except OSError as error:
            reason = error.strerror or "cannot be read"
        except ValidationError as error:  # its text would show what was read, and that may be a secret
            reason = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        except (ValueError, KeyError) as error:
            reason = f"not TOML or JSON with a list `tokens` ({error.__class__.__name__})"
        raise SettingsError(
            f"serve.tokens: {self.tokens}: {reason}; expected [{{name, roles, sha256}}]", field="serve.tokens"
        )

    def require_tokens(self) -> None:
        """Raises SettingsError where others than this machine could call without a token."""
        if not self.loopback and not self.read_tokens():
            raise SettingsError(
                f'serve.tokens: none, but serve.host is "{self.host}"; expected at least one token '
                "({name, roles, sha256}) on any address but loopback",
                field="serve.tokens",
            )
        if "*" in self.cors_origins and not self.read_tokens():
            raise SettingsError(
                'serve.cors_origins: "*" lets every page call a service without tokens; expected origins, such as '
                '"https://app.example.com", or tokens',
                field="serve.cors_origins",
            )


class LogSettings(Section):
    """The prediction log."""

    durability: Literal["commit", "fsync", "async"] = Field(
        "commit", description="An answer waits for the commit, for the disk too, or for neither."
    )
    on_failure: Literal["refuse", "serve"] = Field(
        "refuse", description="What happens to predictions while the log cannot be written."
    )
    patience: PositiveDuration = Field(
        timedelta(seconds=5), description="How long an answer waits for the log, before on_failure counts."
    )
    id_window: PositiveDuration = Field(timedelta(days=30), description="Ids are unique within it.")
    retention: PositiveDuration | None = Field(
        None, examples=["365d"], description="Logged requests are forgotten after it."
    )
    archive: bool = Field(
        False,
        description="Labelled requests that retention takes out of the log are kept as Parquet files, without their "
        "ids, beside the artifacts, and learned from.",
    )
    redact: tuple[Name, ...] = Field((), description="Carried columns that are not written to the log.")
