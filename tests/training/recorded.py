"""A CUDA graph's part played on the CPU: operations are recorded once and computed again on the same memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

#: What would make a GPU wait, and what recording refuses there.
WAITING = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.equal.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten._unique2.default,
    torch.ops.aten.unique_dim.default,
    torch.ops.aten.masked_select.default,
}


class CpuGraph:
    """Records as :class:`citris_cli.training.steps.CudaGraph` does: what Python computed is fixed, tensors are places.

    Args:
        generator: source of all noise in what is recorded.

    Attributes:
        operations: how many were recorded.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._recorder = _Recorder()

    @property
    def operations(self) -> int:
        return len(self._recorder.calls)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Computes what it records, but puts back the places that existed before."""
        state = self._generator.get_state()
        with self._recorder:
            yield
        self._generator.set_state(state)
        for place, value in self._recorder.before:
            place.copy_(value)

    @torch.no_grad()
    def replay(self) -> None:
        for operation, given, named, results in self._recorder.calls:
            again = tree_leaves(operation(*given, **named))
            for place, value in zip(tree_leaves(results), again, strict=True):
                if isinstance(place, Tensor) and not _same_memory(place, value):
                    place.copy_(value)


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any], Any]] = []
        self.before: list[tuple[Tensor, Tensor]] = []
        self._made: set[int] = set()
        self._kept: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in WAITING:
            raise RuntimeError(f"{func} waits for the device")
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor):
                self._keep(tensor)
        # Detached: a recorded operation is repeated for its values.
        given, named = tree_map_only(Tensor, lambda tensor: tensor.detach(), (args, kwargs))
        results = func(*args, **kwargs)
        for tensor in tree_leaves(results):
            if isinstance(tensor, Tensor):
                self._made.add(tensor.untyped_storage().data_ptr())
        self.calls.append((func, given, named, tree_map_only(Tensor, lambda tensor: tensor.detach(), results)))
        return results

    def _keep(self, tensor: Tensor) -> None:
        """Remember what a place that existed before holds, which an operation may be about to change."""
        memory = tensor.untyped_storage().data_ptr()
        if memory not in self._made and memory not in self._kept:
            self._kept.add(memory)
            whole = torch.empty(0, dtype=torch.uint8)
            whole.set_(tensor.untyped_storage())  # type: ignore[arg-type]
            self.before.append((whole, whole.clone()))


def _same_memory(one: Tensor, other: Any) -> bool:
    return isinstance(other, Tensor) and one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
