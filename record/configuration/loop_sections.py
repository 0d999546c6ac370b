"""The sections of ringside.toml that the loop goes by: what is watched, when a challenger is made, when it wins."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, get_args

from pydantic import Field

from record.configuration.setting_types import Count, Cron, Flag, Name, Real, Section, Several, Share
from record.configuration.units import Duration, PositiveDuration, Size

Family = Literal["linear", "random_forest", "extra_trees", "gradient_boosting", "lightgbm", "perceptron"]

FeatureStage = Literal["target_means", "crosses", "combinations", "ramps", "dates", "words"]

Notable = Literal[
    "drift_detected",
    "quality_declined",
    "concept_drift_detected",
    "labels_stopped",
    "labels_resumed",
    "retrain_started",
    "retrain_succeeded",
    "retrain_failed",
    "bout_decided",
    "approval_requested",
    "approval_reminded",
    "approval_expired",
    "model_promoted",
    "model_rolled_back",
]
NOTABLE: tuple[Notable, ...] = get_args(Notable)


SetAsideCheck = Literal["unit_slip", "column_swap", "constant", "type_failure", "missing", "out_of_range"]


class DriftSettings(Section):
    """Whether requests still look like what the champion was trained on."""

    every: PositiveDuration = Field(timedelta(minutes=15), description="How often it is measured.")
    decide_every: PositiveDuration = Field(
        timedelta(days=1), description="How often evidence is weighed: an alarm may be raised."
    )
    window: PositiveDuration = Field(timedelta(days=7), description="The requests that are looked at.")
    min_rows: Several = Field(1000, description="Requests in the window below which nothing is said.")
    false_alarms_per_quarter: Annotated[Real, Field(gt=0)] = Field(
        1, description="Alarms in 91 days that are accepted where nothing drifts."
    )
    triggers_retrain: Flag = Field(False, description="Whether drift alone asks for a retrain.")
    set_aside: tuple[SetAsideCheck, ...] = Field(
        ("unit_slip", "column_swap", "constant", "type_failure"),
        description="Checks of the data whose errors set requests aside: no evidence, and nothing learned from them.",
    )
    set_aside_for: PositiveDuration = Field(
        timedelta(days=30), description="An error that lasts as long is how the data are now, and counts again."
    )


class QualitySettings(Section):
    """Whether the champion's answers still hold against the labels."""

    label_horizon: PositiveDuration = Field(
        timedelta(days=1), description="A request counts, labelled or not, once it is this old."
    )
    every: PositiveDuration = Field(timedelta(days=1), description="How often it is measured.")
    window: PositiveDuration = Field(timedelta(days=30), description="The mature requests that are looked at.")
    min_labels: Several = Field(200, description="Labels in the window below which nothing is said.")
    tolerance: Annotated[Real, Field(ge=0)] = Field(
        0.05, description="The relative rise of the loss, by its lower bound, from which it is a decline."
    )
    alpha: Annotated[Real, Field(gt=0, lt=1)] = Field(
        0.05, description="The share of sound champions of which a decline is ever said, however often it is looked."
    )
    slices: tuple[Name, ...] = Field((), description="Columns whose every value (or quintile) is shown by itself.")
    min_slice_labels: Several = Field(100, description="Labels in a slice or a group below which it is not judged.")
    triggers_retrain: Flag = Field(True, description="Whether a decline asks for a retrain.")
    estimated_triggers_retrain: Flag = Field(
        True, description="Whether a decline that is only estimated, before labels, asks for a retrain."
    )


