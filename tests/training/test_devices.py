"""Names of devices and precisions: what they become, and what is said where they do not exist."""

import ctypes
import subprocess
import sys

import pytest
import torch

from citris_cli.devices import select_device
from citris_cli.errors import InputError
from citris_cli.training.devices import compute_in, resolve_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def machine(monkeypatch: pytest.MonkeyPatch, cuda: int = 0, mps: bool = False) -> None:
    """Let PyTorch find these devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "found"), [(0, False, "cpu"), (0, True, "mps"), (1, False, "cuda"), (1, True, "cuda")]
)
def test_auto(monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, found: str) -> None:
    machine(monkeypatch, cuda, mps)
    assert select_device("auto") == torch.device(found)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "mps"])
def test_named_devices(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    machine(monkeypatch, cuda=2, mps=True)
    assert select_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cpu:0", "mps:0", "cuda:", "cuda:-1", "cuda:x", "cuda:0:0", "CUDA"])
def test_unknown_names(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    machine(monkeypatch, cuda=2, mps=True)
    with pytest.raises(InputError, match="is unknown; use auto, cpu, cuda, cuda:0 or mps"):
        select_device(name)


def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(InputError, match=f"--device {name}: PyTorch finds no such device"):
            select_device(name)
    machine(monkeypatch, cuda=2)
    with pytest.raises(InputError, match="--device cuda:2: this machine has 2 CUDA devices"):
        select_device("cuda:2")


@pytest.mark.parametrize(
    ("precision", "device", "settled"),
    [
        ("auto", CPU, "float32"),
        ("auto", CUDA, "tf32"),
        ("float32", CUDA, "float32"),
        ("tf32", CUDA, "tf32"),
        ("bf16", CPU, "bf16"),
        ("bf16", CUDA, "bf16"),
    ],
)
def test_precisions(precision: str, device: torch.device, settled: str) -> None:
    assert resolve_precision(precision, device) == settled


def test_precisions_that_cannot_be() -> None:
    with pytest.raises(InputError, match="--precision half is unknown; use auto, float32, tf32, bf16"):
        resolve_precision("half", CPU)
    with pytest.raises(InputError, match="tf32 needs a CUDA device, and this runs on cpu"):
        resolve_precision("tf32", CPU)


@pytest.mark.parametrize(("precision", "kind"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_what_a_product_is_computed_in(precision: str, kind: torch.dtype) -> None:
    layer, x = torch.nn.Linear(3, 3), torch.ones(2, 3)
    with compute_in(precision, CPU):
        assert layer(x).dtype == kind
    assert layer(x).dtype == layer.weight.dtype == torch.float32


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only glibc 2.33 and later tell what they keep")
@pytest.mark.parametrize("how", ["keep", "as it is"])
def test_what_is_freed_stays_with_the_process(how: str) -> None:
    """100 MB are taken and freed, in small and large blocks; glibc's own account tells how much it then has free."""
    code = """if True:
        import ctypes, sys, torch
        from citris_cli.training.devices import keep_freed_memory
        if sys.argv[1] == "keep":
            keep_freed_memory()
        many = [torch.ones(1 << 20) for _ in range(12)] + [torch.ones(14 << 20)]
        del many
        names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
        fields = [(name, ctypes.c_size_t) for name in names.split()]
        account = ctypes.CDLL(None).mallinfo2
        account.restype = type("Account", (ctypes.Structure,), {"_fields_": fields})
        print(account().fordblks)
    """
    done = subprocess.run([sys.executable, "-c", code, how], capture_output=True, check=True)
    assert (int(done.stdout) > 90e6) is (how == "keep")
