"""MLflow's REST interface, as far as Ringside speaks it: plain HTTP, none of MLflow's own code.

Its Python client would bring fifty packages, cloudpickle among them, for these twenty calls. What is written here
is documented at https://mlflow.org/docs/latest/api_reference/rest-api.html; artifacts go through the server's proxy
(`/api/2.0/mlflow-artifacts`, on by default).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self
from urllib.parse import quote

import httpx

from record.errors import RingsideError, Unavailable

API = "api/2.0/mlflow/"
PROXIED = "mlflow-artifacts:"
# The server's limits for one log-batch: so many values altogether, and so many parameters.
MOST_METRICS = 1000
MOST_PARAMS = 100
MOST_TAGS = 100
# In these answers the request may be right: sent again later, it may be taken.
AWAY = frozenset({401, 403, 408, 425, 429})


class MlflowAway(Unavailable):
    """No answer, or one that says nothing about what was sent."""


class MlflowRefused(RingsideError):
    """The server's word that what was sent cannot be used; `code` is its own."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class MlflowRun:
    run_id: str
    artifact_uri: str
    tags: Mapping[str, str]

    @property
    def proxied(self) -> bool:
        """Whether the server takes its artifacts over HTTP; else they lie where only MLflow's clients can write."""
        return self.artifact_uri.startswith(PROXIED)

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Self:
        info, tags = held["info"], held.get("data", {}).get("tags", [])
        return cls(info["run_id"], info["artifact_uri"], {tag["key"]: tag["value"] for tag in tags})


@dataclass(frozen=True, slots=True)
class Metric:
    """`at` in milliseconds since 1970. The same metric sent twice is one."""

    key: str
    value: float
    at: int
    step: int = 0