class RetrainSettings(Section):
    """How a challenger is made, and when."""

    budget: PositiveDuration = Field(timedelta(minutes=10), description="Time for the search.")
    trials: Several | None = Field(
        None, examples=[40], description="Trials of the search; they end it instead of the budget."
    )
    deadline: PositiveDuration | None = Field(
        None,
        examples=["40m"],
        description="A run is ended after it; else after three budgets and ten minutes.",
        validate_default=True,
    )
    memory_limit: Size = Field(
        4 * 10**9,
        examples=["4GB"],
        description='Memory of a run ("2GB"): from 70 % on it does with less, beyond it it is ended.',
    )
    seed: Count = Field(0, description="The one seed that is passed down.")
    families: tuple[Family, ...] = Field(get_args(Family), min_length=1, description="What the search may choose from.")
    features: tuple[FeatureStage, ...] = Field(
        get_args(FeatureStage),
        description='What the search may make of columns: "target_means" of categories, "crosses" of categories (with '
        'them), "combinations" of numbers for trees, "ramps" of numbers for lines, "dates": cycles and gaps of times, '
        '"words" of texts; none: []. Missing values and rare categories are always seen to.',
    )
    processes: Several = Field(2, description="Trials side by side, each on a core; the result is the same for any.")
    max_rows: Count = Field(0, description="The newest rows that are trained on; 0: all.")
    holdout: Annotated[Real, Field(gt=0, lt=0.9)] = Field(
        0.2, description="The newest part of the rows, held out to judge candidates."
    )
    max_latency_ms: Annotated[Real, Field(gt=0)] | None = Field(
        None, examples=[1.0], description="A candidate that takes longer for one record is refused."
    )
    mode: Literal["full", "refit", "incremental", "auto"] = Field(
        "full",
        description='"full": a search each time; "refit": the champion\'s recipe on new rows; "incremental": the '
        'champion goes on with new rows; "auto": by trigger and price.',
    )
    window: Literal["expanding", "recent", "weighted", "auto"] = Field(
        "expanding",
        description='All rows, those of window_length, or all with older ones counting less (half_life); "auto": what '
        "does best on the newest rows.",
    )
    window_length: PositiveDuration = Field(
        timedelta(days=180), description='With window = "recent": rows no older than this before the newest.'
    )
    half_life: PositiveDuration = Field(
        timedelta(days=90), description='With window = "weighted": the age at which a row counts half.'
    )
    schedule: Cron | None = Field(
        None, examples=["0 3 * * 1"], description='Cron, UTC: "0 3 * * 1" is Mondays at three.'
    )
    check_every: PositiveDuration = Field(timedelta(hours=1), description="How often triggers are weighed.")
    cooldown: Duration = Field(timedelta(days=1), description="No triggered run sooner after the last one.")
    max_per_day: Several = Field(4, description="Triggered runs in 24 hours, at most.")
    min_new_labels: Count = Field(100, description="No triggered run with fewer new labels than this.")
    max_age: PositiveDuration | None = Field(
        timedelta(days=90), description="A champion older than this asks for a retrain."
    )
    new_rows: Count = Field(0, description="So many new labelled rows ask for a retrain; 0: off.")
    on_change: Flag = Field(
        True, description="Whether another source, or other code or settings of training, asks for a retrain."
    )
    cost: Annotated[Real, Field(ge=0)] | None = Field(
        None, examples=[5.0], description="What one run costs, in your money; with value_of_loss, runs have to pay."
    )
    value_of_loss: Annotated[Real, Field(ge=0)] | None = Field(
        None,
        examples=[0.1],
        description="What one unit of loss on one request costs, in the same money; "
        "of a regression, an error of one unit of the target.",
    )
    payback: PositiveDuration = Field(
        timedelta(days=30), description="The requests to come in it are those on which a run has to pay."
    )


# "certain": what is certain to spoil a model is an error and stops the run, what only looks so is a warning.
GuardLevel = Literal["error", "certain", "warning", "off"]


