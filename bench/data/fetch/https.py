"""Download one file over https: resumable, with mirrors and checksums.

pooch transfers and hashes; this module adds resuming and checks. A transfer is written to
``NAME.part`` next to the target, and a small ``NAME.part.json`` records the source of the bytes, so
that an interrupted transfer can be resumed. The target appears in one step, after size and
checksums are verified. Plain http, and redirects to it, are rejected.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from bench.core.errors import BenchError
from bench.core.folders import file_sums
from bench.core.words import without_user

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.core.types import JsonObject


STALL_S = 30.0
"""Seconds without a byte after which a transfer counts as stalled."""
TRIES = 5
"""Attempts per mirror before the next one is tried."""
PAUSE_S = 1.0
"""Seconds before the second attempt; doubled for each further one."""
CHUNK = 1 << 16


@dataclass(frozen=True)
class Received:
    """A received file: its source, number of bytes and checksums."""

    url: str
    bytes: int
    sha256: str
    md5: str


class Meter:
    """Progress of a transfer, as a pooch progress bar.

    Parameters
    ----------
    show
        ``show(done, total)`` in bytes; the total is 0 if the server does not state it.
    """

    def __init__(self, show: Callable[[int, int], None] = lambda done, total: None) -> None:
        self.show = show
        self.total = 0
        self.begun = 0
        self._done = 0

    def update(self, count: int) -> None:
        """Add bytes."""
        self._done += count
        total = self.begun + self.total if self.total else 0
        done = self.begun + self._done
        self.show(min(done, total) if total else done, total)

    def reset(self) -> None:
        """Restart from 0."""
        self._done = 0

    def close(self) -> None:
        """Do nothing: the creator of the bar closes it."""


class _Refused(Exception):
    """A mirror that permanently refuses the file."""


class _Changed(Exception):
    """The bytes on disk are not the beginning of the server's current file."""


