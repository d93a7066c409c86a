"""Rules for tokens that are known by their first letters.

Sources: the pages of each service on its tokens, and the publicly described formats that secret
scanning of code hosts looks for.
"""

from __future__ import annotations

import re

from modelmedic.masking.rule import LINE_ENDS, MASK, NEWLINE, Rule

# A token that a terminal or an editor broke: the rest stands alone on the next line.
_REST = (
    rf"[ \t]{{0,8}}{NEWLINE}[ \t]{{0,40}}"
    rf"(?=\w{{0,40}}\d|\w{{1,40}}[A-Z])[\w-]{{6,200}}{LINE_ENDS}"
)
_BROKEN = rf"[\w-]{{2,200}}{_REST}"


def _starting(name: str, starts: tuple[str, ...], tail: str, *, least_digit: bool = False) -> Rule:
    """Return the rule for tokens of ``tail`` behind one of ``starts``, which stays."""
    some = "|".join(sorted(map(re.escape, starts), key=len, reverse=True))
    digit = r"(?=[\w.-]{0,200}\d)" if least_digit else ""
    return Rule(
        name,
        tuple(start.lower() for start in starts),
        rf"(?<![A-Za-z0-9])({some})(?:{digit}{tail}(?:{_REST})?|{_BROKEN})",
        rf"\g<1>{MASK}",
        ignore_case=False,
    )


