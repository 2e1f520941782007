"""The forward pass that the scripted engine shows."""

from __future__ import annotations

from inference.examination import Alternative, LayerTrace, Rotation, Stage, Trace

_LAYER = LayerTrace(
    scale=0.5,
    before=(1 / 3, -1.0),
    normed=(1.0, -1.0),
    query=(1.0,),
    key=(1.0,),
    value=(1.0,),
    rotation=Rotation((0, 1), (1.0, 0.0), (0.0, 1.0), (0.0, 1.0)),
    attention=((1.0,), (0.5, 0.5)),
    gated=(0.5,),
    active=1.0,
    after=(1.0, 0.0),
)
_CHANCE = Alternative(ord("d"), 0.75, 1.0)
TRACE = Trace(
    sizes={"layers": 1, "heads": 1, "vocabulary": 258},
    embedding=(1 / 3, -1.0),
    layer=_LAYER,
    residual=(1.0, 1.5, 2.0),
    logits=((ord("d"), 2.5),),
    stages=(Stage("temperature", 0.8, 1, (_CHANCE,)),),
    uniform=0.25,
    token=ord("d"),
)
"""What it says of any text."""
