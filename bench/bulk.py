"""Work on many keys in a process of its own, timed without the start of Python: bench.parts.many runs this.

    python -m bench.bulk publish        publish everything into the Redis of the environment, as after a loss
    python -m bench.bulk import FILE    manage.py import_keys FILE

The last line of output is JSON: how many pieces, the seconds, and the seconds of CPU time.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from time import perf_counter, process_time


def main(what: str, *files: str) -> None:
    import django

    django.setup()
    work: dict[str, Callable[..., int]] = {"publish": publish, "import": bring_in}
    begin, used = perf_counter(), process_time()
    count = work[what](*files)
    print(json.dumps({"count": count, "seconds": perf_counter() - begin, "cpu": process_time() - used}))


def publish() -> int:
    """The number of parts."""
    from bench import filling

    return filling.publish()


def bring_in(file: str) -> int:
    """The number of keys; all have to be new."""
    from django.core.management import call_command

    told = io.StringIO()
    call_command("import_keys", file, stdout=told, stderr=io.StringIO())
    last = told.getvalue().splitlines()[-1]
    if not last.endswith(", 0 already imported, 0 refused"):
        raise SystemExit(last)
    return int(last.split()[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
