from __future__ import annotations

import subprocess
import sys

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from triptych.system import threads
from triptych.system.threads import count_cores, count_threads, limit_blas_threads, release_torch_threads


@pytest.fixture
def loaded() -> None:
    """Load the BLAS of NumPy and that of SciPy, so that a limit of the test is one of both."""
    import scipy.linalg  # noqa: F401


def read_blas_threads() -> int:
    return min(int(pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas")


@pytest.mark.usefixtures("loaded")
def test_the_smallest_limit_holds_until_the_last_block_ends() -> None:
    with threadpool_limits(4, user_api="blas"):
        before = read_blas_threads()
        some, few = limit_blas_threads(3), limit_blas_threads(2)
        with some:
            assert read_blas_threads() == 3
            few.__enter__()
            assert read_blas_threads() == 2
        assert read_blas_threads() == 2
        few.__exit__(None, None, None)
        assert read_blas_threads() == before == 4


def test_scipys_blas_is_limited_before_anything_has_loaded_it() -> None:
    """SciPy has a BLAS of its own, which would have no limit if it were loaded while one holds."""
    script = """if True:
        import sys
        from threadpoolctl import threadpool_info
        from triptych.system.threads import limit_blas_threads

        def read():
            return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

        assert "scipy" not in sys.modules
        with limit_blas_threads(1):
            before = read()
            import scipy.linalg
            assert read() == before == [1] * len(before)
    """
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.usefixtures("loaded")
def test_an_error_ends_a_limit() -> None:
    with threadpool_limits(4, user_api="blas"):
        with pytest.raises(ValueError, match="no luck"), limit_blas_threads(1):
            raise ValueError("no luck")
        assert read_blas_threads() == 4


@pytest.mark.parametrize(("wanted", "threads"), [("1", 1), ("", None), ("0", None), ("many", None), ("100000", None)])
def test_threads_are_as_many_as_the_environment_allows(
    wanted: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert count_threads() == (threads or count_cores())


def test_pytorch_gets_every_core_again() -> None:
    import torch

    torch.set_num_threads(1)
    release_torch_threads()
    assert torch.get_num_threads() == count_cores()


def test_without_pytorch_there_is_nothing_to_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    release_torch_threads()
    assert "torch" not in sys.modules


def test_a_machine_is_busy_where_half_of_its_cores_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for load, busy in ((0.1, False), (0.6, True)):
        monkeypatch.setattr("os.getloadavg", lambda load=load: (load * threads.count_cores(), 0.0, 0.0))
        assert threads.is_busy() is busy
