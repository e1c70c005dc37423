"""What is kept stays within its room, and what was used last stays longest."""

from fedpriv_common.accounting.kept import Kept


def test_the_least_recently_used_makes_room():
    kept = Kept(10)
    kept.put("a", 1, 4)
    kept.put("b", 2, 4)
    assert kept.get("a") == 1
    kept.put("c", 3, 4)
    assert [kept.get(key) for key in "abc"] == [1, None, 3]


def test_what_is_larger_than_the_room_is_not_kept():
    kept = Kept(10)
    kept.put("a", 1, 11)
    assert kept.get("a") is None
    kept.put("b", 2, 10)
    kept.put("b", 3, 10)
    assert kept.get("b") == 2