RULES: tuple[Rule, ...] = (
    _starting("Hub", ("hf_", "api_org_"), r"[A-Za-z0-9]{8,}"),
    Rule(
        "token glued to a word",
        ("hf_", "gh", "glpat-", "npm_", "r8_", "nvapi-", "sk-ant-", "wandb_v1_", "pypi-age"),
        r"(?<=[A-Za-z0-9])(hf_|gh[pousr]_|github_pat_|glpat-|npm_|r8_|nvapi-|sk-ant-|wandb_v1_|"
        r"pypi-AgE)(?=[\w-]{0,40}\d)(?=[\w-]{0,40}[A-Z])[\w-]{20,250}",
        rf"\g<1>{MASK}",
        ignore_case=False,
    ),
    Rule(
        "W&B, behind its name",
        ("wandb",),
        r"(\bwandb\b(?:(?!commit|sha|rev|hash|blob|etag|wandb)[^\r\n]){0,160}?"
        r"(?<![\w/=@.+-]))[0-9a-f]{40}(?![\w-])",
        rf"\g<1>{MASK}",
    ),
    Rule(
        "ModelScope, behind its name",
        ("token",),
        r"(\btoken(?: is)?[ :]{1,3}[\"'`]?)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?!\w)",
        rf"\g<1>{MASK}",
    ),
    _starting("ModelScope", ("ms-",), r"[A-Za-z0-9_-]{12,}", least_digit=True),
    _starting("W&B", ("wandb_v1_",), r"\w{12,}"),
    _starting("Replicate, Civitai", ("r8_", "civitai_"), r"[A-Za-z0-9]{12,}", least_digit=True),
    _starting("OpenAI, Anthropic", ("sk-",), r"[A-Za-z0-9_-]{16,}"),
    _starting(
        "other model hosts",
        ("gsk_", "xai-", "nvapi-", "rpa_", "tgp_v1_", "pplx-", "lsv2_", "fw_", "esecret_"),
        r"[A-Za-z0-9_-]{16,}",
        least_digit=True,
    ),
    _starting(
        "GitHub",
        (*(f"gh{letter}_" for letter in "pousr"), "github_pat_"),
        r"[A-Za-z0-9_]{12,}",
    ),
    _starting(
        "GitLab",
        (
            *("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-"),
            *("gloas-", "glsoat-", "glffct-"),
        ),
        r"[A-Za-z0-9_-]{12,}(?:\.[A-Za-z0-9_-]{2,20})*",
    ),
    _starting("Bitbucket, Atlassian", ("ATBB", "ATATT3", "ATCTT3"), r"[A-Za-z0-9_=-]{16,}"),
    _starting("npm", ("npm_",), r"[A-Za-z0-9]{16,}"),
    _starting("PyPI", ("pypi-",), r"[A-Za-z0-9_-]{12,}", least_digit=True),
    _starting(
        "other code hosts",
        ("dckr_pat_", "dckr_oat_", "rubygems_", "shpat_", "lin_api_", "pul-", "sntrys_", "glc_"),
        r"[A-Za-z0-9_=-]{16,}",
    ),
    _starting(
        "Slack",
        (*(f"xox{letter}-" for letter in "abeoprsc"), "xapp-", "xoxe."),
        r"[A-Za-z0-9.-]{10,}",
    ),
    Rule(
        "web hooks",
        ("/services/t", "/api/webhooks/", "webhook.office.com", "/workflows/t"),
        r"((?:hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)|"
        r"discord(?:app)?\.com/api(?:/v\d{1,2})?/webhooks|webhook\.office\.com/webhookb2)/)"
        r"[\w/@.-]{16,}",
        rf"\g<1>{MASK}",
    ),
    Rule(
        "Discord",
        (".",),
        r"(?<![\w.])(?:[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,45}|mfa\.[\w-]{60,100})(?![\w.-])",
        ignore_case=False,
        least=59,
    ),
    Rule(
        "Telegram",
        (":a",),
        r"(?<![A-Za-z0-9:])(?:(?<=bot)|\b)\d{7,11}:A[A-Za-z0-9_-]{30,40}",
        ignore_case=False,
        least=38,
    ),
    _starting(
        "Stripe",
        ("sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_", "pk_test_", "whsec_"),
        r"[A-Za-z0-9+/=]{10,}",
    ),
    _starting("SendGrid", ("SG.",), r"[\w-]{16,32}\.[\w-]{16,64}"),
    Rule(
        "Mailchimp",
        ("-us",),
        r"(?<![0-9a-z])[0-9a-f]{32}-us\d{1,2}(?!\w)",
        least=36,
    ),
    Rule(
        "Mailgun",
        ("key-",),
        r"(?<![\w-])(key-)[0-9a-f]{32}(?!\w)",
        rf"\g<1>{MASK}",
        least=36,
    ),
    Rule(
        "Twilio",
        ("sk", "ac"),
        r"(?<![A-Za-z0-9])(SK|AC)[0-9a-f]{32}(?![A-Za-z0-9])",
        rf"\g<1>{MASK}",
        ignore_case=False,
        least=34,
    ),
    Rule(
        "AWS",
        ("akia", "asia", "abia", "acca"),
        r"(?<![A-Za-z0-9])(AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}(?![0-9A-Z])"
        r"(?:([\s:,;\"'|/]{1,12})[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+]))?",
        lambda found: f"{found[1]}{MASK}" + (f"{found[2]}{MASK}" if found[2] else ""),
        ignore_case=False,
    ),
    Rule(
        "Azure storage",
        ("==",),
        r"(?<![A-Za-z0-9+/])(?<!sha512-)[A-Za-z0-9+/]{86}==(?![A-Za-z0-9=])",
        ignore_case=False,
        least=88,
    ),
    Rule(
        "Azure client",
        ("q~",),
        r"(?<![\w.~])[\w.~-]{3}\dQ~[\w.~-]{31,34}(?![\w~-])",
        ignore_case=False,
        least=38,
    ),
    _starting("Google", ("AIza", "ya29.", "GOCSPX-"), r"[\w-]{20,}"),
    Rule("Google refresh", ("1//0",), r"(?<![\w/])1//0[\w-]{20,}", ignore_case=False),
    _starting(
        "vaults and networks",
        (
            "hvs.",
            "hvb.",
            "dop_v1_",
            "doo_v1_",
            "tskey-",
            "NRAK-",
            "sha256~",
            "AGE-SECRET-KEY-1",
            "k8s-aws-v1.",
        ),
        r"[A-Za-z0-9_-]{16,}",
    ),
    Rule(
        "JWT",
        ("eyj",),
        r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*){0,3}(?:\\?\r?\n[ \t]{0,40}[\w.-]{20,})*",
        ignore_case=False,
    ),
    Rule(
        "license keys",
        ("-",),
        r"(?<![A-Z0-9]-)(?<!\w)[A-Z0-9]{5}(?:-[A-Z0-9]{5}){4}(?![\w-])",
        ignore_case=False,
        least=29,
    ),
)