def https_only(response: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401, ARG001 - signature of a hook of requests
    """Raise for a response that came over, or redirects to, anything other than https."""
    if not response.url.startswith("https://"):
        raise _Refused(f"{response.url} is not https")
    if response.is_redirect:
        target = urljoin(response.url, response.headers.get("location", ""))
        if not target.startswith("https://"):
            raise _Refused(f"it redirects to {target}, which is not https")
    return response


def download(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    sha256: str = "",
    md5: str = "",
    meter: Meter | None = None,
    say: Callable[[str], None] = lambda line: None,
    stall_s: float | None = None,
    tries: int | None = None,
    pause_s: float | None = None,
) -> Received:
    """Fetch one file; the target appears when it is complete and verified.

    Parameters
    ----------
    size, sha256, md5
        Expected values; None or empty if unknown.
    say
        Receives a line of text about each failed attempt.
    stall_s, tries, pause_s
        Override :data:`STALL_S`, :data:`TRIES` and :data:`PAUSE_S`.

    Raises
    ------
    BenchError
        If no mirror provides the file; the message is one line with the reason for each.
    """
    verified = bool(sha256 or md5)
    meter = meter or Meter()
    tries, pause = tries or TRIES, PAUSE_S if pause_s is None else pause_s
    part = target.with_name(target.name + ".part")
    marks = target.with_name(target.name + ".part.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    reasons: list[str] = []
    for url in urls:
        if not url.startswith("https://"):
            reasons.append(f"{url}: it is not https")
            continue
        for attempt in range(tries):
            if attempt:
                time.sleep(pause * 2 ** (attempt - 1))
            try:
                _transfer(url, part, marks, size, verified, meter, stall_s or STALL_S)
                received = _checked(url, part, size, sha256, md5)
            except _Refused as refused:
                reason = f"{url}: {refused}"
                break
            except _Changed as changed:
                _forget(part, marks)
                reason = f"{url}: {changed}"
            except _errors() as error:
                reason = f"{url}: {_words(error, stall_s or STALL_S)}"
                if _final(error):
                    break
            else:
                part.replace(target)
                marks.unlink(missing_ok=True)
                return received
            left = tries - attempt - 1
            here = part.stat().st_size if part.exists() else 0
            host = urlsplit(without_user(url)).netloc
            short = without_user(reason.replace(url, f"{target.name} from {host}"))
            say(f"{short}; {here:,} bytes are kept, {left} tries left" if left else short)
        reasons.append(reason)
    raise BenchError(
        f"{target.name} could not be fetched ({without_user('; '.join(reasons))}): try again "
        "later, what arrived is kept, or name a copy with --from PATH|URL"
    )


def _errors() -> tuple[type[BaseException], ...]:
    import requests
    import urllib3

    return (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


def _final(error: BaseException) -> bool:
    """Whether retrying the same mirror is useless."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status is not None and 400 <= status < 500 and status not in (408, 416, 425, 429)


def _words(error: BaseException, stall_s: float) -> str:
    import requests

    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answers {response.status_code} {response.reason}".rstrip()
    text = str(error)
    if isinstance(error, requests.Timeout) or "timed out" in text.lower():
        return f"stalled: no byte for {stall_s:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the transfer broke off"
    if isinstance(error, requests.ConnectionError):
        return "no connection" if "NameResolution" in text or "Max retries" in text else "it broke"
    return " ".join((text or type(error).__name__).split())


def _transfer(
    url: str,
    part: Path,
    marks: Path,
    size: int | None,
    verified: bool,
    meter: Meter,
    stall_s: float,
) -> None:
    """Complete ``part``, resuming from its current length."""
    import pooch

    have = _usable(url, part, marks, verified)
    if size is not None and have > size:
        _forget(part, marks)
        have = 0
    if size is not None and have == size and have:
        return  # interrupted between the last byte and the check
    expected: dict[str, int | None] = {"total": size}
    with part.open("ab") as file:

        def look(response: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401, ARG001 - signature of a hook of requests
            https_only(response)
            if response.is_redirect or response.status_code >= 400:
                return response
            expected["total"] = _agreed(response, file, have, marks, url, size)
            meter.reset()
            meter.begun = have if response.status_code == 206 else 0
            return response

        headers = {"Accept-Encoding": "identity", "User-Agent": "labshift"}
        if have:
            headers["Range"] = f"bytes={have}-"
            mark = _mark(marks).get("etag")
            if mark:
                headers["If-Range"] = mark
        # pooch counts complete chunks: the meter caps the displayed value at the total
        transfer = pooch.HTTPDownloader(
            progressbar=meter,
            chunk_size=CHUNK,
            headers=headers,
            timeout=(stall_s, stall_s),
            hooks={"response": look},
        )
        try:
            transfer(url, file, None)
        except _errors() as error:
            if getattr(getattr(error, "response", None), "status_code", None) == 416:
                raise _Changed("the server has fewer bytes than are here; begun again") from error
            raise
    total, here = expected["total"], part.stat().st_size
    if total is not None and here < total:
        raise OSError(f"the transfer broke off at {here:,} of {total:,} bytes")


def _usable(url: str, part: Path, marks: Path, verified: bool) -> int:
    """Return how many bytes on disk can be resumed from.

    With a checksum, bytes of any mirror can be used: a wrong mixture is detected. Without one, only
    bytes of the same URL are used, and only if the URL contains the version.
    """
    if not part.exists():
        return 0
    mark = _mark(marks)
    if verified or (mark.get("url") == without_user(url) and mark.get("etag")):
        return part.stat().st_size
    _forget(part, marks)
    return 0


def _mark(marks: Path) -> JsonObject:
    try:
        return dict(json.loads(marks.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}  # missing or truncated: the source of the bytes is unknown


def _agreed(
    response: Any,  # noqa: ANN401 - requests has no types
    file: IO[bytes],
    have: int,
    marks: Path,
    url: str,
    size: int | None,
) -> int | None:
    """Prepare the file for a response; return its final length if the server states it."""
    length = response.headers.get("content-length", "")
    total = int(length) if length.isdigit() else None
    if response.status_code == 206:
        said = response.headers.get("content-range", "")
        span, _, whole = said.removeprefix("bytes ").partition("/")
        if span.partition("-")[0] != str(have):
            raise _Changed(f"asked from byte {have:,}, it answers '{said}'; begun again")
        total = int(whole) if whole.isdigit() else (None if total is None else have + total)
    else:
        # no range requested, ranges not supported, or the file has changed: restart
        file.seek(0)
        file.truncate()
    if size is not None and total is not None and total != size:
        raise _Refused(f"it has {total:,} bytes, {size:,} are expected")
    etag = response.headers.get("etag", "")
    strong = etag if etag and not etag.startswith("W/") else ""
    described = {"url": without_user(url), "etag": strong}
    marks.write_text(json.dumps(described), encoding="utf-8")
    return total


def _checked(url: str, part: Path, size: int | None, sha256: str, md5: str) -> Received:
    here = part.stat().st_size
    sums = file_sums(part)
    for kind, wanted, got in (("sha256", sha256, sums[0]), ("md5", md5, sums[1])):
        if wanted and wanted != got:
            _forget(part, part.with_name(part.name + ".json"))
            raise _Refused(f"wrong bytes: {kind} {got[:12]}…, expected {wanted[:12]}…")
    if size is not None and here != size:
        _forget(part, part.with_name(part.name + ".json"))
        raise _Refused(f"wrong bytes: {here:,} of them, {size:,} are expected")
    return Received(url, here, *sums)


def _forget(part: Path, marks: Path) -> None:
    part.unlink(missing_ok=True)
    marks.unlink(missing_ok=True)
