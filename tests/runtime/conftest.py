from __future__ import annotations

import pytest

pytest.register_assert_rewrite("session_contract")

from osnets import Osnets  # noqa: E402 - after the rewrite is registered


@pytest.fixture(scope="session")
def osnets(tmp_path_factory: pytest.TempPathFactory) -> Osnets:
    return Osnets(tmp_path_factory.mktemp("osnets"))
