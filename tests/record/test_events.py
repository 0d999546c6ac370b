"""The kinds of events, and what their data may hold."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from record.canonical import canonical_json, plain
from record.events import KINDS

START = datetime(2013, 3, 1, tzinfo=UTC)


def test_every_kind_of_the_contract_is_there() -> None:
    """The kinds are the contract's, each once."""
    contract = (
        "drift_checked, drift_detected, quality_declined, retrain_requested, retrain_declined, retrain_started, "
        "retrain_succeeded, retrain_failed, model_registered, bout_opened, bout_decided, bout_voided, "
        "model_promoted, model_rejected, model_unbarred, model_rolled_back, alert_received, settings_changed, "
        "access_refused, approval_requested, approval_reminded, approval_withdrawn, approval_expired, "
        "quality_checked, concept_drift_detected, labels_stopped, labels_resumed, notification_sent, "
        "records_refused, retrain_resumed, retrain_progressed, tokens_changed, signing_started, "
        "feed_broken, feed_mended, key_replaced"
    )
    assert sorted(KINDS) == sorted(contract.split(", "))


def test_plain_values() -> None:
    """NumPy's numbers, times, NaN and infinity come out as JSON; what JSON cannot say is refused."""
    given = {"a": np.float64("nan"), "b": np.arange(2), "c": START, "d": math.inf, 3: {"z", "y"}, "t": "a\x00\ud800"}
    text = canonical_json(plain(given))
    assert text == '{"3":["y","z"],"a":null,"b":[0,1],"c":"2013-03-01T00:00:00Z","d":"Infinity","t":"a�?"}'
    with pytest.raises(TypeError, match="object"):
        plain(object())
