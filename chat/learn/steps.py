"""The steps of the learning page: what each one is called, what it says, and where in this codebase
it happens."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    title: str | Promise
    words: str | Promise
    source: str


STEPS = (
    Step(
        "tokens",
        _("Text becomes tokens"),
        _(
            "A model reads no letters. The tokenizer cuts the text into tokens from a fixed "
            "vocabulary, frequent words whole and rare ones in pieces, and each token has a "
            "number. From here on the model sees these numbers alone."
        ),
        "inference/prompt_codec.py",
    ),
    Step(
        "embedding",
        _("Each token becomes a vector"),
        _(
            "The number of a token picks a row of the embedding matrix. These numbers are the "
            "beginning of the residual stream: every layer reads it and adds to it. Shown is the "
            "last token, whose stream will end in a guess at what comes next."
        ),
        "kernels/embedding.py",
    ),
    Step(
        "norm",
        _("RMSNorm evens out the size"),
        _(
            "Before a layer reads the stream, the vector is divided by the root of its mean square "
            "and multiplied by learned weights. So the layer works on numbers of a like size, "
            "however large the stream has grown."
        ),
        "kernels/rms_norm.py",
    ),
    Step(
        "qkv",
        _("Queries, keys and values"),
        _(
            "Three matrices turn the vector into a query (what this token looks for), a key (what "
            "it offers to be found by) and a value (what it hands over). Each head has its own; "
            "keys and values are kept in the KV cache, so that no later step computes them again."
        ),
        "kernels/qkv_rope_append.py",
    ),
    Step(
        "rope",
        _("RoPE turns by position"),
        _(
            "Pairs of numbers of each query and key are turned like the hands of a clock, by an "
            "angle that grows with the position. The product of two vectors that were turned "
            "depends only on how far apart they are: that is how attention knows about order."
        ),
        "inference/rope.py",
    ),
    Step(
        "attention",
        _("Attention mixes the tokens"),
        _(
            "The query of each token is multiplied with the keys of all tokens up to it; softmax "
            "makes weights of that which add up to one. By these weights the values are mixed. "
            "Row by row: who reads from whom."
        ),
        "kernels/attention.py",
    ),
    Step(
        "mlp",
        _("The feed-forward works on each token"),
        _(
            "Two matrices make the vector wider; one of the results, sent through SiLU, opens or "
            "closes the other like a gate; a third matrix makes it narrow again. Most of what a "
            "model knows is thought to be stored here."
        ),
        "kernels/silu_mul.py",
    ),
    Step(
        "residual",
        _("The residual stream grows"),
        _(
            "Attention and feed-forward do not replace the vector, they add to it, in each layer "
            "once. The bars show how large the stream of the last token is after each of these "
            "additions."
        ),
        "inference/architectures/llama.py",
    ),
    Step(
        "logits",
        _("The stream becomes logits"),
        _(
            "After the last layer, one more norm and a product with a row for each token of the "
            "vocabulary: the logits. The larger one is, the likelier the token; softmax makes "
            "probabilities of them."
        ),
        "kernels/matmul_transb.py",
    ),
    Step(
        "temperature",
        _("Temperature"),
        _(
            "The sampler divides the logits by the temperature. Below 1 the likely tokens become "
            "still likelier, above 1 the unlikely ones get a chance. No token is cut away yet."
        ),
        "inference/sampler.py",
    ),
    Step(
        "top_k",
        _("Top-k"),
        _(
            "Only the k most likely tokens stay, the others can no longer be drawn. What stays is "
            "scaled so that it adds up to one again."
        ),
        "inference/sampler.py",
    ),
    Step(
        "top_p",
        _("Top-p"),
        _(
            "Of these, the fewest most likely ones stay that together reach p. Where the model is "
            "sure that is one or two, where it is not there are many."
        ),
        "inference/sampler.py",
    ),
    Step(
        "min_p",
        _("Min-p"),
        _(
            "Last, whatever is less likely than the given share of the most likely token is cut "
            "away. What is left now is the distribution that is drawn from."
        ),
        "inference/sampler.py",
    ),
    Step(
        "draw",
        _("One token is drawn"),
        _(
            "A number between 0 and 1, made from the seed and the position alone, points to a "
            "place on the line of probabilities laid end to end; the token there is taken. "
            "The same seed gives the same token again. Then it is appended, and all begins anew."
        ),
        "inference/sampler.py",
    ),
)
SOURCES = frozenset(step.source for step in STEPS)
