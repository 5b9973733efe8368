"""Find a Zenodo record by its title and the names of its files instead of its number.

The search API is https://developers.zenodo.org (``GET /api/records?q=…``). Each hit has ``doi``,
``metadata.title``, ``metadata.license.id`` and ``files``, each with ``key``, ``size``, ``checksum``
(``md5:…``) and ``links.self``.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from bench.core.errors import BenchError
from bench.data.fetch.https import download
from bench.data.fetch.listing import File

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.core.types import Facts, JsonObject


HOST = "https://zenodo.org"
HITS = 25


@dataclass(frozen=True)
class Found:
    """A record and those of its files that are required."""

    doi: str
    title: str
    licence: str
    files: tuple[File, ...]


def find_record(
    wanted: Facts, host: str = HOST, say: Callable[[str], None] = lambda line: None
) -> Found:
    """Search for the record and return the required files with their sizes and checksums.

    Parameters
    ----------
    wanted
        ``titles``: phrases to search for, one after the other; the title of the record must contain
        the phrase. ``files``: names of files that the record must have.
    host
        Host of the API; tests use another one.
    say
        Receives a line of text about each failed attempt.

    Raises
    ------
    BenchError
        If no record or several different ones match, or Zenodo cannot be reached.
    """
    hits: dict[str, JsonObject] = {}
    for title in wanted["titles"]:
        query = urlencode({"q": f'"{title}"', "size": HITS})
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder) / "zenodo-search.json"
            download([f"{host}/api/records?{query}"], answer, say=say)
            try:
                results = json.loads(answer.read_text(encoding="utf-8"))["hits"]["hits"]
                hits |= {str(hit["id"]): hit for hit in results}
                if any(_fits(hit, wanted) for hit in results):
                    break
            except (ValueError, KeyError, TypeError) as error:
                raise BenchError(
                    f"Zenodo's answer cannot be read ({type(error).__name__}: {error}): get the "
                    "files by hand and name them with --from FOLDER"
                ) from None
    return choose(list(hits.values()), wanted, host)


def _fits(hit: Facts, wanted: Facts) -> bool:
    """Whether a record has one of the titles and all the files."""
    named = str(hit["metadata"]["title"]).casefold()
    has = {str(file["key"]) for file in hit.get("files") or []}
    titled = any(str(title).casefold() in named for title in wanted["titles"])
    return titled and has >= set(wanted["files"])


def choose(hits: list[JsonObject], wanted: Facts, host: str = HOST) -> Found:
    """Return the search hit that has the title and all the files.

    Of several versions of one record (the same ``conceptrecid``), the latest is used.

    Raises
    ------
    BenchError
        If no record matches, or records of different works do.
    """
    names = list(wanted["files"])
    fitting = [hit for hit in hits if _fits(hit, wanted)]
    if not fitting:
        raise BenchError(
            f"no Zenodo record titled '{wanted['titles'][0]}' has {names[0]} and its "
            f"{len(names) - 1} other files: get the files by hand and name them with --from FOLDER"
        )
    if len({str(hit.get("conceptrecid") or hit["id"]) for hit in fitting}) > 1:
        dois = ", ".join(sorted(str(hit.get("doi", hit["id"])) for hit in fitting))
        raise BenchError(
            f"several Zenodo records have these files ({dois}): choose one, get its files by hand "
            "and name them with --from FOLDER"
        )
    record = max(fitting, key=lambda hit: int(hit["id"]))
    files = []
    for file in record["files"]:
        if file["key"] not in names:
            continue
        kind, _, value = str(file.get("checksum", "")).partition(":")
        link = str((file.get("links") or {}).get("self", ""))
        if not link.startswith("https://"):
            link = f"{host}/records/{record['id']}/files/{quote(file['key'])}?download=1"
        files.append(
            File(
                str(file["key"]),
                (link,),
                int(file["size"]) if "size" in file else None,
                md5=value if kind == "md5" else "",
                sha256=value if kind == "sha256" else "",
            )
        )
    licence = record["metadata"].get("license") or {}
    return Found(
        doi=str(record.get("doi") or record["metadata"].get("doi") or "unknown"),
        title=str(record["metadata"]["title"]),
        licence=str(licence.get("id") if isinstance(licence, dict) else licence) or "unknown",
        files=tuple(sorted(files, key=lambda file: file.name)),
    )
