"""Which number format `precision` stands for."""

import pytest
import torch

from vit_atlas.models.classifier import autocast, in_bfloat16


@pytest.mark.parametrize(
    ("precision", "gpu", "capability", "amx", "expected"),
    [
        ("auto", None, "AVX512", True, True),
        ("auto", None, "AVX512", False, False),
        ("auto", None, "AVX2", True, False),
        ("auto", None, "DEFAULT", False, False),
        ("auto", True, "AVX2", False, True),
        ("auto", False, "AVX512", True, False),
        ("float32", True, "AVX512", True, False),
        ("bfloat16", None, "DEFAULT", False, True),
    ],
    ids=["AMX", "AVX512", "AMX not to be used", "neither", "GPU", "GPU without it", "float32 asked", "bfloat16 asked"],
)
def test_auto_is_what_the_device_multiplies_in(
    monkeypatch: pytest.MonkeyPatch, precision: str, gpu: bool | None, capability: str, amx: bool, expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: gpu)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert in_bfloat16(precision) is expected


@pytest.mark.parametrize(("bfloat16", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_autocast(bfloat16: bool, expected: torch.dtype) -> None:
    with autocast(torch.device("cpu"), bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected
