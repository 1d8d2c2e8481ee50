"""Archives of arrays come back, and are refused where a few bytes would be large or run something."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.utils.arrays import read_arrays
from recbole_attack.utils.errors import DataError


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path, save):
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.array(True), "c": np.array(["x"])}
    save(tmp_path / "a.npz", **arrays)
    found = read_arrays(tmp_path / "a.npz", "arrays")
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], values) for name, values in arrays.items())


def test_objects_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r"a\.npz holds no arrays: Object arrays cannot be loaded"):
        read_arrays(tmp_path / "a.npz", "arrays")


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_numpys_compressions_are_unpacked(tmp_path, how):
    content = io.BytesIO()
    np.save(content, np.zeros(9))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", how) as archive:
        archive.writestr("a.npy", content.getvalue())
    with pytest.raises(DataError, match="expected deflated arrays, found another compression"):
        read_arrays(tmp_path / "a.npz", "arrays")


def test_other_files_in_an_archive_are_no_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(DataError, match="expected arrays, found other files"):
        read_arrays(tmp_path / "a.npz", "arrays")


@given(data=st.data())
def test_changed_bytes_are_refused_or_still_arrays(tmp_path_factory, data):
    content = io.BytesIO()
    np.savez_compressed(content, a=np.arange(9), b=np.ones((2, 2)))
    changed = bytearray(content.getvalue())
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    path.write_bytes(changed)
    try:
        assert all(isinstance(values, np.ndarray) for values in read_arrays(path, "arrays").values())
    except DataError as error:
        assert "holds no arrays" in str(error)
