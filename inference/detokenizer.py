"""Token ids in, the longest safe piece of text out, one token at a time.

Safe means: no half character, and nothing that may turn out to be the beginning of a stop string.
The cost of a token does not grow with the answer: only a short window of ids is decoded again.

The window begins where a character begins, and after at least one token that has text, because
sentencepiece-like decoders treat the first token of what they decode differently (they strip its
leading space). `decode` must leave special tokens out and must put one U+FFFD in place of each
broken UTF-8 sequence, as `PromptCodec.decode` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inference.token_bytes import REPLACEMENT, ByteWindow, TokenBytes

# The tail of a run of broken bytes is looked for once the window is this long (in tokens).
LONG_WINDOW = 16
# A character is at most four bytes, so a cut through broken text is at most this many tokens back.
MAX_CHARACTER_BYTES = 4


class Detokenizer:
    """Text of one answer, streamed.

    decode: ids -> text. prefix_ids: what came before in the same answer (a continued one); it is
    context that completes a character cut in two, and its own text is not emitted again. stop:
    the first of these strings to be completed ends the text; where two are completed by the same
    character, the longer one does. token_bytes: of a byte-level vocabulary; `decode` is not needed
    then.
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        prefix_ids: Sequence[int] = (),
        stop: Sequence[str] = (),
        token_bytes: TokenBytes | None = None,
    ) -> None:
        by_bytes = token_bytes and ByteWindow(token_bytes, prefix_ids)
        self._settle = (by_bytes or _Window(decode, prefix_ids)).push
        self._stops = [_StopMatcher(string) for string in stop]
        self._held = ""
        self._length = 0
        self.stop_string: str | None = None
        """The stop string that ended the text: what came before it was returned, it was not."""
        self.offset = 0
        """Where the last pushed token's text begins, in characters of the pushed tokens' text. A
        token that begins inside a character has that character's offset. Known at once and never
        changed: the tokens of a stop string lie at or beyond the end of the text."""

    def push(self, token_id: int) -> str:
        """Text that is now safe to show, '' while waiting and after a stop string."""
        self.offset = self._length
        if self.stop_string is not None:
            return ""
        text = self._settle(token_id)
        self._length += len(text)
        return self._release(text) if self._stops else text

    def finish(self) -> str:
        """Text that was held back for a stop string; half a character is dropped."""
        held, self._held = self._held, ""
        return held

    def _release(self, text: str) -> str:
        self._held += text
        start = len(self._held) - len(text)
        for end, character in enumerate(text, start + 1):
            hits = [matcher.string for matcher in self._stops if matcher.push(character)]
            if hits:
                self.stop_string = max(hits, key=len)
                kept = self._held[: end - len(self.stop_string)]
                self._held = ""
                return kept
        keep = len(self._held) - max(matcher.matched for matcher in self._stops)
        safe, self._held = self._held[:keep], self._held[keep:]
        return safe


class _Window:
    """The last few ids, and how much of their text is already out."""

    def __init__(self, decode: Callable[[Sequence[int]], str], prefix_ids: Sequence[int]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._text = ""
        self._emitted = 0
        # ids[:clean] ends with a whole character; 0 while no such place is known.
        self._clean = 0
        for token_id in prefix_ids:
            self.push(token_id)

    def push(self, token_id: int) -> str:
        """The characters that this token settles."""
        text = self._decode([*self._ids, token_id])
        if text == self._text and self._adds_nothing(token_id):
            return ""
        self._ids.append(token_id)
        self._text = text
        settled = _settled(text)
        new, self._emitted = settled[self._emitted :], len(settled)
        if settled == text:
            self._shrink_at_clean_end()
        elif len(self._ids) > LONG_WINDOW:
            self._shrink_in_broken_text()
        return new

    def _adds_nothing(self, token_id: int) -> bool:
        """Whether a token that did not change the text is a special one, to be forgotten.

        Others: a byte of a character not yet complete (it has text when alone), and the first
        space of a text when the decoder strips it (a second one would not be stripped).
        """
        if self._text:
            return not self._decode([token_id])
        return token_id in self._ids

    def _shrink_at_clean_end(self) -> None:
        """Begin at the previous clean place, if there is text between there and here."""
        if self._clean:
            text = self._decode(self._ids[self._clean :])
            if not text:
                return
            del self._ids[: self._clean]
            self._text, self._emitted = text, len(text)
        self._clean = len(self._ids)

    def _shrink_in_broken_text(self) -> None:
        """Begin where the last, undecided character begins. Cutting a character in two gives more
        U+FFFD than leaving it whole, so a cut that changes nothing is between two characters."""
        last = len(self._ids) - 1
        for cut in range(last, max(0, last - MAX_CHARACTER_BYTES), -1):
            before, after = self._decode(self._ids[:cut]), self._decode(self._ids[cut:])
            if after and before + after == self._text:
                del self._ids[:cut]
                self._text, self._emitted, self._clean = after, self._emitted - len(before), 0
                return


class _StopMatcher:
    """How much of one stop string the text so far ends with (Knuth, Morris and Pratt)."""

    def __init__(self, string: str) -> None:
        self.string = string
        self.matched = 0
        # fallback[n]: length of the longest proper prefix of string[:n] that is also its suffix.
        self._fallback = [0, 0]
        for character in string[1:]:
            length = self._fallback[-1]
            while length and string[length] != character:
                length = self._fallback[length]
            self._fallback.append(length + (string[length] == character))

    def push(self, character: str) -> bool:
        """Whether this character completes the string."""
        while self.matched and self.string[self.matched] != character:
            self.matched = self._fallback[self.matched]
        self.matched += self.string[self.matched] == character
        return self.matched == len(self.string)


def _settled(text: str) -> str:
    """Text without a last character that further bytes may complete."""
    return text[:-1] if text.endswith(REPLACEMENT) else text
