"""The masking of an error's texts: secrets of this process by value, and bounded in length."""

from __future__ import annotations

import re
from collections.abc import Mapping

from modelmedic.masking import MASK, Masker

# Names whose value is nobody's business. Source: guide to common support bundles, docs/privacy.md.
SECRET_NAME = re.compile(
    r"(?i)token|secret|passw|passphrase|credential|api_?key|access_?key|private_?key|auth|cookie"
)
_LEAST_LETTERS = 8  # of a value that is looked for inside of words
_LEAST_IN_CALL = 3  # of an argument that is called a password
# What is left of a private key when only one of its ends is in the text.
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z ]{0,30}PRIVATE KEY-----")
_WINDOW = 4  # as often what is kept is masked at each end of a very long text, so that what lies
_MUCH = 2 * _WINDOW  # at the cut, and could be half a secret, is not what is kept


class Veil:
    """Masks texts as `modelmedic.masking` does, and more secret values.

    Args:
        masker: Of this machine, with the secrets of this process.
        of_call: What else is hidden, from the longest on.
    """

    def __init__(self, masker: Masker, of_call: tuple[re.Pattern[str], ...] = ()) -> None:
        self._masker = masker
        self._of_call = of_call

    @classmethod
    def of_this_process(cls, environ: Mapping[str, str] | None = None) -> Veil:
        """Return the veil for this machine, its user, and the secrets in ``environ``."""
        return cls(Masker.of_this_machine(environ))

    def over_call(self, named: Mapping[str, object]) -> Veil:
        """Return a veil that also hides the strings which ``named`` calls a secret."""
        values = {
            value
            for name, value in named.items()
            if type(value) is str and len(value) >= _LEAST_IN_CALL and SECRET_NAME.search(name)
        }
        ordered = sorted(values, key=len, reverse=True)
        return Veil(self._masker, tuple(map(_whole, ordered)))

    def mask(self, text: str) -> str:
        """Return ``text`` without secrets, home, user and host."""
        for pattern in self._of_call:
            text = pattern.sub(MASK, text)
        return self._masker.mask(text)

    def cut(self, text: str, most: int) -> str:
        """Return ``text`` masked, its middle left out where it has more than ``most`` letters.

        Masked first: half a secret has no form by which it could be known.
        """
        if len(text) > _MUCH * most:
            text = f"{text[: _WINDOW * most]}\n...\n{text[-_WINDOW * most :]}"
        masked = _without_half_keys(self.mask(text))
        if len(masked) <= most:
            return masked
        half = most // 2
        left_out = len(masked) - most
        return f"{masked[:half]}\n... {left_out} letters left out ...\n{masked[-half:]}"


def _without_half_keys(text: str) -> str:
    for end in list(_KEY_ENDS.finditer(text))[-1:]:
        text = MASK + text[end.end() :]
    begin = _KEY_BEGINS.search(text)
    return text[: begin.start()] + MASK if begin else text


def _whole(value: str) -> re.Pattern[str]:
    """Return what finds a value; a short one only as a word of its own."""
    text = re.escape(value)
    return re.compile(text if len(value) >= _LEAST_LETTERS else rf"(?<!\w){text}(?!\w)")
