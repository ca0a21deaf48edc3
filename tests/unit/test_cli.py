from __future__ import annotations

import subprocess
import sys


def test_the_command_line_starts_without_heavy_libraries() -> None:
    code = (
        "import sys, triptych.cli, triptych.config.resolve;"
        "print(sorted({'torch', 'torchvision', 'mlflow', 'prefect', 'sklearn'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
