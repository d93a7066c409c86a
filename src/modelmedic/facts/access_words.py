"""What the Hub's and the package index's answers mean, in words: what, why, next."""

from __future__ import annotations

from modelmedic.facts import network_commands
from modelmedic.facts.hub_access import RepoFact, TokenFact
from modelmedic.facts.local_proof import LocalProof
from modelmedic.facts.network_words import PORTAL_ID, Words, of_rate_limit
from modelmedic.facts.package_index import IndexFact, Place
from modelmedic.facts.proxy import ProxyEnvironment, ProxySetting
from modelmedic.text import counted, printable, size

TOKEN_ID = "expired-token-breaks-public-repo"  # noqa: S105 - the id of a failure mode
GATED_ID = "gated-companion-repo"
HEADERS_ID = "mirror-missing-headers"
DATA_PLANE_ID = "mirror-bypassed-by-data-plane"
LOOPBACK_ID = "localhost-through-proxy"


def of_setting(setting: ProxySetting) -> Words | None:
    """Return why a proxy setting cannot be used by any program; None when it can."""
    reasons = {
        "unknown-scheme": f"'{setting.scheme}' is no kind of proxy",
        "no-host": "it names no host",
        "bad-port": "its port is not a number from 1 to 65535",
        "unquoted": "its user and password are not percent-encoded",
    }
    if setting.fault not in reasons:
        return None
    return Words(
        f"The proxy in {setting.variable} ({setting.shown}) cannot be used: "
        f"{reasons[setting.fault]}.",
        "Every download that obeys this variable fails; a special character in a password must "
        "be percent-encoded (@ is %40, / is %2F, ? is %3F, # is %23).",
        _encoded(setting)
        if setting.fault == "unquoted"
        else f"write {setting.variable}=http://HOST:PORT, or unset it.",
    )


def _encoded(setting: ProxySetting) -> str:
    return (
        f"{network_commands.percent_encode()}   asks for a password and prints it encoded; then "
        f"write {setting.variable}=http://USER:PASSWORD@HOST:PORT."
    )


def of_offline(words: Words, proof: LocalProof) -> Words:
    """Return what is lost where nothing is needed from a server that is out of reach."""
    return Words(
        f"{words.what} Nothing is needed from it now: HF_HUB_OFFLINE is set, and all "
        f"{counted(proof.files, 'file')} ({size(proof.total_bytes)}) are proven here.",
        words.why,
        "" if not words.next_step else f"for updates and repairs: {words.next_step}",
        words.failure_id,
    )


def losses_in(proxies: ProxyEnvironment) -> list[Words]:
    """Return what does not stop a download but makes programs behave differently."""
    found = [loss for setting in proxies.settings for loss in _losses_of(setting)]
    if proxies.leads_loopback_away:
        found.append(
            Words(
                f"{proxies.leads_loopback_away} also catches 127.0.0.1 and localhost.",
                "The app's own page on this machine is then asked for through the proxy, which "
                "cannot reach it; NO_PROXY does not name them.",
                "set NO_PROXY=localhost,127.0.0.1,::1 (added to what it holds now).",
                LOOPBACK_ID,
            )
        )
    found.extend(
        Words(f"{variable} is set and not obeyed: REQUEST_METHOD is set, too, as in a CGI program.")
        for variable in proxies.ignored
    )
    return found


def _losses_of(setting: ProxySetting) -> list[Words]:
    found = []
    if setting.fault == "no-scheme":
        found.append(
            Words(
                f"{setting.variable} ({setting.shown}) has no scheme.",
                "Some programs take it as http, others ignore or refuse it.",
                f"write {setting.variable}=http://{setting.shown}.",
            )
        )
    if setting.other_spelling:
        found.append(
            Words(
                f"{setting.variable} and {setting.other_spelling} are both set and differ.",
                f"Python programs obey {setting.variable}, others may take the other one.",
                "give both the same value.",
            )
        )
    if setting.is_socks and setting.is_usable:
        found.append(
            Words(
                f"{setting.variable} names a SOCKS proxy ({setting.shown}).",
                "pip and older Hub clients need the package PySocks for it, newer Hub clients "
                "need socksio.",
                "most SOCKS proxies also take HTTP: write http:// in place of the SOCKS scheme.",
            )
        )
    return found


