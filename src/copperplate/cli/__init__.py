"""The command line: `copperplate dev` and the commands beside it, one module for those that belong together.

Nothing is begun while the program is loaded. So its first statements let Ctrl-C end the process at once, without a
traceback, and import no more than that needs. What remains is the start of the interpreter itself, some hundredths of a
second, in which Python may show one.
"""

import signal
import sys

# Of the program alone, not of whoever imports this module. Ignored it stays ignored, as for a shell's background job.
if sys.argv[0].endswith(("-m", "copperplate")) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

# `typing` takes longer to import than all of this.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.cli.streams import StreamFile


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run one command; answers its exit code. Without arguments those of the process, which then ends with it."""
    from copperplate.cli.progress import Progress
    from copperplate.cli.streams import open_streams

    output = open_streams() if argv is None else None
    with Progress("loading the program"):
        from copperplate.cli.commands import run
    return run(argv) if output is None else _run_once(output)


def _run_once(output: "StreamFile") -> int:
    from copperplate.cli.commands import run
    from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
    from copperplate.cli.streams import end_streams

    is_written = True
    try:
        try:
            # Ignored it stays ignored, as for a shell's background job.
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, _interrupt)
            code = run(None)
        finally:
            is_written = end_streams(output)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except SystemExit as ended:  # `--help`, `--version`, and what argparse refuses
        if ended.code or is_written:
            raise
        code = EXIT_OK
    return code if is_written else code or EXIT_FAILED


def _interrupt(_number: int, _frame: object) -> None:
    """End what runs, in order. Another Ctrl-C does not disturb that: what it cleans up takes seconds at most."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
