"""Checks of names: spellings, the well position and features of location."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench.advice.checkup import examine
from bench.advice.checkup._names import equal_spellings, location_features, position, spellings
from tests.helpers import tiny


def test_names_are_compared_without_case_blanks_and_variants() -> None:
    names = [
        "DMSO",
        "DMSO ",
        "dmso",
        "taxol",
        "10 \N{MICRO SIGN}M",
        "10 \N{GREEK SMALL LETTER MU}M",
    ]
    assert equal_spellings(names) == [
        ("10 \N{MICRO SIGN}M", "10 \N{GREEK SMALL LETTER MU}M"),
        ("DMSO", "DMSO ", "dmso"),
    ]
    assert equal_spellings(["a", "b", "", "a b", "ab"]) == []


@pytest.mark.parametrize("column", ["label", "plate"])
def test_a_second_spelling_is_a_warning(column: str) -> None:
    opened = tiny.opened()
    assert list(spellings(opened)) == []
    index = opened.index.copy()
    chosen = np.flatnonzero(index[column] == index[column].iloc[0])[::2]
    index.loc[chosen, column] = index[column].iloc[0].upper() + " "
    [check] = spellings(dataclasses.replace(opened, index=index))
    assert (check.state, check.facts) == ("warn", {"groups": 1})
    assert column in check.topic


def test_a_table_without_a_position_is_noted() -> None:
    opened = tiny.opened()
    assert list(position(opened)) == []
    without = dataclasses.replace(opened, columns={})
    assert [check.state for check in position(without)] == ["look"]
    assert list(position(dataclasses.replace(tiny.opened(images=True), columns={}))) == []


def test_features_of_location_are_listed() -> None:
    names = (
        "Cells_AreaShape_Area",
        "Cells_Location_Center_X",
        "Nuclei_Number_Object_Number",
        "Cells_AreaShape_BoundingBoxMinimum_X",
        "Cells_Parent_Nuclei",
        "Nuclei_Texture_3",
    )
    opened = dataclasses.replace(tiny.opened(), features=names)
    [check] = location_features(opened)
    assert (check.state, check.facts) == ("warn", {"features": 4})
    assert all(name in check.text for name in names[1:4])
    assert list(location_features(tiny.opened())) == []
    assert "location features" in {check.topic for check in examine(opened, [])}
