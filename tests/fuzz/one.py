"""Fuzz one parser in this process: `python -m tests.fuzz.one PARSER CORPUS [libFuzzer options]`."""

import sys

import atheris

with atheris.instrument_imports(include=["ff_protocol", "client_agent"]):
    from tests.fuzz.parsers import PARSERS


def main() -> None:
    """Run until the time is over or something is found."""
    parser = PARSERS[sys.argv[1]]
    parser.seeds()  # makes what is made once: keys, certificates

    def one(data: bytes) -> None:
        parser.check(data)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
