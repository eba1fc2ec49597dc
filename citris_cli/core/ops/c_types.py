"""The structures of ``c/kernels.c`` as ctypes has them; their meaning is written there."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any


def _pointers(names: str) -> Iterable[tuple[str, Any]]:
    return ((name, ctypes.c_void_p) for name in names.split())


def _numbers(names: str) -> Iterable[tuple[str, Any]]:
    return ((name, ctypes.c_int64) for name in names.split())


class Map(ctypes.Structure):
    """``map``."""

    _fields_ = (
        *_pointers("w bias lo hi panels panels_back packed packed_back"),
        *_numbers("ldw own outputs inputs count count_back"),
    )


class Network(ctypes.Structure):
    """``network``."""

    _fields_ = (("maps", Map * 3), *_pointers("middle"), *_numbers("ld"))


class OfNetwork(ctypes.Structure):
    """``of_network``."""

    _fields_ = (("weights", ctypes.c_void_p * 3), ("biases", ctypes.c_void_p * 3))


#: What a layer of a flow has of its own; the first six are learned.
LAYER_OWN = ("bias", "log_scale", "scaling", "lower", "upper", "log_diagonal", "permutation", "sign")
LAYER_LEARNED = 6


class Layer(ctypes.Structure):
    """``layer``."""

    _fields_ = (
        ("net", Network),
        ("linear", Map),
        *_pointers(" ".join(LAYER_OWN)),
        *_pointers("x bound weight room constant moved out y"),
    )


class OfLayer(ctypes.Structure):
    """``of_layer``."""

    _fields_ = (
        ("net", OfNetwork),
        *_pointers(" ".join(LAYER_OWN[:LAYER_LEARNED])),
        *_pointers("matrix shift bound"),
    )


class Stage(ctypes.Structure):
    """``stage``."""

    _fields_ = (("linear", Map), *_pointers("gain offset normal active slopes scales"))


class OfStage(ctypes.Structure):
    """``of_stage``."""

    _fields_ = tuple(_pointers("weight bias gain offset"))


class Sights(ctypes.Structure):
    """``sights``."""

    _fields_ = (
        *_numbers("windows steps latents variables"),
        *_pointers("z sample targets mean conditional_mean x of_x of_z of_sample"),
    )


class Prior(ctypes.Structure):
    """``prior``."""

    _fields_ = (
        *_numbers("rows samples latents variables components"),
        *_pointers("out z targets probabilities intervened observed"),
        ("regulariser", ctypes.c_float),
        ("pull", ctypes.c_float),
    )


class Parameter(ctypes.Structure):
    """``parameter``."""

    _fields_ = (
        *_pointers("p m v steps"),
        *_numbers("numbers group"),
        *((name, ctypes.c_double) for name in ("beta1", "beta2", "weight_decay", "epsilon")),
        *_pointers("g"),
        *_numbers("count"),
        *((name, ctypes.c_float) for name in ("rate", "root", "decay")),
    )


#: How many parameters owner networks have.
OWNER_LEARNED = 11
#: What networks are evaluated for, what is found on the way, and what has gradients but the parameters.
OWNERS_GIVEN = ("z_t", "z_t1", "targets", "psi", "drawn", "pi", "mean", "variance", "less")
OWNERS_MADE = (
    "parents", "seen", "asked", "likely", "owner", "target", "which", "counts", "order", "start", "lost", "weights",
)  # fmt: skip
OWNERS_LEARNED = ("z_t", "z_t1", "psi", "graphs", "pi", "mean", "variance", "less")


class Owners(ctypes.Structure):
    """``owners``."""

    _fields_ = (
        *_numbers("pairs samples latents variables nodes graphs hidden some own apart"),
        *_pointers(" ".join(OWNERS_GIVEN)),
        ("learned", ctypes.c_void_p * OWNER_LEARNED),
        *_pointers(" ".join(OWNERS_MADE)),
        ("unlikely", ctypes.c_float),
        ("floor", ctypes.c_float),
    )


class OfOwners(ctypes.Structure):
    """``of_owners``."""

    _fields_ = (
        *_pointers("value"),
        ("learned", ctypes.c_void_p * OWNER_LEARNED),
        *_pointers(" ".join(OWNERS_LEARNED)),
    )


#: In the order of ``structure_sizes``.
STRUCTURES = (Map, Network, OfNetwork, Layer, OfLayer, Stage, OfStage, Sights, Prior, Parameter, Owners, OfOwners)
