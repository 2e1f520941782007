"""The optimizers of a recipe, all of them torch's own, and the learning rate of a step."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from inference.training.recipe import Recipe


def optimizers(recipe: Recipe, model: nn.Module, device: torch.device) -> list[Optimizer]:
    """One or two. Vectors (norms, biases) are not pulled towards zero."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    matrices = [p for n, p in named if p.dim() >= 2]
    vectors = [p for n, p in named if p.dim() < 2]
    found: list[Optimizer] = []
    if recipe.optimizer == "muon":
        inner = [p for n, p in named if p.dim() == 2 and ".layers." in n]
        matrices = [p for p in matrices if all(p is not other for other in inner)]
        # with this adjustment its steps are as long as AdamW's, and one learning rate fits both
        found.append(
            Muon(
                inner,
                lr=recipe.learning_rate,
                weight_decay=recipe.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    adamw = AdamW(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate,
        betas=(recipe.beta1, recipe.beta2),
        fused=device.type == "cuda",
    )
    return [*found, adamw]


def learning_rate(recipe: Recipe, step: int) -> float:
    """Of step 0, 1, …: a linear warm-up, then as the schedule says."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    last = max(1, recipe.steps - 1)
    if recipe.schedule == "wsd":
        decay = max(1, round(recipe.steps * recipe.decay_share))
        share = min(1.0, (last - step) / decay)
    else:
        done = (step - recipe.warmup_steps) / max(1, last - recipe.warmup_steps)
        share = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return recipe.learning_rate * (recipe.final_share + (1 - recipe.final_share) * share)
