"""Code of an app like Wan's, to be read by its syntax."""

from __future__ import annotations

from pathlib import Path

# The shape of Wan 2.2 at 42bf4cf: a package that imports every task, whatever is run.
WAN = {
    "generate.py": """
import argparse
import torch, torch.distributed as dist
from PIL import Image
import wan
from wan.configs import SIZES
if __name__ == "__main__":
    import only_when_started
""",
    "wan/__init__.py": "from . import configs, distributed\nfrom .speech2video import WanS2V\n",
    "wan/configs/__init__.py": "SIZES = {}\n",
    "wan/distributed/fsdp.py": "import never_loaded\n",
    "wan/speech2video.py": """
from decord import VideoReader
import librosa
from .modules.model import WanModel
class WanS2V:
    def run(self):
        import inside_a_function
""",
    "wan/modules/__init__.py": "",
    "wan/modules/attention.py": """
import torch
try:
    import flash_attn
except ModuleNotFoundError:
    flash_attn = None
def flash_attention(q, k, v):
    assert flash_attn
def attention(q, k, v):
    return flash_attention(q, k, v)
""",
    "wan/modules/model.py": """
import torch.nn as nn
from .attention import flash_attention
class WanModel(nn.Module):
    def forward(self, q):
        return flash_attention(
            q, q, q)
""",
    "scripts/unrelated.py": "import not_of_the_start\n",
}


def write(place: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return place
