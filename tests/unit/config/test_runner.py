"""What `--runner` may name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import LocalCluster
from distributed.security import Security

from triptych.config.runner import check_runner
from triptych.errors import ConfigError


@pytest.mark.parametrize(
    ("runner", "rule"),
    [
        ("ray", "use threads, dask or dask:tcp://HOST:PORT"),
        ("dask:127.0.0.1", "use threads, dask or dask:tcp://HOST:PORT"),
        ("dask:tcp://127.0.0.1:1", "no Dask scheduler answers there"),
        ("dask:tcp://127.0.0.1:0", "0 is not between 1 and 65535"),
        ("dask:tcp://127.0.0.1:65537", "65537 is not between 1 and 65535"),
        ("dask:tls://127.0.0.1:1", "needs certificates: set DASK_DISTRIBUTED__COMM__TLS__CA_FILE"),
    ],
)
def test_a_runner_that_is_none_is_refused(runner: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule) as refused:
        check_runner(runner)
    assert repr(runner) in str(refused.value)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, Path]]]:
    """A scheduler that asks for certificates, and the files that Dask's configuration names."""
    made = Security.temporary()
    folder = tmp_path_factory.mktemp("certificates")
    contents = {"ca-file": made.tls_ca_file, "client.cert": made.tls_client_cert, "client.key": made.tls_client_key}
    files = {name: folder / f"{name}.pem" for name in contents}
    for name, content in contents.items():
        files[name].write_text(content)
    options: Any = {"protocol": "tls://", "security": made, "dashboard_address": None}
    with LocalCluster(n_workers=0, processes=False, **options) as cluster:
        yield f"dask:{cluster.scheduler_address}", files


def configure(files: dict[str, Path]) -> dask.config.set:
    return dask.config.set({f"distributed.comm.tls.{name}": str(file) for name, file in files.items()})


def test_certificates_are_those_of_dasks_configuration(secured: tuple[str, dict[str, Path]]) -> None:
    runner, files = secured
    with configure(files):
        check_runner(runner)


@pytest.mark.parametrize(
    ("damage", "rule"),
    [(Path.unlink, "the certificates cannot be read"), (lambda file: file.write_text(""), "the certificates cannot")],
    ids=["missing", "empty"],
)
def test_certificates_that_cannot_be_read_are_refused(
    secured: tuple[str, dict[str, Path]], damage: object, rule: str, tmp_path: Path
) -> None:
    runner, files = secured
    copy = tmp_path / "cert.pem"
    copy.write_bytes(files["client.cert"].read_bytes())
    assert callable(damage)
    damage(copy)
    with configure(files | {"client.cert": copy}), pytest.raises(ConfigError, match=rule):
        check_runner(runner)


def test_a_scheduler_of_another_authority_is_refused(secured: tuple[str, dict[str, Path]], tmp_path: Path) -> None:
    runner, files = secured
    other = tmp_path / "ca.pem"
    other.write_text(Security.temporary().tls_ca_file)
    with configure(files | {"ca-file": other}), pytest.raises(ConfigError, match="CERTIFICATE_VERIFY_FAILED"):
        check_runner(runner)