class GuardSettings(Section):
    """What is looked for in a run's data: "error" stops it, "certain" where beyond doubt, "warning" never; "off"."""

    leakage: GuardLevel = Field("certain", description="Columns that know the target.")
    duplicates: GuardLevel = Field("certain", description="Rows held out that are learned from, too.")
    constant: GuardLevel = Field("warning", description="Columns with one value.")
    identifier: GuardLevel = Field("warning", description="Columns that name the row.")
    label_noise: GuardLevel = Field("warning", description="Signs that labels are not what they seem.")
    class_size: GuardLevel = Field("certain", description="Classes with too few rows.")
    target_drift: GuardLevel = Field("certain", description="Newest targets unlike those before.")
    representation: GuardLevel = Field(
        "certain", description="Groups (problem.protected, quality.slices) rarer than in the population."
    )
    population: dict[Name, dict[Name, Share]] = Field(
        {},
        examples=[{"sex": {"female": 0.51, "male": 0.49}}],
        description="Groups' shares in the population of a column; else they are those of the requests.",
    )

    def levels(self) -> dict[str, GuardLevel]:
        """Of every guard, by its name."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "population"}


class PromotionSettings(Section):
    """When a challenger wins."""

    mode: Literal["auto", "approve"] = Field("auto", description='"approve": a person has the last word.')
    approvers: tuple[Name, ...] = Field(
        (),
        examples=[["ada", "grace"]],
        description="Who may promote by hand: tokens' names, and on the command line users' names; none named: every "
        "operator.",
    )
    approve_within: PositiveDuration | None = Field(
        None, examples=["7d"], description="An approval is waited for so long; else without end."
    )
    on_expiry: Literal["inconclusive", "reject", "promote"] = Field(
        "inconclusive", description="What becomes of a won bout that nobody approved in time."
    )
    alpha: Annotated[Real, Field(gt=0, lt=1)] = Field(
        0.05, description="The share of equal challengers that may be crowned by chance."
    )
    margin: Annotated[Real, Field(ge=0, lt=1)] = Field(
        0.0, description="How much worse (in scaled loss) a challenger may be and still win."
    )
    loss: Literal["brier", "zero_one", "log", "cost", "absolute"] = Field(
        "brier",
        description='Classification: "brier", "zero_one", "log", or "cost": what each version\'s decision at its own '
        "threshold costs (the default where problem.false_positive_cost and false_negative_cost differ); regression: "
        '"absolute" (its default).',
    )
    every: PositiveDuration = Field(timedelta(minutes=1), description="How often a bout is looked at.")
    min_pairs: Several = Field(200, description="Labelled requests, at least, before a promotion.")
    min_duration: Duration = Field(timedelta(0), description="A bout's length, at least, before a promotion.")
    slice_tolerance: Annotated[Real, Field(ge=0, lt=1)] = Field(
        0.02,
        description="How much worse (in scaled loss) a challenger may be in a slice (quality.slices) or a protected "
        "group; where it is shown to be worse by more, it is not promoted.",
    )
    min_coverage: Share = Field(
        0.8, description="Share of mature requests with a label, at least; 1.5 standard errors less will do."
    )
    deadline: PositiveDuration = Field(
        timedelta(days=30), description="A bout undecided so long after its first labels matured is inconclusive."
    )
    family_window: PositiveDuration = Field(
        timedelta(days=90), description="Bouts in it against one champion version share alpha."
    )
    cycle: Literal["auto", "none", "day", "week"] = Field(
        "auto",
        description='Evidence is read at whole days or weeks only, so that no season decides; "auto": where the log '
        "shows such a cycle.",
    )
    rollback_watch: Count = Field(5000, description="Labelled requests on which a new champion is on probation.")
    max_challengers: Several = Field(3, description="Open bouts at one time.")
    sampling: Annotated[Real, Field(gt=0, le=1)] = Field(1.0, description="Share of requests (by id) that count.")
    max_failure_rate: Annotated[Real, Field(gt=0, lt=1)] = Field(
        0.05, description="Failed requests' share from which a challenger is rejected."
    )
    latency_limit_ms: Annotated[Real, Field(gt=0)] = Field(
        50.0, description="A challenger's answer that takes longer counts as slow."
    )

    @property
    def scoring(self) -> Literal["brier", "zero_one", "log", "absolute"]:
        """The loss by which the gate and the quality checks judge: of decisions that cost, the probabilities behind."""
        return "brier" if self.loss == "cost" else self.loss


class WatchSettings(Section):
    """The watcher process."""

    heartbeat: PositiveDuration = Field(timedelta(seconds=5), description="How often it says that it lives.")
    lease: PositiveDuration = Field(timedelta(seconds=30), description="How long others wait for a silent leader.")


class NotifySettings(Section):
    """Whom to tell."""

    urls: tuple[Name, ...] = Field(
        (), description="Apprise URLs: mail, Slack, a webhook and the rest. They hold secrets, and are never logged."
    )
    events: tuple[Notable, ...] = Field(NOTABLE, description="The kinds of events that are told.")
    every: Duration = Field(
        timedelta(days=1), description="One kind of event about one version is told once in it; 0: each time."
    )
    timeout: PositiveDuration = Field(timedelta(seconds=10), description="A message is given up, and tried again.")


class TrackingSettings(Section):
    """Where runs are also written down."""

    mlflow_uri: Annotated[str, Field(pattern=r"^https?://[^/\s]+")] | None = Field(
        None,
        examples=["http://127.0.0.1:5000"],
        description="An MLflow tracking server: runs, models and their aliases are written there, too.",
    )
    timeout: PositiveDuration = Field(
        timedelta(seconds=10), description="A silent MLflow server is given up after it, and tried again."
    )
