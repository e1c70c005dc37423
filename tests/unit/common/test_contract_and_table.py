"""Contracts and tables: faults of files stop, faults of records never do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpriv_common.contract import DataContract, Feature, load_contract
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.table import UNLABELLED, read_csv

CONTRACT = DataContract.model_validate(
    {
        "name": "toy",
        "version": "1",
        "nominal_size": 200,
        "label": {"column": "ill", "classes": ["no", "yes"]},
        "features": [
            {"name": "age", "lo": 0, "hi": 120},
            {"name": "marker", "lo": 1, "hi": 1000, "transform": "log", "default": 10},
        ],
    }
)


def test_the_built_in_contract_is_the_published_dictionary():
    contract = load_contract("breast-cancer-wisconsin")
    assert (contract.n_features, contract.nominal_size) == (30, 460)
    assert contract.features[0] == Feature(name="mean radius", lo=6, hi=30, transform="sqrt")


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(["linear", "sqrt", "log"]))
def test_any_cell_standardises_into_the_unit_interval(cell, transform):
    z = Feature(name="x", lo=-3, hi=7, transform=transform).standardise(np.array([cell]))
    assert -1 <= z[0] <= 1


@given(st.floats(-3, 7), st.floats(-3, 7), st.sampled_from(["linear", "sqrt", "log"]))
def test_standardising_keeps_the_order(a, b, transform):
    z = Feature(name="x", lo=-3, hi=7, transform=transform).standardise(np.array([a, b]))
    assert (z[0] <= z[1]) == (a <= b) or math.isclose(z[0], z[1], abs_tol=1e-7)


def test_range_ends_and_missing_cells():
    feature = Feature(name="x", lo=0, hi=100, transform="sqrt", default=25)
    assert feature.standardise(np.array([0.0, 100.0, np.nan, -5.0, np.inf])).tolist() == [-1.0, 1.0, 0.0, -1.0, 1.0]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"nominal_size": 456}, "two significant digits"),
        ({"nominal_size": 0}, "greater than 0"),
        ({"group": "age"}, "named twice"),
        ({"nominal_patients": 100}, "needs group"),
        ({"group": "who", "nominal_patients": 123}, "two significant digits"),
        ({"group": "who", "nominal_patients": 210}, "more than nominal_size"),
        ({"features": [{"name": "age", "lo": 5, "hi": 5}]}, "must be below"),
        ({"features": [{"name": "age", "lo": 0, "hi": 9, "default": 10}]}, "outside"),
        ({"label": {"column": "ill", "classes": ["no"]}}, "at least 2"),
        ({"surprise": 1}, "Extra inputs"),
    ],
)
def test_a_faulty_contract_names_its_fault(tmp_path, change, fault):
    import yaml

    path = tmp_path / "contract.yaml"
    path.write_text(yaml.safe_dump(CONTRACT.model_dump(mode="json") | change))
    with pytest.raises(FedprivError, match=fault) as raised:
        load_contract(path)
    assert raised.value.code is ErrorCode.BAD_CONTRACT


def test_an_unreadable_contract_is_one_line(tmp_path):
    (tmp_path / "broken.yaml").write_text("{")
    for path in (tmp_path / "none.yaml", tmp_path / "broken.yaml", tmp_path):
        with pytest.raises(FedprivError) as raised:
            load_contract(path)
        assert "\n" not in str(raised.value)


def write(path, text):
    path.write_text(text)
    return path


def test_faulty_cells_and_labels_are_values_not_errors(tmp_path):
    table = read_csv(write(tmp_path / "t.csv", "ill,age,other,marker\nyes,30,x,5\nmaybe,old,y,\nno,1e400\n"), CONTRACT)
    assert table.labels.tolist() == [1, UNLABELLED, 0]
    assert np.isnan(table.features[1]).all()
    assert table.features[2, 0] == np.inf
    assert np.isfinite(CONTRACT.standardise(table.features)).all()


def test_an_empty_table_is_a_table(tmp_path):
    assert len(read_csv(write(tmp_path / "t.csv", "ill,age,marker\n"), CONTRACT)) == 0


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "lacks columns of contract toy@1: age, marker, ill"),
        ("ill,age\n1,2\n", "lacks columns of contract toy@1: marker"),
        ("ill,age,age,marker\n", "names columns twice: age"),
        ('ill,age,marker\n"yes,1,2\n', "is not a CSV file in UTF-8"),
    ],
)
def test_faults_of_the_file_are_errors(tmp_path, text, fault):
    with pytest.raises(FedprivError, match=fault) as raised:
        read_csv(write(tmp_path / "t.csv", text), CONTRACT)
    assert raised.value.code is ErrorCode.DATA_FORMAT


def test_an_error_never_quotes_a_record(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"ill,age,marker\nyes,Jane Doe \xff,3\n")
    with pytest.raises(FedprivError) as raised:
        read_csv(path, CONTRACT)
    assert "Jane" not in str(raised.value)
