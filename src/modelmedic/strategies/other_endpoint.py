"""Point this run to another Hub that has the same models, when the preferred one is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator

from modelmedic.errors import CannotTell, NotItsCase, RecoveryRefused
from modelmedic.facts import access_words, coverage, hub_access, network
from modelmedic.facts.book import FactBook
from modelmedic.facts.endpoint import address_of
from modelmedic.facts.hub_access import RepoFact
from modelmedic.operations.base import Operation
from modelmedic.operations.run_environment import SetRunEnvironment
from modelmedic.profile.model import Endpoint, ModelFile, ModelSource
from modelmedic.text import counted, printable

Wanted = tuple[tuple[ModelSource, str], ...]


def plan_other_endpoint(facts: FactBook, subject: str) -> Iterator[Operation]:
    """Yield what points Hub clients of this run to another Hub that gives out the same files.

    Each is really asked for every model. The saved token belongs to the lost Hub and is not sent
    to another one: Hub clients of this run are told not to send it.

    Args:
        facts: Of the run.
        subject: The endpoint that is lost.

    Raises:
        NotItsCase: It is no Hub that ``HF_ENDPOINT`` stands for, or there is no other.
        RecoveryRefused: No other one has the files; says what each one said.
    """
    lost = _lost_hub(facts, subject)
    wanted = network.samples(lost, facts.profile)
    reasons = []
    others = _others(facts, lost)
    if not others or not wanted:
        raise NotItsCase(
            f"The profile names no other Hub for the models of '{printable(lost.name)}'.",
            "",
            "Name another in [[endpoints]] and [[models.sources]] of a profile of your own.",
        )
    for other in others:
        reason = _refusal(facts, other, wanted)
        if not reason:
            yield _pointed(facts, lost, other)
            return
        reasons.append(reason)
    raise RecoveryRefused(
        f"No other Hub of the profile gives out the models of '{printable(lost.name)}'.",
        " ".join(reasons),
    )


def _lost_hub(facts: FactBook, subject: str) -> Endpoint:
    lost = facts.profile.endpoint(subject)
    try:
        if lost is None or lost.kind != "hub" or address_of(lost, {}).is_loopback:
            raise NotItsCase(f"{printable(subject)} is no Hub that HF_ENDPOINT stands for.")
        address_of(lost)
    except CannotTell as error:
        raise NotItsCase(error.what) from error
    except ValueError as error:  # a setting that is no address; the profile's own may be well
        if lost is None or "HF_ENDPOINT" not in str(error):
            raise NotItsCase(f"{printable(subject)} has no address: {error}.") from error
    return lost


def _others(facts: FactBook, lost: Endpoint) -> list[Endpoint]:
    """Return where else to ask, each under its own address: HF_ENDPOINT means no kind "other"."""
    hubs = [each for each in coverage.covering(facts.profile, lost) if each.kind == "hub"]
    if os.environ.get("HF_ENDPOINT", "").strip():
        hubs.insert(0, lost)  # the profile's own address, when the setting leads astray
    return [Endpoint(each.name, each.url, "other") for each in hubs]


def _refusal(facts: FactBook, other: Endpoint, wanted: Wanted) -> str:
    """Return why a Hub is no stand-in, in a sentence; "" when it gives out every model."""
    name = f"'{printable(other.name)}' ({printable(other.url)})"
    try:
        fact = network.reach(facts, other, network.read_tls)
        if fact.failure is not None:
            return f"{name} is lost, too: {fact.failure.detail or fact.failure.kind}."
        for source, file in wanted:
            repo = facts.get(hub_access.read_repo, other, source, file)
            if told := _unfit(facts, other, repo):
                return told
    except CannotTell as error:
        return f"{name}: {error.what}"
    return ""


def _unfit(facts: FactBook, other: Endpoint, repo: RepoFact) -> str:
    origin = address_of(other).origin
    if words := access_words.of_repo(repo, origin):
        return words.what
    if repo.answer.status == 429:  # noqa: PLR2004 - too many requests
        return f"{origin} answers HTTP 429 Too Many Requests."
    if told := _unlike(_expected(facts, repo), repo, origin):
        return told
    words = coverage.of_lost_storage(facts, other, repo)
    return words.what if words else ""


def _unlike(file: ModelFile | None, repo: RepoFact, origin: str) -> str:
    """Return why a Hub's file is not proven to be the profile's; "" when it is, or none can be."""
    if file is None:
        return ""
    pairs = ((file.sha256, repo.listed_sha256), (file.git_blob, repo.listed_git))
    compared = [known.lower() == listed for known, listed in pairs if known and listed]
    if not all(compared):
        return f"{origin} has another version of {printable(repo.file)}."
    if file.sha256 and not compared:
        return f"{origin} does not tell which version of {printable(repo.file)} it has."
    return ""


def _expected(facts: FactBook, repo: RepoFact) -> ModelFile | None:
    for model in facts.profile.models:
        if any(source.repo == repo.repo for source in model.sources):
            for file in model.files:
                if file.path == repo.file:
                    return file
    return None


def _pointed(facts: FactBook, lost: Endpoint, other: Endpoint) -> SetRunEnvironment:
    address = address_of(other)
    is_own = other.name == lost.name
    values: dict[str, str | None] = {
        "HF_ENDPOINT": None if is_own else address.origin + address.path,
        # Else bytes would come from the lost Hub's own storage. Source: failure mode
        # mirror-bypassed-by-data-plane.
        "HF_HUB_DISABLE_XET": "1",
    }
    count = len(network.samples(lost, facts.profile))
    reason = f"the Hub at {address.origin} has the same {counted(count, 'model')}"
    if not _is_home_of_token(address.origin):
        values[hub_access.NO_TOKEN] = "1"
        reason += "; the saved token is not sent there, so it gives no gated ones"
    return SetRunEnvironment.of(values, reason)


def _is_home_of_token(origin: str) -> bool:
    try:
        return hub_access.token_home(os.environ).origin == origin
    except CannotTell:
        return False
