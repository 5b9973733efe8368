"""Access that a method declares, and the track that follows from it."""

from __future__ import annotations

import enum

from bench.core.errors import BenchError


class Access(enum.Flag):
    """Inputs of a method beyond the rows and labels of the training set.

    ``TRAIN_BATCH``
        the batch of each training row.
    ``TRAIN_WELL``
        training rows from the same well, as opaque names without positions.
    ``CONTROLS``
        which rows are negative controls, in all views.
    ``TEST_CONTROLS``
        the negative controls of the test batch that is being corrected.
    ``TEST_BATCH``
        all unlabelled rows of the test batch that is being corrected.
    ``ADAPT``
        the entire unlabelled evaluation set during fitting.
    """

    NONE = 0
    TRAIN_BATCH = enum.auto()
    TRAIN_WELL = enum.auto()
    CONTROLS = enum.auto()
    TEST_CONTROLS = enum.auto()
    TEST_BATCH = enum.auto()
    ADAPT = enum.auto()

    @property
    def words(self) -> list[str]:
        """The names as spelled on the command line, such as ``test-batch``."""
        return [flag.name.lower().replace("_", "-") for flag in Access if flag in self]  # type: ignore[union-attr]

    @classmethod
    def parse(cls, names: list[str]) -> Access:
        """Parse the words of a method's literal; raise :class:`BenchError` on an unknown word."""
        access = cls.NONE
        for name in names:
            try:
                access |= cls[name.upper().replace("-", "_")]
            except KeyError:
                choices = ", ".join(cls(~cls.NONE).words)
                raise BenchError(f"unknown access '{name}'. Known: {choices}.") from None
        return access


TRACKS = ("inductive", "test-controls", "test-batch", "transductive", "reference")


def track_of(access: Access) -> str:
    """Return the most permissive track that an access implies."""
    if Access.ADAPT in access:
        return "transductive"
    if Access.TEST_BATCH in access:
        return "test-batch"
    if Access.TEST_CONTROLS in access:
        return "test-controls"
    return "inductive"
