"""A profile as plain text: what "modelmedic profile show" prints."""

from __future__ import annotations

from collections.abc import Iterator

from modelmedic.profile.model import Fit, ModelRepo, Profile
from modelmedic.text import counted, size


def describe(profile: Profile) -> str:
    """Return what the profile asks for, in lines for people; ends without a newline."""
    return "\n".join(_lines(profile))


def _lines(profile: Profile) -> Iterator[str]:
    yield f"{profile.name}: {profile.title}"
    yield from _labelled("", profile.description, f"as of {profile.as_of}" * bool(profile.as_of))
    yield f"  file: {profile.file}"
    yield from _labelled("docs", profile.docs_url)
    yield from _hardware(profile)
    for fit in profile.fits:
        yield from _fit(fit)
    if profile.python.is_required:
        yield f"python: {profile.python.requires or 'any version'}"
        for requirement in profile.python.requirements:
            optional = " (optional)" if requirement.is_optional else ""
            yield f"  {requirement.spec}{optional}"
            yield from _labelled("  trap", requirement.trap)
    for model in profile.models:
        yield from _model(model)
    for file in profile.configs:
        yield f"config: {file.path} ({file.format}, {counted(len(file.keys), 'key')})"
    for endpoint in profile.endpoints:
        yield f"endpoint {endpoint.name}: {endpoint.url} ({endpoint.purpose or endpoint.kind})"
    for port in profile.ports:
        yield f"port: {port.number} {port.purpose}".rstrip()
    for program in profile.programs:
        yield f"program: {program.name} {program.purpose}".rstrip()


def _hardware(profile: Profile) -> Iterator[str]:
    hardware = profile.hardware
    yield "hardware:"
    yield f"  GPU: {'needed' if hardware.needs_gpu else 'not needed'}"
    if hardware.min_vram_bytes:
        yield f"  GPU memory: {size(hardware.min_vram_bytes)}"
    if hardware.min_ram_bytes:
        yield f"  RAM and swap: {size(hardware.min_ram_bytes)}"
    yield from _labelled("compute capability", hardware.min_compute_capability or "")
    yield from _labelled(
        "NVIDIA driver",
        f"Linux {hardware.min_driver_linux}" * bool(hardware.min_driver_linux),
        f"Windows {hardware.min_driver_windows}" * bool(hardware.min_driver_windows),
    )
    yield from _labelled("systems", ", ".join(hardware.systems))
    yield from _labelled("under", hardware.flags)
    yield from _labelled("source", hardware.source)


def _fit(fit: Fit) -> Iterator[str]:
    yield f"fit {fit.name}: {fit.flags or 'no options'}"
    yield from _labelled("task", fit.task, f"at {', '.join(fit.sizes)}" * bool(fit.sizes))
    if fit.min_vram_bytes:
        yield f"  GPU memory: {size(fit.min_vram_bytes)} ({fit.vram_how})"
    if fit.min_ram_bytes:
        yield f"  RAM and swap: {size(fit.min_ram_bytes)} ({fit.ram_how})"
    yield from _labelled("loses", fit.loses)
    yield from _labelled("source", fit.source)


def _model(model: ModelRepo) -> Iterator[str]:
    known = sum(file.size_bytes is not None for file in model.files if not file.is_optional)
    files = sum(not file.is_optional for file in model.files)
    yield f"model {model.name}: {model.layout} layout, in {' or '.join(model.folders)}"
    if model.files:
        total = f"{size(model.total_bytes)} in {counted(known, 'file')} of known size"
        yield f"  {counted(files, 'file')}; {total}"
    else:
        yield "  files and sizes are not known"
    for source in model.sources:
        yield f"  from {source.endpoint}: {source.repo} at {source.revision}"


def _labelled(label: str, *values: str) -> Iterator[str]:
    if text := ", ".join(filter(None, values)):
        yield f"  {label}: {text}" if label else f"  {text}"
