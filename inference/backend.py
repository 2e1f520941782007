"""Which device the engine computes on, and why: facts about a machine in, a decision out.

Nothing is touched here, so that every machine can be decided about on any other;
`inference/probe.py` gathers the facts of this one. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from inference.errors import DeviceUnavailable

# The oldest Linux driver that runs programs made for a major version of CUDA (NVIDIA, "CUDA
# Compatibility"). Kept equal to those of .ci/install.py by a test.
OLDEST_DRIVERS = {13: 580, 12: 525}
# Ampere: asynchronous copies, bf16 on the tensor cores.
OLDEST_CAPABILITY = (8, 0)


def gettext_noop(sentence: str) -> str:
    """Marks a sentence that the site translates: the engine knows no languages."""
    return sentence


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPU that torch would use. Memory in bytes; None where nobody asked for it."""

    name: str
    capability: tuple[int, int]
    memory_total: int
    memory_free: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a machine has. Versions as their makers write them; of CUDA "13.0". None or empty:
    not found. `torch_error` and `cupy_error`: what they said when they could not be used."""

    driver: str | None = None
    driver_cuda: str | None = None
    torch: str = ""
    torch_cuda: str | None = None
    torch_error: str = ""
    gpu: Gpu | None = None
    cupy: Mapping[str, str] = field(default_factory=dict)
    cupy_cuda: str | None = None
    cupy_error: str = ""
    nvrtc: str | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Half a sentence, why, and a whole one, what to do, in English with placeholders; both are
    keys of the site's translations."""

    why: str
    remedy: str = ""
    fields: Mapping[str, str | int] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.why % self.fields


@dataclass(frozen=True, slots=True)
class Backend:
    """The decision. On the CPU the reason says what keeps the GPU from being used."""

    name: Literal["cuda", "cpu"]
    reason: Reason


def choose_backend(facts: Facts, device: str = "auto") -> Backend:
    """device: "auto" takes the GPU where it can, "cuda" insists on it, "cpu" wants none of it.
    Raises DeviceUnavailable where "cuda" is asked for and cannot be had."""
    if device == "cpu":
        return Backend("cpu", Reason(gettext_noop("the CPU was asked for (TINYLLM_DEVICE=cpu)")))
    obstacle = _obstacle(facts)
    if obstacle is None and facts.gpu is not None:
        why = gettext_noop("everything that is needed is there: %(gpu)s, CUDA %(cuda)s")
        fields = {"gpu": facts.gpu.name, "cuda": facts.torch_cuda or ""}
        return Backend("cuda", Reason(why, fields=fields))
    assert obstacle is not None
    if device == "cuda":
        raise DeviceUnavailable(str(obstacle), obstacle.remedy % obstacle.fields)
    return Backend("cpu", obstacle)


def _obstacle(facts: Facts) -> Reason | None:
    """The first thing that keeps the GPU from being used, in the order in which to mend them."""
    if facts.driver is None and facts.driver_cuda is None:
        return Reason(
            gettext_noop("no NVIDIA driver was found"),
            gettext_noop("If there is an NVIDIA GPU, install its driver, %(needed)s or newer."),
            {"needed": OLDEST_DRIVERS.get(_major(facts.torch_cuda), max(OLDEST_DRIVERS.values()))},
        )
    if facts.torch_cuda is None:
        return Reason(
            gettext_noop("torch %(torch)s was built without CUDA"),
            gettext_noop(
                "Install again where the package index has torch for CUDA: make clean, then make "
                "serve."
            ),
            {"torch": facts.torch},
        )
    if facts.driver_cuda is not None and _major(facts.driver_cuda) < _major(facts.torch_cuda):
        return Reason(
            gettext_noop(
                "the driver %(driver)s runs CUDA %(driver_cuda)s, and torch was built for CUDA "
                "%(torch_cuda)s"
            ),
            gettext_noop("Install the NVIDIA driver %(needed)s or newer."),
            {
                "driver": facts.driver or "",
                "driver_cuda": facts.driver_cuda,
                "torch_cuda": facts.torch_cuda,
                "needed": OLDEST_DRIVERS.get(_major(facts.torch_cuda), ""),
            },
        )
    return _gpu_obstacle(facts) or _cupy_obstacle(facts)


def _gpu_obstacle(facts: Facts) -> Reason | None:
    if facts.gpu is None:
        return Reason(
            gettext_noop("torch cannot use a GPU: %(said)s"),
            gettext_noop(
                "See whether nvidia-smi lists the GPU, CUDA_VISIBLE_DEVICES does not hide it, and "
                "a container was started with it."
            ),
            {"said": facts.torch_error or "no GPU"},
        )
    if facts.gpu.capability < OLDEST_CAPABILITY:
        return Reason(
            gettext_noop(
                "%(gpu)s has compute capability %(found)s, and the kernels need %(needed)s"
            ),
            gettext_noop("Use a GPU of the Ampere generation (2020) or a newer one."),
            {
                "gpu": facts.gpu.name,
                "found": "{}.{}".format(*facts.gpu.capability),
                "needed": "{}.{}".format(*OLDEST_CAPABILITY),
            },
        )
    return None


def _cupy_obstacle(facts: Facts) -> Reason | None:
    wanted = _major(facts.torch_cuda)
    again = gettext_noop("Install again: make clean, then make serve.")
    if not facts.cupy:
        return Reason(
            gettext_noop("CuPy is not installed"),
            gettext_noop("Run make serve, which installs requirements-cuda%(cuda)s.txt."),
            {"cuda": wanted},
        )
    if len(facts.cupy) > 1:
        why = gettext_noop("more than one CuPy is installed: %(names)s")
        return Reason(why, again, {"names": ", ".join(sorted(facts.cupy))})
    if facts.cupy_error or facts.cupy_cuda is None:
        why = gettext_noop("CuPy cannot be used: %(said)s")
        return Reason(why, again, {"said": facts.cupy_error})
    if _major(facts.cupy_cuda) != wanted:
        why = gettext_noop(
            "CuPy was built for CUDA %(cupy)s, and torch for CUDA %(torch)s: they must agree"
        )
        versions = {"cupy": facts.cupy_cuda, "torch": facts.torch_cuda or ""}
        return Reason(why, again, versions)
    if _major(facts.nvrtc) != wanted:
        why = gettext_noop("CuPy found the compiler (NVRTC) of CUDA %(found)s, not of %(torch)s")
        versions = {"found": facts.nvrtc or "", "torch": facts.torch_cuda or ""}
        return Reason(why, again, versions)
    return None


def _major(version: str | None) -> int:
    return int(version.partition(".")[0]) if version else 0
