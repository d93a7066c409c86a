"""The shipped profiles, their JSON Schema, and the guide to them."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import jsonschema
import pytest
from profile_texts import FILES, SHIPPED, load, write
from support import CHECKOUT, child_env

from modelmedic import rooms
from modelmedic.profile.documents import tomllib
from modelmedic.profile.fields import DOCUMENT
from modelmedic.profile.loader import available, describe
from modelmedic.profile.schema import profile_schema
from modelmedic.testing.specimens import demo_manifest

# ---------------------------------------------------------------- shipped profiles


def test_the_shipped_profiles_are_these():
    assert available() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_loads_and_is_named_like_its_file(name):
    profile = load(name)
    assert profile.name == name == profile.file.stem
    assert profile.file.is_absolute()
    assert profile.models
    assert profile.as_of
    assert profile.source
    hash(profile)  # facts are kept by their arguments, so every word must be hashable


@pytest.mark.parametrize("name", SHIPPED)
def test_every_source_of_a_shipped_model_has_an_endpoint(name):
    profile = load(name)
    for model in profile.models:
        assert model.sources
        assert all(profile.endpoint(source.endpoint) for source in model.sources)


@pytest.mark.parametrize(
    ("name", "files", "total_bytes"),
    [
        # Sums of the listings these profiles were made from; configuration.json is optional.
        ("wan2.2-t2v-a14b", 22, 126_199_333_241),
        ("wan2.2-i2v-a14b", 22, 126_202_610_041),
        ("wan2.2-ti2v-5b", 11, 34_201_521_212 - 43),
        ("wan2.2-s2v-14b", 16, 44_482_739_387),
        ("wan2.2-animate-14b", 12, 51_213_259_481),
        ("wan2.2-t2v-a14b-diffusers", 41, 126_177_598_620),
        ("wan2.2-i2v-a14b-diffusers", 41, 125_673_283_528),
        ("wan2.2-ti2v-5b-diffusers", 0, 0),
    ],
)
def test_a_shipped_model_has_its_files_and_bytes(name, files, total_bytes):
    (model,) = load(name).models
    assert sum(not file.is_optional for file in model.files) == files
    assert model.total_bytes == total_bytes


def test_computed_and_guessed_sizes_are_never_certain():
    files = [file for name in SHIPPED for model in load(name).models for file in model.files]
    unproven = [f for f in files if re.search("computed|rounded|taken over", f.source)]
    assert len(unproven) > 40
    assert not [file.path for file in unproven if file.is_certain and file.size_bytes]


def test_certain_hashes_come_from_a_listing():
    files = [file for name in SHIPPED[1:] for model in load(name).models for file in model.files]
    certain = [file for file in files if file.is_certain and file.sha256]
    assert certain
    assert all("listing" in file.source for file in certain)


def test_wan_asks_for_a_gpu_and_the_demo_does_not():
    assert load("wan2.2-ti2v-5b").hardware.needs_gpu
    assert [fit.min_vram_bytes for fit in load("wan2.2-ti2v-5b").fits] == [
        80_000_000_000,
        24_000_000_000,
    ]
    assert load("wan2.2-ti2v-5b").hardware.min_compute_capability == "8.0"
    assert not load("demo").hardware.needs_gpu
    assert not load("demo").python.is_required


def test_extra_requirements_and_programs_come_on_top_of_the_shared_ones():
    shared = [each.name for each in load("wan2.2-ti2v-5b").python.requirements]
    speech = load("wan2.2-s2v-14b")
    names = [each.name for each in speech.python.requirements]
    assert names[: len(shared)] == shared
    assert {"openai-whisper", "pyworld", "modelscope"} <= set(names[len(shared) :])
    assert [program.name for program in speech.programs] == ["ffmpeg"]
    assert "loguru" in [each.name for each in load("wan2.2-animate-14b").python.requirements]


def test_diffusers_profiles_do_not_ask_for_what_only_the_native_code_needs():
    names = [each.name for each in load("wan2.2-t2v-a14b-diffusers").python.requirements]
    assert "diffusers" in names
    assert not {"flash-attn", "dashscope", "decord"} & set(names)


def test_the_demo_lists_exactly_the_files_of_the_demo_model():
    (model,) = load("demo").models
    listed = [
        {"path": f.path, "size": f.size_bytes, "sha256": f.sha256, "git_blob": f.git_blob}
        for f in model.files
    ]
    assert listed == demo_manifest()
    (source,) = model.sources
    assert (source.repo, source.revision, source.endpoint) == (
        "modelmedic/demo",
        "main",
        "demo-hub",
    )
    assert load("demo").endpoint("demo-hub").url == "embedded:demo"
    assert load("demo").install_dir == "demo-install"


def test_the_demos_settings_have_safe_defaults():
    (settings,) = load("demo").configs
    assert {key.name: key.default for key in settings.keys} == {
        "steps": 20,
        "size": "64*64",
        "seed": 0,
        "output_folder": "outputs",
    }
    assert all(key.has_default and key.is_required for key in settings.keys)


def test_loading_a_shipped_profile_needs_no_package_beside_the_parser():
    code = (
        "import sys; from pathlib import Path\n"
        "from modelmedic.profile.loader import load_profile\n"
        "load_profile('wan2.2-ti2v-5b', cwd=Path.cwd())\n"
        "print(*sorted({'packaging', 'jsonschema', 'requests', 'pytest'} & set(sys.modules)))"
    )
    env = child_env(PYTHONPATH=str(CHECKOUT / "src"))
    run = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, check=False, timeout=60
    )
    assert (run.returncode, run.stdout.strip()) == (0, b""), run.stderr.decode()


def test_a_description_names_what_a_profile_asks_for():
    text = describe(load("wan2.2-s2v-14b"))
    for part in (
        "GPU: needed",
        "RAM and swap: 21.1 GiB",
        "ffmpeg",
        "Wan-AI/Wan2.2-S2V-14B at main",
    ):
        assert part in text
    shown = describe(load("wan2.2-ti2v-5b"))
    assert "fit offload-t5-cpu: --offload_model True --convert_model_dtype --t5_cpu" in shown
    assert "GPU memory: 22.4 GiB (stated)" in shown
    assert "files and sizes are not known" in describe(load("wan2.2-ti2v-5b-diffusers"))
    assert "settings.json (json, 4 keys)" in describe(load("demo"))


# ---------------------------------------------------------------- JSON Schema


def test_the_published_schema_is_up_to_date():
    published = rooms.room("profiles") / "profile.schema.json"
    fresh = json.dumps(profile_schema(), indent=2, ensure_ascii=False) + "\n"
    assert published.read_text(encoding="utf-8") == fresh, (
        "write json.dumps(profile_schema(), indent=2, ensure_ascii=False) into it"
    )


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(profile_schema())


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_shipped_file_fits_the_schema_and_points_editors_at_it(file):
    text = file.read_text(encoding="utf-8")
    jsonschema.Draft202012Validator(profile_schema()).validate(tomllib.loads(text))
    assert text.startswith("#:schema ./profile.schema.json\n")


def test_the_schema_lets_a_child_leave_things_to_its_parent():
    validator = jsonschema.Draft202012Validator(profile_schema())
    entry = {"endpoints": [{"name": "hub", "url": "https://a.example"}]}
    assert validator.is_valid({"extends": "demo", **entry})
    assert not validator.is_valid({"title": "T", **entry})


def test_a_profile_with_every_key_loads_and_fits_the_schema(tmp_path):
    example_text = _example_of_the_guide()
    data = tomllib.loads(example_text)
    jsonschema.Draft202012Validator(profile_schema()).validate(data)
    profile = load(str(write(tmp_path, example_text, "lantern.toml")))
    assert profile.name == "lantern"
    assert profile.models[0].files[0].size_bytes


# ---------------------------------------------------------------- the guide


def _guide() -> str:
    return (CHECKOUT / "docs" / "profiles.md").read_text(encoding="utf-8")


def _example_of_the_guide() -> str:
    found = re.search(r"```toml title=lantern\.toml\n(.*?)```", _guide(), re.DOTALL)
    assert found
    return found.group(1)


def test_the_guide_explains_every_key():
    guide = _guide()

    def walk(table):
        for name, key in table.keys.items():
            assert f"| `{name}` |" in guide, name
            assert key.about in guide, key.about
            if key.table:
                walk(key.table)

    walk(DOCUMENT)


def test_the_guides_short_example_of_a_child_loads(tmp_path):
    found = re.search(r"```toml title=my-wan\.toml\n(.*?)```", _guide(), re.DOTALL)
    profile = load(str(write(tmp_path, found.group(1), "my-wan.toml")))
    assert profile.name == "my-wan"
    assert "flash-attn" not in [each.name for each in profile.python.requirements]
