from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

pytest.register_assert_rewrite("session_contract")

from osnets import Osnets  # noqa: E402 - after the rewrite is registered


@pytest.fixture(scope="session")
def osnets(tmp_path_factory: pytest.TempPathFactory) -> Osnets:
    return Osnets(tmp_path_factory.mktemp("osnets"))


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    """PyTorch's threads wait for each other busily, which on shared cores takes seconds for images this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