def of_token(fact: TokenFact) -> Words | None:
    """Return what is wrong with the saved token; None when nothing is, or nothing is known."""
    if fact.verdict == "refused":
        return Words(
            f"The Hub at {fact.home} does not accept the saved token (HTTP 401); it stands in "
            f"{fact.where}.",
            "It is expired or was revoked. Clients send it anyway, and then even public models "
            "are refused.",
            "log in again with: hf auth login   or, for public models only, set "
            "HF_HUB_DISABLE_IMPLICIT_TOKEN=1",
            TOKEN_ID,
        )
    if fact.verdict == "malformed":
        return Words(
            f"The saved token in {fact.where} has characters that no token has.",
            "Most often a copy with spaces, quotes or a line break inside. Clients that send it "
            "fail.",
            "log in again with: hf auth login",
            TOKEN_ID,
        )
    return None


def of_token_worked_around(fact: TokenFact) -> Words:
    """Return what stays lost while a refused token is saved and the models are public."""
    variable = fact.where.removeprefix("the variable ")
    remove = (
        f"unset {variable}   (PowerShell: Remove-Item Env:{variable})"
        if variable != fact.where
        else "hf auth logout"
    )
    return Words(
        f"The Hub at {fact.home} does not accept the saved token (HTTP 401); it stands in "
        f"{fact.where}. modelmedic works around it: it fetches public models without one.",
        "It is expired or was revoked. Other clients send it anyway, and then even public models "
        "are refused.",
        f"{remove}   takes it away, or log in again with: hf auth login",
        TOKEN_ID,
    )


def of_repo(fact: RepoFact, where: str) -> Words | None:
    """Return why a client could not download from a repo; None when it could.

    Args:
        fact: The Hub's answer for one file of the repo.
        where: The Hub's origin.
    """
    repo = printable(fact.repo)
    answer = fact.answer
    said = f" The Hub says: {answer.error_message}" if answer.error_message else ""
    status = f"HTTP {answer.status}"
    if answer.error_code == "GatedRepo":
        return _of_gated(fact, where, said)
    if answer.error_code == "RevisionNotFound":
        return Words(
            f"The model {repo} at {where} has no revision '{printable(fact.revision)}' ({status}).",
            f"The profile asks for one that is gone or not mirrored.{said}",
            f"look at {where}/{repo} in a browser; update the profile if the model moved.",
        )
    if answer.error_code == "EntryNotFound":
        return Words(
            f"The model {repo} at {where} has no file '{printable(fact.file)}' ({status}).",
            f"The profile and the model's revision do not fit together.{said}",
            f"look at {where}/{repo}/tree/{printable(fact.revision)} in a browser.",
        )
    if answer.status in {401, 404}:
        return Words(
            f"The Hub at {where} does not show the model {repo} ({status}).",
            "It does not exist there under this name, or it is private and "
            f"{'the token has no access' if fact.is_token_sent else 'no token was sent'}.{said}",
            f"look at {where}/{repo} in a browser.",
        )
    return _of_other_answer(fact, where, repo, said)


def _of_gated(fact: RepoFact, where: str, said: str) -> Words:
    repo = printable(fact.repo)
    if fact.is_token_sent:
        why = "The account of the saved token has not been given access."
        next_step = f"open {where}/{repo}, accept the terms with that account, run this again."
    else:
        why = "Its terms must be accepted by a person, and no accepted token was sent."
        next_step = f"open {where}/{repo}, accept the terms, then log in with: hf auth login"
    return Words(
        f"The model {repo} at {where} is gated (HTTP {fact.answer.status}).",
        why + said,
        next_step,
        GATED_ID,
    )


def _of_other_answer(fact: RepoFact, where: str, repo: str, said: str) -> Words | None:
    answer = fact.answer
    if answer.status == 429:  # noqa: PLR2004 - judged by its own check
        return None
    if answer.status >= 400:  # noqa: PLR2004 - client and server errors
        return Words(
            f"The Hub at {where} answers HTTP {answer.status} {answer.reason} for the model "
            f"{repo}.",
            f"Most often a filter on the way, or trouble at the server.{said}",
            "run this again in a few minutes; if it stays, try another network.",
        )
    if answer.content == "html" and not fact.has_commit:
        return Words(
            f"{where} answers with a web page where a file of {repo} should be.",
            "Most often a login page of the network, or a mirror that is none.",
            "open the address in a browser on this machine and look who answers.",
            PORTAL_ID,
        )
    missing = [
        name
        for name, is_there in (("X-Repo-Commit", fact.has_commit), ("ETag", fact.has_etag))
        if not is_there
    ]
    if missing:
        return Words(
            f"The answers of {where} for {repo} lack the header {' and '.join(missing)}.",
            "Hub clients refuse to download without it; most often a mirror or firewall strips "
            "headers.",
            "use another mirror in HF_ENDPOINT, or unset it.",
            HEADERS_ID,
        )
    return None


