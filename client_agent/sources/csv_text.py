"""CSV as spreadsheets write it: which encoding, which delimiter.

Encodings in this order: a byte order mark (UTF-8, UTF-16), UTF-8, UTF-16 without a mark if every
other byte of the beginning is zero, else Windows-1252, which is what Excel's plain "CSV" is in
Western Europe. Delimiters: Excel's own `sep=` line, else whichever of comma, semicolon, tab and bar
splits the first line into the most cells.
"""

import codecs
import csv
import io
import re

from client_agent.errors import DataError

_DELIMITERS = ",;\t|"
_SEPARATOR = re.compile(r'"?sep=([,;\t|])"?', re.IGNORECASE)
_SAMPLE = 64


def decode_table(data: bytes, name: str) -> tuple[str, str]:
    """Return a file's text and the encoding it was in.

    Raises:
        DataError: no encoding fits.
    """
    encoding = _encoding(data)
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name}: neither UTF-8, UTF-16 nor Windows-1252", hint="save it as CSV UTF-8"
        ) from error


def parse_table(text: str, name: str) -> list[list[str]]:
    """Split a text into rows of cells, one a line; a `sep=` line becomes an empty row.

    Raises:
        DataError: it is not CSV.
    """
    first, newline, rest = text.partition("\n")
    said = _SEPARATOR.fullmatch(first.strip())
    if said is not None:
        delimiter, text = said[1], newline + rest
    else:
        delimiter = max(_DELIMITERS, key=lambda candidate: _cells(first, candidate))
    if "\0" in text:
        raise DataError(f"{name}: not CSV (it holds zero bytes)")
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"{name}: not CSV ({error})") from error


def _cells(line: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=delimiter), []))
    except csv.Error:
        return 0


def _encoding(data: bytes) -> str:
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = data[:_SAMPLE]
    if len(sample) >= 4 and len(sample) % 2 == 0:
        if not any(sample[1::2]):
            return "utf-16-le"
        if not any(sample[::2]):
            return "utf-16-be"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"
