"""The file of a study: Optuna's journal, one JSON object a line, each with a checksum."""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.storages.journal._storage import JournalOperation

from triptych.errors import DamagedFileError, StorageError
from triptych.system.checked import reading
from triptych.system.files import writing_to

CHECKSUM = "crc32"
# What a running trial writes. If the machine loses it, the trial is run again, so it need not wait for the disk.
OF_RUNNING_TRIALS = {
    *(JournalOperation.CREATE_TRIAL, JournalOperation.SET_TRIAL_PARAM, JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE),
    *(JournalOperation.SET_TRIAL_USER_ATTR, JournalOperation.SET_TRIAL_SYSTEM_ATTR),
}
REMEDY = "restore it, or delete it and run its trials again"

log = logging.getLogger(__name__)


class CheckedJournal(JournalFileBackend):
    """Optuna's journal with a checksum in each line; lines of earlier versions have none."""

    def __init__(self, file: Path) -> None:
        """Open the file of a study; create it if there is none.

        Raises:
            StorageError: it cannot be written.
        """
        self._file = file
        # Unlike a symbolic link, this lock works on every system.
        self._own_lock = JournalFileOpenLock(str(file))
        with writing_to(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            super().__init__(str(file), self._own_lock)
            self._drop_half_a_line()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines; the end of a trial waits until it and all lines before it are on the disk.

        Raises:
            StorageError: they cannot be written.
        """
        lines = [json.dumps({**line, CHECKSUM: _sum(line)}, separators=(",", ":")) for line in logs]
        try:
            with writing_to(self._file), self._locked(), self._file.open("ab") as file:
                file.write("".join(f"{line}\n" for line in lines).encode())
                if any(line["op_code"] not in OF_RUNNING_TRIALS for line in logs):
                    file.flush()
                    os.fsync(file.fileno())
        except StorageError:
            self._drop_half_a_line()
            raise

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield the lines from a number on.

        Raises:
            DamagedFileError: a line is not what was written.
        """
        try:
            with reading(self._file):
                lines = list(super().read_logs(log_number_from))
        except DamagedFileError as damaged:
            raise DamagedFileError(self._file, damaged.reason, REMEDY) from damaged
        for number, line in enumerate(lines, start=log_number_from + 1):
            if "op_code" not in line or line.pop(CHECKSUM, None) not in {None, _sum(line)}:
                raise DamagedFileError(self._file, f"the checksum of line {number} is wrong", REMEDY)
            yield line

    def _drop_half_a_line(self) -> None:
        """Cut off a last line that was not written to its end: the next one would be appended to it."""
        if self._file.is_dir() or _ends_with_a_line(self._file):
            return
        with self._locked():
            if not _ends_with_a_line(self._file):
                log.warning("%s ends within a line: it is cut off, and what it says is done again", self._file)
                os.truncate(self._file, self._file.read_bytes().rfind(b"\n") + 1)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._own_lock.acquire()
        try:
            yield
        finally:
            self._own_lock.release()


def _ends_with_a_line(file: Path) -> bool:
    content = file.read_bytes()
    return not content or content.endswith(b"\n")


def _sum(line: dict[str, Any]) -> int:
    # As it is written and read: JSON turns numbers that are keys into text.
    return zlib.crc32(json.dumps(json.loads(json.dumps(line)), sort_keys=True).encode())
