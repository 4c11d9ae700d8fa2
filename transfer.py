"""The command line: one thin verb per stage.

    transfer VERB --help

Exit codes: 0 done, 1 the work failed or a gate did not hold, 2 wrong usage. Human words go to
stderr, results to stdout; `--json` makes them machine-readable.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from commands import (
    adding,
    building,
    choosing,
    evaluating,
    learning,
    measuring,
    reporting,
    serving,
    tuning,
)
from services.errors import TransferError, UsageError
from services.settings import prepare_bentoml


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    options = _parsed(arguments)
    prepare_bentoml()
    try:
        return int(options.verb(options) or 0)
    except UsageError as error:
        return _fail(error, 2)
    except TransferError as error:
        # A request that the service would answer with 4xx is wrong usage.
        return _fail(error, 2 if error.status < 500 else 1)
    except KeyboardInterrupt:
        return 130


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """`key=value` may stand behind options, too, where argparse takes no positional words."""
    root = parser()
    options, rest = root.parse_known_args(arguments)
    late = [word for word in rest if "=" in word and not word.startswith("-")]
    if len(late) < len(rest) or (late and not hasattr(options, "settings")):
        root.error(f"unrecognized arguments: {' '.join(rest)}")
    if late:
        options.settings = [*options.settings, *late]
    return options


def _fail(error: TransferError, code: int) -> int:
    print(f"transfer: {error}", file=sys.stderr)
    return code


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="transfer", description=(__doc__ or "").splitlines()[0])
    verbs = root.add_subparsers(title="verbs", required=True, metavar="VERB")
    groups = (building, learning, adding, tuning, evaluating, reporting, serving, measuring)
    for group in (*groups, choosing):
        group.add(verbs)
    return root


if __name__ == "__main__":
    sys.exit(main())
