"""What a method may see, and the track that follows from it."""

from __future__ import annotations

import enum

from bench.core.errors import BenchError

__all__ = ["Access", "track_of"]


class Access(enum.Flag):
    """What a method may see beyond the rows and labels of the training set.

    ``TRAIN_BATCH``
        the batch of each training row.
    ``TRAIN_WELL``
        which training rows come from the same well, under opaque names: no position.
    ``CONTROLS``
        which rows are negative controls, in every view that it gets.
    ``TEST_CONTROLS``
        the negative controls of the one test batch that is being corrected.
    ``TEST_BATCH``
        all unlabelled rows of the one test batch that is being corrected.
    ``ADAPT``
        the whole unlabelled evaluation set while fitting.
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
        """The names in the spelling of the command line: ``test-batch``."""
        return [flag.name.lower().replace("_", "-") for flag in Access if flag in self]  # type: ignore[union-attr]

    @classmethod
    def parse(cls, words: list[str]) -> Access:
        """Read the words of a method's literal; raise :class:`BenchError` on an unknown one."""
        access = cls.NONE
        for word in words:
            try:
                access |= cls[word.upper().replace("-", "_")]
            except KeyError:
                known = ", ".join(cls(~cls.NONE).words)
                raise BenchError(f"unknown access '{word}'. Known: {known}.") from None
        return access


TRACKS = ("inductive", "test-controls", "test-batch", "transductive", "reference")


def track_of(access: Access) -> str:
    """Return the track of an access, the weakest claim that it forces."""
    if Access.ADAPT in access:
        return "transductive"
    if Access.TEST_BATCH in access:
        return "test-batch"
    if Access.TEST_CONTROLS in access:
        return "test-controls"
    return "inductive"
