"""Coverage-guided fuzzing with atheris (libFuzzer), one process a parser.

    python -m tests.fuzz [--seconds 60] [--corpus FOLDER] [PARSER ...]

Needs the extra `fuzz`. What is found is printed and left as `crash-*` in the corpus folder; it
becomes a case of tests/property/test_foreign_bytes.py.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.parsers import PARSERS

LONGEST_INPUT = 64 * 1024
SLOW_SECONDS = 10
MEMORY_MEBIBYTES = 2048


def main() -> int:
    """Fuzz each parser named, in turn; return how many had findings."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument("parsers", nargs="*", help="which [default: all]")
    options.add_argument("--seconds", type=int, default=60, help="for each parser")
    options.add_argument("--corpus", type=Path, help="kept from run to run [default: a new one]")
    arguments = options.parse_args()
    unknown = set(arguments.parsers) - set(PARSERS)
    if unknown:
        options.error(f"no such parser: {', '.join(sorted(unknown))}; known: {', '.join(PARSERS)}")
    corpus = arguments.corpus or Path(tempfile.mkdtemp(prefix="fuzz-corpus-"))
    failed = 0
    for name in arguments.parsers or PARSERS:
        folder = corpus / name
        folder.mkdir(parents=True, exist_ok=True)
        for seed in PARSERS[name].seeds():
            (folder / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.one", name, str(folder)),
                f"-max_total_time={arguments.seconds}",
                f"-artifact_prefix={folder}/",
                f"-max_len={LONGEST_INPUT}",
                f"-timeout={SLOW_SECONDS}",
                f"-rss_limit_mb={MEMORY_MEBIBYTES}",
                *("-print_final_stats=1", "-verbosity=0"),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        failed += done.returncode != 0
        runs = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        print(f"{name}: {runs[0].split()[-1] if runs else '?'} inputs", end="")
        print("" if done.returncode == 0 else f"\n{done.stderr[-3000:]}", flush=True)
    print(f"corpus: {corpus}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
