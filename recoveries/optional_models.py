"""Repairs that let a model go."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.context import Context
from modelmedic.healing.registry import recovery
from modelmedic.healing.repair import Repair
from modelmedic.strategies import optional_models


@recovery("model_validation", order=90, risk="destructive", limit="quick_repair")
def skip_optional_model(repair: Repair, context: Context) -> Iterator[None]:
    """Leave an optional model out; the app can do less, and every report says so.

    Changes: the file modelmedic-left-out.json of the install; no model file.
    Undo: takes the record away, so that the model is asked for again.
    Needs: `optional = true` of the model in the profile; --allow=destructive or --heal=ask.
    """
    for operation in optional_models.plan_skip(context, repair.need_subject()):
        repair.step(operation)
    yield
