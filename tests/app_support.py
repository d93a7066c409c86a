"""An install of an app in the shape of Wan's, and its checks called on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hardware_support import Given, Losses
from profile_texts import load
from support import make_context

from modelmedic.errors import Unhealthy

TI2V = load("wan2.2-ti2v-5b")

# In the shape of the app's own files; every word of it is ours.
GENERATE = """
import argparse
import torch
EXAMPLE_PROMPT = {"ti2v-5B": {"prompt": "Two cats: one stage?"}, "t2v-A14B": {"image": "x"}}
def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", type=str, default="t2v-A14B", choices=list(WAN_CONFIGS.keys()))
    parser.add_argument("--size", type=str, default="1280*720")
    for_all = parser.add_argument
    parser.add_argument("--offload_model", type=str2bool, default=None)
    parser.add_argument("--convert_model_dtype", action="store_true", default=False)
    parser.add_argument("--t5_cpu", action="store_true")
"""
CONFIGS = """
from .wan_t2v_A14B import t2v_A14B
WAN_CONFIGS = {"t2v-A14B": t2v_A14B, "ti2v-5B": ti2v_5B}
SUPPORTED_SIZES = {
    "t2v-A14B": ("720*1280", "1280*720", "480*832", "832*480"),
    "ti2v-5B": ("704*1280", "1280*704"),
}
"""


def write_app(place: Path, generate: str = GENERATE, configs: str = CONFIGS) -> None:
    (place / "wan" / "configs").mkdir(parents=True, exist_ok=True)
    (place / "generate.py").write_text(generate, encoding="utf-8")
    (place / "wan" / "configs" / "__init__.py").write_text(configs, encoding="utf-8")


class App:
    def __init__(self, place, profile=TI2V, given=None, **context):
        self.profile = profile
        self.context = make_context(place, profile, **context)
        self.facts = Given(self.context, given or {})
        self.losses, self.stated = Losses(), []

    def judge(self, check, **more):
        known = {
            "facts": self.facts, "profile": self.profile, "context": self.context,
            "degraded": self.losses, "stated": self.stated.append, **more,
        }  # fmt: skip
        wanted = check.__code__.co_varnames[: check.__code__.co_argcount]
        return check(**{name: known[name] for name in wanted})

    def failure(self, check, **more) -> Unhealthy:
        with pytest.raises(Unhealthy) as caught:
            self.judge(check, **more)
        assert caught.value.what
        assert caught.value.next_step
        return caught.value

    def skipped(self, check) -> str:
        with pytest.raises(pytest.skip.Exception) as caught:
            self.judge(check)
        return str(caught.value)