class MlflowServer:
    """One server. Every call raises MlflowAway or MlflowRefused, within the timeout for each step of the exchange."""

    def __init__(self, uri: str, timeout_seconds: float) -> None:
        self._uri = uri.rstrip("/") + "/"
        self._timeout_seconds = timeout_seconds
        self._opened: httpx.Client | None = None

    def close(self) -> None:
        """Ends the connection; the next call makes another."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def _client(self) -> httpx.Client:
        if self._opened is None:
            self._opened = httpx.Client(
                base_url=self._uri, timeout=self._timeout_seconds, headers=_authorization(), auth=_credentials()
            )
        return self._opened

    def experiment(self, name: str) -> tuple[str, dict[str, str]]:
        """The experiment's id and tags; it is made where there is none."""
        try:
            found = self._get("experiments/get-by-name", experiment_name=name)["experiment"]
        except MlflowRefused as refused:
            if refused.code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return str(self._post("experiments/create", {"name": name})["experiment_id"]), {}
        return str(found["experiment_id"]), {tag["key"]: tag["value"] for tag in found.get("tags", [])}

    def tag_experiment(self, experiment: str, key: str, value: str) -> None:
        self._post("experiments/set-experiment-tag", {"experiment_id": experiment, "key": key, "value": value})

    def find_run(self, experiment: str, tags: Mapping[str, str]) -> MlflowRun | None:
        """The run that has these tags, whose values hold no quotes."""
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        found = self._post("runs/search", {"experiment_ids": [experiment], "filter": wanted, "max_results": 1})
        return next((MlflowRun.from_json(run) for run in found.get("runs", [])), None)

    def create_run(self, experiment: str, name: str, tags: Mapping[str, str], started_at: int) -> MlflowRun:
        body = {"experiment_id": experiment, "run_name": name, "start_time": started_at, "tags": _pairs(tags)}
        return MlflowRun.from_json(self._post("runs/create", body)["run"])

    def log(
        self, run: MlflowRun, params: Mapping[str, str], metrics: Sequence[Metric], tags: Mapping[str, str]
    ) -> None:
        """May be repeated: the same parameters, metrics and tags are there once."""
        for some in _chunks(_pairs(params), MOST_PARAMS):
            self._post("runs/log-batch", {"run_id": run.run_id, "params": some})
        values = [{"key": m.key, "value": m.value, "timestamp": m.at, "step": m.step} for m in metrics]
        for some in _chunks(values, MOST_METRICS):
            self._post("runs/log-batch", {"run_id": run.run_id, "metrics": some})
        for some in _chunks(_pairs(tags), MOST_TAGS):
            self._post("runs/log-batch", {"run_id": run.run_id, "tags": some})

    def end_run(self, run: MlflowRun, status: str, ended_at: int) -> None:
        self._post("runs/update", {"run_id": run.run_id, "status": status, "end_time": ended_at})

    def upload(self, run: MlflowRun, path: str, content: bytes) -> None:
        """Puts a file among the run's artifacts, over one that is there; only where they are `proxied`."""
        place = httpx.URL(run.artifact_uri).path.strip("/")
        self._call("PUT", f"api/2.0/mlflow-artifacts/artifacts/{quote(f'{place}/{path}')}", content=content)

    def model_aliases(self, name: str) -> dict[str, str] | None:
        """The registered model's aliases → MLflow's version; None where there is no such model."""
        try:
            held = self._get("registered-models/get", name=name)["registered_model"]
        except MlflowRefused as refused:
            if refused.code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return {alias["alias"]: alias["version"] for alias in held.get("aliases", [])}

    def create_model(self, name: str) -> None:
        self._post("registered-models/create", {"name": name})

    def model_versions(self, name: str) -> dict[str, dict[str, str]]:
        """All of MLflow's versions of the model → their tags."""
        held: dict[str, dict[str, str]] = {}
        query = {"filter": "name = '{}'".format(name.replace("'", "")), "max_results": "1000"}
        while True:
            page = self._get("model-versions/search", **query)
            for version in page.get("model_versions", []):
                if version["name"] == name:
                    held[version["version"]] = {tag["key"]: tag["value"] for tag in version.get("tags", [])}
            if not page.get("next_page_token"):
                return held
            query["page_token"] = page["next_page_token"]

    def create_version(self, name: str, run: MlflowRun, folder: str, tags: Mapping[str, str], description: str) -> None:
        """A version of the registered model from a folder of the run's artifacts."""
        body = {"name": name, "source": f"{run.artifact_uri}/{folder}", "run_id": run.run_id, "tags": _pairs(tags)}
        self._post("model-versions/create", body | {"description": description})

    def tag_version(self, name: str, version: str, key: str, value: str) -> None:
        self._post("model-versions/set-tag", {"name": name, "version": version, "key": key, "value": value})

    def set_alias(self, name: str, alias: str, version: str) -> None:
        self._post("registered-models/alias", {"name": name, "alias": alias, "version": version})

    def delete_alias(self, name: str, alias: str) -> None:
        self._call("DELETE", f"{API}registered-models/alias", json={"name": name, "alias": alias})

    def _get(self, method: str, **query: str) -> Any:
        return self._call("GET", API + method, params=query).json()

    def _post(self, method: str, body: Mapping[str, Any]) -> Any:
        return self._call("POST", API + method, json=body).json()

    def _call(self, method: str, path: str, **sent: Any) -> httpx.Response:
        """The answer, where it says yes. Neither the address nor the answer's text is told: both may hold secrets."""
        what = path.removeprefix(API).partition("/artifacts/")[0]
        try:
            answer = self._client.request(method, path, **sent)
        except httpx.HTTPError as error:
            raise MlflowAway(f"MLflow does not answer ({type(error).__name__} at {what})") from None
        if answer.is_success:
            return answer
        if answer.status_code in AWAY or answer.status_code >= 500 or not answer.is_client_error:
            raise MlflowAway(f"MLflow answers {answer.status_code} at {what}")
        code = _error_code(answer)
        raise MlflowRefused(f"MLflow refuses {what}: {answer.status_code} {code}", code)


def _error_code(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error_code"])[:60]
    except (ValueError, KeyError, TypeError):
        return "no reason given"


def _authorization() -> dict[str, str]:
    """As MLflow's own clients: a token in MLFLOW_TRACKING_TOKEN."""
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _credentials() -> tuple[str, str] | None:
    """As MLflow's own clients; without them, those in the address."""
    name, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    return (name, password) if name and password else None


def _pairs(held: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in held.items()]


def _chunks(values: Sequence[Any], most: int) -> Iterator[list[Any]]:
    rest = iter(values)
    while some := list(islice(rest, most)):
        yield some
