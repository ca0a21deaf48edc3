"""The command line: every command by its name. Commands import the heavy libraries that they need."""

from __future__ import annotations

import gc
import sys
import traceback

import typer

from triptych.commands import cache, inspect, models, training
from triptych.commands.terminal import EXIT_FAILURE, EXIT_INPUT, errors
from triptych.errors import InputError

app = typer.Typer(
    name="triptych",
    help="Side by side, honestly: a network by hand in NumPy, the same in PyTorch, and transfer learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command(help=training.COMPARE_EXAMPLES)(training.compare)
app.command(help=training.TUNE_EXAMPLES)(training.tune)
app.command(help=inspect.CHECK_EXAMPLES)(inspect.check)
app.command(help=inspect.SHOW_EXAMPLES)(inspect.show)
app.command(help=inspect.PRESETS_EXAMPLES)(inspect.presets)
app.command(help=models.REPORT_EXAMPLES)(models.report)
app.command(help=models.FETCH_EXAMPLES)(models.fetch)
app.command(help=models.PREDICT_EXAMPLES)(models.predict)
app.command(help=models.PROMOTE_EXAMPLES)(models.promote)
app.command(help=models.ROLLBACK_EXAMPLES)(models.rollback)

cache_app = typer.Typer(help=cache.CACHE_EXAMPLES)
cache_app.callback(invoke_without_command=True)(cache.cache)
cache_app.command(help=cache.PRUNE_EXAMPLES)(cache.prune)
app.add_typer(cache_app, name="cache")


def main() -> None:
    """Run the command line; an error of the user's is one line on stderr and exit code 2."""
    try:
        app()
    except InputError as error:
        _explain(error)
        sys.exit(EXIT_INPUT)
    except Exception as error:  # noqa: BLE001 - the last stop: whatever it is, the user gets one line
        _explain(error)
        sys.exit(EXIT_FAILURE)
    finally:
        skip_last_collection()


def skip_last_collection() -> None:
    """Spare Python's last search for garbage, which walks through every library for seconds and frees what ends anyway.

    Triton, which PyTorch's compiler imports, prints every object that is not freed: there it takes its time.
    """
    if "triton" in sys.modules:
        gc.unfreeze()
    else:
        gc.freeze()


def _explain(error: Exception) -> None:
    errors.print(f"triptych: {error}" if str(error) else f"triptych: {type(error).__name__}")
    if "--debug" in sys.argv:
        traceback.print_exc()