def of_place(place: Place, fact: IndexFact) -> Words | None:
    """Return why pip cannot take packages from one of its places; None when it can."""
    whose = "the target's pip" if fact.is_target else "pip of this Python (there is no target yet)"
    name = f"The {place.role} of {whose}, {place.shown},"
    if place.failure is not None:
        return _of_lost_place(name, place)
    # local places have no answer to judge; an extra index need not have the project pip
    is_fine = place.answers_as_index or place.kind == "local"
    if is_fine or (place.status == 404 and place.role == "extra index"):  # noqa: PLR2004
        return None
    if place.status == 429:  # noqa: PLR2004 - too many requests
        return of_rate_limit(place.shown, place.limits)
    what, why = _of_wrong_answer(place)
    next_step = f"{fact.python} -m pip config debug   shows where the URL is set."
    return Words(f"{name} {what}", why, next_step)


def can_install(fact: IndexFact, lost: list[Place]) -> bool:
    """Return whether pip still finds packages although some places are lost.

    It does while one index works; with ``no-index``, while one find-links place works.
    """
    roles = {"find-links"} if fact.is_no_index else {"index", "extra index"}
    return any(place.role in roles for place in fact.places if place not in lost)


def losses_of_index(fact: IndexFact) -> list[Words]:
    """Return what weakens pip's trust in its places without stopping it."""
    found = [
        Words(
            f"pip trusts {host} without verifying its certificate (trusted-host).",
            "Anyone on the way can replace packages that come from there.",
            f"{fact.python} -m pip config debug   shows where it is set; take it out and give pip "
            "the server's root certificate with cert.",
        )
        for host in fact.trusted_hosts
    ]
    found.extend(
        Words(
            f"The {place.role} {place.shown} is asked in plain HTTP.",
            "Anyone on the way can replace packages that come from there.",
            "use its https address if it has one.",
        )
        for place in fact.places
        if place.is_plain_http
    )
    return found


def _of_wrong_answer(place: Place) -> tuple[str, str]:
    if place.status == 401:  # noqa: PLR2004 - unauthorized
        told = "The user and password in its URL are not accepted."
        why = told if place.has_credentials else "No user and password stand in its URL."
        return "asks for a login (HTTP 401).", why
    if place.status == 407:  # noqa: PLR2004 - proxy authentication required
        return (
            "is behind a proxy that asks for a login (HTTP 407).",
            "The proxy variable, or pip's own setting proxy, lacks user and password.",
        )
    if place.redirect:
        return (
            f"sends requests on to {place.redirect} (HTTP {place.status}).",
            "Most often a login page of the network.",
        )
    if place.status == 200:  # noqa: PLR2004 - OK
        return (
            "answers, and not as a package index.",
            "Most often a login page of the network, or a URL without /simple at its end.",
        )
    return (
        f"answers HTTP {place.status} when asked for the project pip.",
        "Most often a URL without /simple at its end, or a server in trouble.",
    )


def _of_lost_place(name: str, place: Place) -> Words:
    failure = place.failure
    kind, detail = (failure.kind, failure.detail) if failure else ("", "")
    if place.kind == "local":
        verb = {"missing": "does not exist", "unreadable": "cannot be read"}.get(
            kind, "cannot be used"
        )
        return Words(
            f"{name} {verb} ({detail}).",
            "pip passes over it with a warning and does not find what lies there.",
            "create it, correct its path in pip's configuration, or take it out.",
        )
    return Words(
        f"{name} gives no answer ({kind.replace('-', ' ')}: {detail}).",
        "pip retries it several times for each package, so an install takes long and then fails.",
        "see the network checks of this run for the cause; behind a proxy set HTTPS_PROXY.",
    )
