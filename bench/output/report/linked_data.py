"""Description of the report for search engines, in the vocabulary of schema.org (JSON-LD)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.boards.board import Board
    from bench.core.types import JsonObject


def linked_data(title: str, boards: Sequence[Board], records_digest: str) -> JsonObject:
    """Return a schema.org ``Dataset``: the scores, what they measure and on which data.

    Parameters
    ----------
    title
        Title of the page.
    boards
        All boards of the page.
    records_digest
        Digest of the runs; the identifier, because the page has no address of its own.
    """
    methods = {row.method_id for board in boards for row in board.rows}
    return {
        "@context": "https://schema.org",
        "@type": "Dataset",
        "name": title,
        "description": (
            f"Scores of {len(methods)} batch-effect corrections on "
            f"{len({board.split for board in boards})} out-of-distribution splits of microscopy "
            "data, with confidence intervals."
        ),
        "identifier": records_digest,
        "version": ", ".join(sorted({board.release for board in boards} - {""})) or "no release",
        "variableMeasured": sorted({board.metric for board in boards}),
        "measurementTechnique": sorted({board.split for board in boards}),
        "keywords": ["batch effects", "microscopy", "benchmark", "domain generalisation"],
        "isAccessibleForFree": True,
        "creator": {
            "@type": "SoftwareApplication",
            "name": "labshift",
            "softwareVersion": __version__,
            "applicationCategory": "Science",
            "license": "https://spdx.org/licenses/MIT",
        },
    }
