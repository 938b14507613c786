"""Splits follow the folder, and what the seed adds is stratified and robust."""

from collections import Counter

from vit_atlas.data.splits import Member, assign_splits


def members(counts: dict[str, int], split: str = "") -> list[Member]:
    return [Member(split, name, f"{split}{name}{number}") for name, count in counts.items() for number in range(count)]


def by_class(group: list[Member], splits: list[str]) -> Counter[tuple[str, str]]:
    return Counter((member.class_name, split) for member, split in zip(group, splits, strict=True))


def test_without_splits_each_class_is_divided_in_the_same_shares() -> None:
    group = members({"a": 100, "b": 20})
    counts = by_class(group, assign_splits(group, 0.15, 0.2, seed=0))
    assert counts == {
        ("a", "test"): 20,
        ("a", "val"): 12,
        ("a", "train"): 68,
        ("b", "test"): 4,
        ("b", "val"): 2,
        ("b", "train"): 14,
    }


def test_given_splits_stay() -> None:
    group = members({"a": 9}, "train") + members({"a": 9}, "val") + members({"a": 9}, "test")
    assert assign_splits(group, 0.5, 0.5, seed=0) == [member.split for member in group]


def test_where_there_is_train_and_val_only_val_is_the_test_and_selection_comes_from_train() -> None:
    group = members({"a": 20}, "train") + members({"a": 5}, "val")
    splits = assign_splits(group, 0.2, 0.5, seed=0)
    assert splits[20:] == ["test"] * 5
    assert Counter(splits[:20]) == {"train": 16, "val": 4}


def test_where_there_is_train_and_test_only_selection_comes_from_train() -> None:
    group = members({"a": 20}, "train") + members({"a": 5}, "test")
    assert Counter(assign_splits(group, 0.2, 0.5, seed=0)) == {"train": 16, "val": 4, "test": 5}


def test_train_alone_is_divided_like_no_split_at_all() -> None:
    group = members({"a": 20}, "train")
    assert Counter(assign_splits(group, 0.25, 0.2, seed=0)) == {"train": 12, "val": 4, "test": 4}


def test_small_classes_always_keep_one_photo_to_train_on() -> None:
    group = members({"two": 2, "three": 3})
    counts = by_class(group, assign_splits(group, 0.9, 0.9, seed=0))
    assert counts["two", "train"] == 1
    assert counts["three", "train"] == 1
    assert counts["two", "test"] == 1


def test_the_seed_decides_and_the_order_of_photos_does_not() -> None:
    group = members({"a": 40})
    first = dict(zip((member.sha256 for member in group), assign_splits(group, 0.2, 0.2, seed=1), strict=True))
    backwards = group[::-1]
    again = dict(zip((member.sha256 for member in backwards), assign_splits(backwards, 0.2, 0.2, seed=1), strict=True))
    other = dict(zip((member.sha256 for member in group), assign_splits(group, 0.2, 0.2, seed=2), strict=True))
    assert first == again
    assert first != other


def test_one_more_photo_moves_few_others() -> None:
    group = members({"a": 100})
    before = assign_splits(group, 0.1, 0.2, seed=0)
    after = assign_splits([*group, Member("", "a", "new")], 0.1, 0.2, seed=0)
    assert sum(first != second for first, second in zip(before, after, strict=False)) <= 3


def test_copies_of_a_photo_stay_together() -> None:
    group = members({"a": 10}) * 2
    splits = assign_splits(group, 0.3, 0.3, seed=0)
    assert splits[:10] == splits[10:]


def test_what_belongs_together_moves_together_and_every_class_keeps_something_to_train_on() -> None:
    group = members({"a": 100, "b": 40})
    together = [index // 10 for index in range(140)]
    splits = assign_splits(group, 0.2, 0.2, seed=0, together=together)
    assert all(len(set(splits[start : start + 10])) == 1 for start in range(0, 140, 10))
    assert by_class(group, splits) == {
        **{("a", "train"): 60, ("a", "val"): 20, ("a", "test"): 20},
        **{("b", "train"): 20, ("b", "val"): 10, ("b", "test"): 10},
    }
    whole = assign_splits(group, 0.2, 0.2, seed=0, together=[0] * 100 + list(range(1, 41)))
    assert by_class(group, whole)["a", "train"] == 100


def test_a_group_of_two_classes_takes_neither_from_training() -> None:
    group = members({"a": 8, "b": 2})
    for seed in range(20):
        splits = assign_splits(group, 0.3, 0.3, seed, together=[0, 1, 2, 3, 4, 5, 6, 7, 7, 6])
        assert {"a", "b"} == {
            member.class_name for member, split in zip(group, splits, strict=True) if split == "train"
        }


def test_alone_in_its_group_every_photo_has_the_place_that_it_had_without_groups() -> None:
    group = members({"a": 37, "b": 11, "c": 2})
    for seed in range(5):
        assert assign_splits(group, 0.15, 0.2, seed, list(range(50))) == assign_splits(group, 0.15, 0.2, seed)
