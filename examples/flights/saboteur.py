"""A challenger that must lose: trained by retrain's own pipeline on partly shuffled labels, put in past the gate.

python -m examples.flights.saboteur ringside.toml
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from record.record import Record, open_record
from record.settings import Settings, load_settings
from retrain import gate
from retrain.card import write_card
from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.division import split
from retrain.evaluation.examination import examine
from retrain.evaluation.insight import LEAST_SECONDS, look_into
from retrain.mode import ModeDecision
from retrain.package import measure_latency_ms, package, prove_parity
from retrain.recipe import Recipe
from retrain.report.model_page import model_report
from retrain.search import search
from retrain.trials.trial import Limits

SHUFFLED = 0.6  # of the labels: enough to be worse, not so much that one look would tell
ACTOR = "saboteur"


def enter(settings: Settings, record: Record) -> str:
    """Registers the saboteur as the next version and returns its name."""
    logged = record.log.matured(record.clock.now(), settings.quality.label_horizon, late_labels=True)
    data = shuffled(load(settings, problem_schema(settings, None), logged), settings.retrain.seed)
    division = split(data, settings.retrain.holdout)
    learn, holdout = division.learn, division.holdout
    found = search(learn, ("gradient_boosting",), Limits(1, 60.0), settings.retrain.seed, lambda *_: None)
    recipe = Recipe(found.best.configuration, settings.retrain.seed)
    fitted = recipe.make(learn)
    judged = examine(fitted, learn, holdout, None, settings.promotion.scoring, settings.retrain.seed)
    insight = look_into(recipe.make, fitted, learn, holdout, judged, settings.retrain.seed, LEAST_SECONDS)
    final = recipe.make(data)
    stage = record.artifacts.stage()
    try:
        answers = np.full((len(data), data.classes), np.nan)
        answers[len(learn) :] = judged.candidate.scores
        model = package(stage, final, data, answers, settings.retrain.seed)
        parity = prove_parity(model, final, holdout, judged.target_sd)
        champion = record.registry.roles().champion
        card = write_card(
            settings,
            data,
            holdout,
            found,
            judged,
            gate.decide(finite=True, dummy=judged.dummy, champion=None),
            parity,
            latency_ms=measure_latency_ms(model, holdout.arrays.rows(0, 1)),
            read_until_seq=int(data.seqs.max()),
            parent=champion,
            chain_head=record.events.head(),
            economies=(),
            mode=ModeDecision("full", ("it only has to look like a model",)),
            as_of=None,
            features=(),
            searched={},
            findings=(),
            insight=insight,
        )
        page = model_report(card, judged, insight, data.schema.classes, settings.problem.target)
    except BaseException:
        record.artifacts.discard(stage)
        raise
    version = record.registry.register(
        stage,
        run_id=None,
        parent=champion,
        card=card,
        read_until_seq=int(data.seqs.max()),
        data_until=data.data_until,
        actor=ACTOR,
        named_files=lambda version: {"report.html": page.html(version).encode()},
    )
    return version.version


def shuffled(data: Dataset, seed: int) -> Dataset:
    """The same rows, with the labels of a share of them dealt out anew among themselves."""
    generator = np.random.default_rng(seed)
    chosen = np.flatnonzero(generator.random(len(data)) < SHUFFLED)
    target = data.target.copy()
    target[chosen] = target[generator.permutation(chosen)]
    return replace(data, target=target)


def main() -> None:
    settings = load_settings(Path(sys.argv[1]))
    record = open_record(settings, migrate=False)
    print(enter(settings, record))
    record.close()


if __name__ == "__main__":
    main()
