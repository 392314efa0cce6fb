"""`make demo`: index the sample corpus, ask three questions, serve the page.

The make target sets TWIN_TENANT=demo: the sample corpus never mixes with anybody's own texts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from serving.cli.attach import find_server
from serving.cli.serve import listen
from twin.errors import ConfigError, TwinError
from twin.settings import load_settings

ROOT = Path(__file__).parent.parent
TWIN = Path(sys.executable).with_name("twin")
QUESTIONS = (
    "Why does Tove leave gaps in the data instead of filling them?",
    "How much current does the logger draw when it sleeps?",
    "What does she charge for a day of consulting?",
)


def main() -> None:
    """Entry point; --no-serve stops after the questions."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--no-serve", action="store_true", help="stop after the questions")
    arguments = parser.parse_args()
    began = time.monotonic()
    if not arguments.no_serve:
        check_port()

    def twin(*words: str) -> None:
        code = subprocess.run([str(TWIN), *words], check=False).returncode
        if code:
            sys.exit(code)

    print("Indexing the sample corpus (examples/corpus)", flush=True)
    twin("ingest", str(ROOT / "examples" / "corpus"))
    for question in QUESTIONS:
        print(f'\n$ twin ask "{question}"', flush=True)
        twin("ask", question)
    print(f"\nThree questions, {time.monotonic() - began:.0f} s. Ask your own:")
    print('  TWIN_TENANT=demo .venv/bin/twin ask "..."')
    if not arguments.no_serve:
        print("The page follows; Ctrl-C stops it.", flush=True)
        os.execv(TWIN, [str(TWIN), "serve"])


def check_port() -> None:
    """End here, before the work, if the page could not be served: it is served already, or the port is taken."""
    try:
        settings = load_settings()
        try:
            listen(settings.host, settings.port).close()
        except ConfigError:
            running = find_server(settings)
            if running is None:
                raise
            print(f"The demo is already running at {running.where}")
            sys.exit(0)
    except TwinError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
