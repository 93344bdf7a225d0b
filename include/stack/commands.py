"""How a set-up command ends: an error that a person can correct is one sentence, not a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from partner_sync.errors import DatabaseAwayError, PartnerSyncError


def run_command(main: Callable[[], object]) -> None:
    """Run ``main``; ends with status 1 and the sentence of a PartnerSyncError."""
    try:
        main()
    except DatabaseAwayError:
        sys.exit("Stopped: the database does not answer: `make status` says what runs, `make up` starts it.")
    except PartnerSyncError as error:
        sys.exit(f"Stopped: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped by Ctrl-C; `make stop` ends what was started.")
