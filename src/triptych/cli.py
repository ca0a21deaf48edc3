"""The command line: every command by its name. Commands import the heavy libraries that they need."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from triptych import __version__
from triptych.commands import cache, inspect, models, store, training
from triptych.commands.answers import amount, verify
from triptych.commands.backbones import listing
from triptych.commands.nights import history
from triptych.commands.serving import serve
from triptych.commands.terminal import EXIT_FAILURE, EXIT_INPUT, errors, line_handler
from triptych.errors import InputError, StorageError, TriptychError, describe_error, hide_passwords
from triptych.system.addresses import tracking_uri
from triptych.system.files import FULL, NO_ROOM, explain_storage

# The base of what Typer raises for wrong options and arguments, which has no public name.
UsageError: Any = typer.BadParameter.__bases__[0]

# As Python itself says it where the reader of a pipe has gone.
EXIT_UNWRITTEN = 120

app = typer.Typer(
    name="triptych",
    help="Side by side, honestly: a network by hand in NumPy, the same in PyTorch, and transfer learning.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command(help=training.COMPARE_EXAMPLES)(training.compare)
app.command(help=training.TUNE_EXAMPLES)(training.tune)
app.command(help=inspect.CHECK_EXAMPLES)(inspect.check)
app.command(help=inspect.SHOW_EXAMPLES)(inspect.show)
app.command(help=inspect.PRESETS_EXAMPLES)(inspect.presets)
app.command(help=listing.EXAMPLES)(listing.backbones)
app.command(help=models.REPORT_EXAMPLES)(models.report)
app.command(help=history.EXAMPLES)(history.history)
app.command(help=verify.EXAMPLES)(verify.verify)
app.command(help=amount.EXAMPLES)(amount.amount)
app.command(help=models.FETCH_EXAMPLES)(models.fetch)
app.command(help=models.PREDICT_EXAMPLES)(models.predict)
app.command(help=serve.EXAMPLES)(serve.serve)
app.command(help=models.PROMOTE_EXAMPLES)(models.promote)
app.command(help=models.ROLLBACK_EXAMPLES)(models.rollback)

cache_app = typer.Typer(help=cache.CACHE_EXAMPLES)
cache_app.callback(invoke_without_command=True)(cache.cache)
cache_app.command(help=cache.PRUNE_EXAMPLES)(cache.prune)
app.add_typer(cache_app, name="cache")

store_app = typer.Typer(help=store.STORE_EXAMPLES)
store_app.callback(invoke_without_command=True)(store.store)
store_app.command(help=store.PRUNE_EXAMPLES)(store.prune)
store_app.command(help=store.MOVE_EXAMPLES)(store.move)
app.add_typer(store_app, name="store")


def print_version(requested: bool) -> None:
    """Print the version and exit, if it was requested."""
    if requested:
        print(f"triptych {__version__}")
        raise typer.Exit


@app.callback()
def triptych(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options that belong to no command."""


def main() -> None:
    """Run the command line and end the process, without the teardown of Python's modules.

    With PyTorch, MLflow and Prefect that takes seconds, and frees what the system frees anyway.
    """
    ended: list[int] = []
    # Registered first, so that it runs last: after all threads have ended, and after all that others registered.
    atexit.register(lambda: skip_teardown(*ended))
    ended.append(run())
    sys.exit(ended[0])


def run() -> int:
    """Run the command line and return its exit code: 2 for bad input, after one line on stderr, 1 for other errors."""
    logging.getLogger("triptych").addHandler(line_handler)
    try:
        return int(app(standalone_mode=False) or 0)
    except UsageError as error:
        # Nothing is left to say where a command without arguments has shown its help.
        if text := error.format_message():
            command = error.ctx.command_path if error.ctx else "triptych"
            errors.print(f"triptych: {text.rstrip('.')}: `{command} --help` shows the arguments and options")
        return EXIT_INPUT
    except typer.Abort:
        return EXIT_FAILURE
    except BrokenPipeError:
        return EXIT_UNWRITTEN
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, the user gets one line
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            error = explain_storage(error, Path(error.filename or "a file"))
        elif FULL in str(error):
            places = f"{hide_passwords(tracking_uri())} or PREFECT_HOME"
            error = StorageError(f"{places} is on a disk that is full: make room there")
        hint = "" if isinstance(error, TriptychError) else " (unexpected; --debug shows the traceback)"
        errors.print(f"triptych: {describe_error(error)}{hint}")
        if "--debug" in sys.argv:
            print(hide_passwords(traceback.format_exc()), file=sys.stderr)
        return EXIT_INPUT if isinstance(error, InputError) else EXIT_FAILURE


def skip_teardown(code: int | None = None) -> None:
    """End the process with an exit code, after everything that was printed or logged is written.

    Args:
        code: None if the command was interrupted: then Python ends the process in its own way.
    """
    if code is None:
        return
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or EXIT_UNWRITTEN
    os._exit(code)
