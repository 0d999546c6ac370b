"""Makes a shadow's scorer ill, as the file named by RINGSIDE_BENCH_ILLNESS says: raise, nan, leak, or nothing.

Python imports this at start where its folder is on PYTHONPATH; every process but the shadow leaves it at once.
"""

from __future__ import annotations

import os
import sys

if "monitoring.shadow" in sys.orig_argv:
    import dataclasses
    from pathlib import Path

    from monitoring.bouts.shadow_scorer import ShadowScorer

    sound = ShadowScorer.__init__
    leaked = []

    class IllScorer:
        """At the port of the challenger's scorer."""

        def __init__(self, scorer):
            self._scorer = scorer

        def __getattr__(self, name):
            return getattr(self._scorer, name)

        def score(self, arrays):
            illness = Path(os.environ["RINGSIDE_BENCH_ILLNESS"]).read_text()
            if illness == "raise":
                raise RuntimeError("the challenger is ill")
            scores = self._scorer.score(arrays)
            if illness == "nan":
                scores.raw[:] = float("nan")
            if illness == "leak":
                leaked.append(bytearray(b"x" * 4_000_000))
            return scores

    def ill(self, model, *rest):
        sound(self, dataclasses.replace(model, scorer=IllScorer(model.scorer)), *rest)

    ShadowScorer.__init__ = ill
