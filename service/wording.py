"""A model's scores as the JSON that goes out, into the log, and beside it."""

from __future__ import annotations

import json

from service.champion import Scores
from service.schema import Schema, native_class


class Wording:
    """Words the answers of one version. What is the same in every answer is made once."""

    def __init__(self, schema: Schema) -> None:
        self._classes = [
            json.dumps(native_class(name, schema.class_type), ensure_ascii=False) for name in schema.classes
        ]
        keys = [json.dumps(name, ensure_ascii=False) for name in schema.classes]
        self._template = "{" + ",".join(f"{key.replace('%', '%%')}:%r" for key in keys) + "}"

    def texts(self, scores: Scores) -> list[tuple[str, str | None]]:
        """For each row the prediction (a JSON scalar), and {class: probability} for a classification, else None.

        Numbers are written with all the digits that tell them apart.
        """
        if scores.probabilities is None:
            return [(repr(value), None) for value in scores.raw.tolist()]
        classes, template = self._classes, self._template
        rows = scores.probabilities.tolist()
        places = scores.predicted().tolist()
        return [(classes[place], template % tuple(row)) for place, row in zip(places, rows, strict=True)]
