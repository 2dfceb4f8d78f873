"""decode(encode(x)) is x again, for everything that is carried."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, timezone
from pathlib import PurePosixPath

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlive._codec import Codec, TypeRegistry, digest
from tests.codec import models
from tests.codec.values import VALUES, picture

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**62, max_value=2**66),
    st.floats(),
    st.complex_numbers(),
    st.text(),
    st.text(st.characters(categories=["Cs", "Lu"])),
    st.sampled_from(["$t", "$z", "$", "v"]),
    st.binary(),
    st.decimals().filter(lambda number: not number.is_snan()),
    st.fractions(),
    st.uuids(),
    st.dates(),
    st.timedeltas(),
    st.datetimes(),
    st.datetimes(timezones=st.timezones()),
    st.datetimes(timezones=st.sampled_from([UTC, timezone.min])),
    st.times(timezones=st.sampled_from([None, UTC])),
    st.sampled_from([*models.Colour, *models.Level, *models.Unit, *models.Perm]),
    st.builds(PurePosixPath, st.text(st.characters(categories=["Ll"]), max_size=3)),
    st.builds(models.Money, st.integers()),
)
hashables = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(inner, max_size=3),
        st.builds(models.Frozen, inner, inner),
        st.builds(models.Point, inner, inner),
    ),
    max_leaves=5,
)
values = st.recursive(
    hashables,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(hashables, inner, max_size=4),
        st.dictionaries(st.text(), inner, max_size=4),
        st.sets(hashables, max_size=4),
        st.builds(models.Box, inner),
        st.builds(models.Attr, inner, inner),
        st.builds(lambda items: models.Page(items=items), st.lists(inner, max_size=2)),
    ),
    max_leaves=12,
)
codecs = pytest.mark.parametrize("compress_over", [0, 4096], ids=["compressed", "plain"])
SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_each_carried_type_comes_back_as_it_was(codec: Codec, value: object) -> None:
    assert picture(codec.decode(codec.encode(value))) == picture(value)


@codecs
@SETTINGS
@given(value=values)
def test_whatever_is_nested_comes_back_as_it_was(types: TypeRegistry, compress_over: int, value: object) -> None:
    codec = Codec(types, compress_over=compress_over)
    assert picture(codec.decode(codec.encode(value))) == picture(value)


@SETTINGS
@given(value=values)
def test_an_encoding_is_one_json_text_with_a_stable_digest(codec: Codec, value: object) -> None:
    data = codec.encode(value)
    again = codec.encode(codec.decode(data))
    assert msgspec.json.decode(msgspec.json.encode({"v": msgspec.Raw(data)})) is not None
    assert digest(again) == digest(data)


@SETTINGS
@given(value=values)
def test_transport_gives_what_a_round_trip_gives(codec: Codec, value: object) -> None:
    assert picture(codec.transport(value)) == picture(codec.decode(codec.encode(value)))


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, msgspec.Raw])
def test_any_buffer_is_decoded(codec: Codec, wrap: Callable[[bytes], bytes]) -> None:
    assert codec.decode(wrap(codec.encode((1, "a")))) == (1, "a")


def test_transport_copies_what_can_be_changed_and_keeps_what_can_not(codec: Codec) -> None:
    scalar, mutable = (1, ("a", b"b")), [1]
    assert codec.transport(scalar) is scalar
    assert codec.transport(mutable) is not mutable


def test_plain_json_is_stored_as_it_is(codec: Codec) -> None:
    assert codec.encode({"user": "ada", "n": 3, "x": [1.0, None]}) == b'{"user":"ada","n":3,"x":[1.0,null]}'


def test_flat_and_nested_paths_agree_on_a_tag_inside_a_text(codec: Codec) -> None:
    assert codec.encode({"price": "$5"}) == b'{"price":"$5"}'


def test_encoding_does_not_change_the_value(codec: Codec) -> None:
    value = {"a": [1, 2, {3: 4}], "b": {5}}
    before = picture(value)
    codec.encode(value)
    assert picture(value) == before


def test_a_digest_depends_on_the_value(codec: Codec) -> None:
    distinct = [
        None,
        0,
        1,
        True,
        1.0,
        "1",
        "",
        [],
        {},
        (),
        set(),
        [1],
        (1,),
        {1},
        {"a": 1},
        {"a": 1.0},
        {1: 1},
        b"",
        -0.0,
        0.0,
    ]
    assert len({digest(codec.encode(value)) for value in distinct}) == len(distinct)


def test_a_digest_ignores_the_order_of_dicts(codec: Codec) -> None:
    one, other = {"a": 1, "b": {1: 2, (3,): 4}}, {"b": {(3,): 4, 1: 2}, "a": 1}
    assert digest(codec.encode(one)) == digest(codec.encode(other))


def test_a_digest_ignores_the_order_of_dicts_in_a_set(codec: Codec) -> None:
    one, other = frozenset({models.FrozenAttr(1), (1, "a")}), frozenset({(1, "a"), models.FrozenAttr(1)})
    assert digest(codec.encode(one)) == digest(codec.encode(other))


def test_a_digest_ignores_compression(types: TypeRegistry) -> None:
    value = {"a": ["x"] * 100, "b": (1, 2)}
    variants = [
        Codec(types, compress_over=10**9),
        Codec(types, compress_over=0),
        Codec(types, compress_over=0, compression="zstd"),
    ]
    assert len({digest(variant.encode(value)) for variant in variants}) == 1


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_sets_encode_alike_under_every_hash_seed(seed: str) -> None:
    value = "{'a', 'b', 'c', 1, (2, 'x'), frozenset('xyz')}"
    program = f"from outlive._codec import Codec\nprint(Codec().encode({value}).decode())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == Codec().encode({"a", "b", "c", 1, (2, "x"), frozenset("xyz")}).decode()


def test_importing_the_codec_imports_no_model_library() -> None:
    program = "import sys, outlive._codec; print({'pydantic', 'attr', 'attrs', 'zstandard'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "set()\n"
    )
