"""Whose next tokens are guessed in a step, and how far: speculative decoding (Leviathan et al.,
2023).

A draft is computed behind the last known token, and each of its positions is sampled as it would be
anyway. As long as what comes out is what was guessed, a step has given more than one token; the
first other one ends it. So guesses change the speed, never what is sampled.

A draft takes no room that others would lose: it is as long as the blocks that its sequence holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from inference.kv_cache import BLOCK_SIZE
from inference.prompt_lookup import DraftCost
from inference.scheduler import Chunk
from inference.sequence import Sequence

MOST_DRAFTED = 64
"""Guesses in one step."""


@dataclass(frozen=True, slots=True)
class Drafting:
    """For a runner with this cost of drafts."""

    cost: DraftCost

    def drafted(self, chunks: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
        """The step with drafts, between the decodes and the prompts. Who waits for tokens to guess
        from, or for a draft to be checked, is left out of it; so is who must know its last token
        before it may say which ones can follow: these come behind the other decodes."""
        if not any(chunk.sequence.guesses or chunk.sequence.matcher for chunk in chunks):
            return chunks
        readers = sum(chunk.completes for chunk in chunks)
        left = MOST_DRAFTED
        decodes: list[Chunk] = []
        bound: list[Chunk] = []
        drafts: list[Chunk] = []
        prompts: list[Chunk] = []
        for chunk in chunks:
            is_bound = chunk.sequence.matcher is not None
            if chunk.sequence.draft or (is_bound and chunk.sequence.promised):
                continue
            draft = self._draft(chunk, left, readers)
            if draft and chunk.sequence.promised:
                continue
            left -= len(draft)
            if draft:
                drafts.append(replace(chunk, draft=draft))
            elif chunk.sequence.in_prefill:
                prompts.append(chunk)
            else:
                (bound if is_bound else decodes).append(chunk)
        return (*decodes, *bound, *drafts, *prompts)

    def _draft(self, chunk: Chunk, left: int, readers: int) -> tuple[int, ...]:
        sequence = chunk.sequence
        most = min(sequence.guesses, left, _room(sequence))
        if most < 1 or not chunk.completes or sequence.in_prefill:
            return ()
        return sequence.lookup.draft(most, readers, self.cost)


def _room(sequence: Sequence) -> int:
    """For guesses behind its last token, each of which leads to one more."""
    return min(len(sequence.blocks) * BLOCK_SIZE, sequence.limit - 1) - len(sequence.tokens)
