"""Class by class: counted by hand, and silent where the record has no labels."""

import dataclasses

import pytest
from report_runs import make_run, wilson

from saddlepoint.records import DataRecord
from saddlepoint.report import classes as module
from saddlepoint.report.classes import classes
from saddlepoint.report.groups import groups


def small():
    """One model, one ball, seven rows of the classes a and c."""
    run = make_run()
    data = DataRecord(
        name="toy", fingerprint="0", rows=7, shape=[2], classes=["a", "b", "c"], labels=[0, 0, 2, 2, 2, 2, 0], ids=[]
    )
    ball = dataclasses.replace(run.models[0].threats[0], verdicts="HFFFHUW", fooled_as=[1, 0, 1])
    model = dataclasses.replace(run.models[0], verdicts="HHHHHHW", threats=[ball])
    return dataclasses.replace(run, data=data, models=[model])


def found(run):
    return classes(run, groups(run))


def test_counts_by_hand():
    (table,) = found(small())
    assert table.left_out == 0
    assert [(name, rows) for name, rows, _ in table.rows] == [("a", 3), ("c", 4)]  # no row is a b
    first, last = (cells[0] for _, _, cells in table.rows)
    for share, known in ((first.clean, wilson(2, 3)), (first.robust, wilson(1, 3))):
        assert (share.count, share.rows) == (known.count, known.rows)
        assert (share.low, share.high) == pytest.approx((known.low, known.high))
    assert (first.fooled, first.taken_for, first.times) == (1, "b", 1)
    assert (last.clean.count, last.robust.count, last.fooled) == (4, 1, 2)
    assert (last.taken_for, last.times) == ("a", 1)  # as often as b: the first of the two


def test_the_counts_add_up_to_those_of_the_model():
    run = make_run()
    for table, place in zip(found(run), (0, 1), strict=True):
        for model, column in zip(run.models, (0, 1), strict=True):
            cells = [cells[column] for _, _, cells in table.rows]
            assert sum(cell.clean.count for cell in cells) == model.clean.count
            assert sum(cell.robust.count for cell in cells) == model.threats[place].worst.count
            assert sum(cell.fooled for cell in cells) == len(model.threats[place].fooled_as)
            assert sum(cell.robust.rows for cell in cells) == run.data.rows


def test_a_class_that_nobody_fooled_is_taken_for_nothing():
    run = small()
    ball = dataclasses.replace(run.models[0].threats[0], verdicts="HHHHHHW", fooled_as=[])
    (table,) = found(dataclasses.replace(run, models=[dataclasses.replace(run.models[0], threats=[ball])]))
    assert {(cell.taken_for, cell.times, cell.fooled) for _, _, (cell,) in table.rows} == {("", 0, 0)}


def test_without_labels_there_is_no_table():
    run = small()
    assert found(dataclasses.replace(run, data=dataclasses.replace(run.data, labels=[]))) == []


def test_a_model_that_was_not_measured_has_no_cells():
    run = make_run()
    run.models[1].threats.pop()
    assert {cells[1] for _, _, cells in found(run)[1].rows} == {None}


def test_of_many_classes_the_weakest_are_shown(monkeypatch):
    monkeypatch.setattr(module, "MOST", 1)
    (table,) = found(small())
    assert ([name for name, _, _ in table.rows], table.left_out) == (["c"], 1)  # 1 of 4 held, of a 1 of 3


def test_a_class_without_a_name_is_a_number():
    run = small()
    data = dataclasses.replace(run.data, classes=["a"])
    (table,) = found(dataclasses.replace(run, data=data))
    assert [name for name, _, _ in table.rows] == ["a", "2"]
    assert table.rows[0][2][0].taken_for == "1"
