"""What is refused, in both directions, and what the message says."""

from __future__ import annotations

import base64
import builtins
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from datetime import datetime, tzinfo
from types import ModuleType

import msgspec
import pytest

from outlive import errors
from outlive._codec import Codec, TypeRegistry, compression, digest
from tests.codec import models


def nested(levels: int, make: Callable[[object], object] = lambda inner: [inner]) -> object:
    value: object = 0
    for _ in range(levels):
        value = make(value)
    return value


def cycle() -> dict[str, object]:
    order: dict[str, object] = {}
    order["items"] = [1, {"parent": order}]
    return order


def bomb(levels: int) -> object:
    value: object = []
    for _ in range(levels):
        value = [value, value]
    return value


class Zone(tzinfo):
    pass


REFUSED = {
    "lock": ({"items": [0, models.Frozen(threading.Lock())]}, r"^order\['items'\]\[1\]\.a: cannot carry _thread.lock"),
    "attribute": (models.Item("a", tags=[threading.Lock()]), r"^order\.tags\[0\]: cannot carry _thread.lock"),
    "namedtuple": (models.Point(object()), r"^order\.x: cannot carry object"),
    "function": (len, r"^order: cannot carry builtin_function_or_method"),
    "lambda": ([lambda: 1], r"^order\[0\]: cannot carry function; decorate it with @step"),
    "generator": ((x for x in ()), r"cannot carry generator; pass list"),
    "module": (os, r"cannot carry module"),
    "file": (sys.stdout.buffer, r"it belongs to this process"),
    "subclass": ({"n": models.MyInt(3)}, r"^order\['n'\]: cannot carry tests.codec.models.MyInt, a subclass of int"),
    "plain": (models.Plain(), r"make the class a dataclass, or register it"),
    "key": ({(1, threading.Lock()): 1}, r"^order\.keys\(\)\[0\]\[1\]: cannot carry _thread.lock"),
    "value-of-odd-key": ({(1,): object()}, r"^order\[<tuple>\]: cannot carry object"),
    "element": ({1, len}, r"^order\{element\}: cannot carry"),
    "zone": (datetime(2026, 1, 1, tzinfo=Zone()), r"use zoneinfo.ZoneInfo"),
    "unknown-class": (subprocess.Popen, r"could not find the class again"),
    "local-class": (make_dataclass("Local", ["x"])(1), r"could not find the class again"),
    "depth": (nested(101), r"nested deeper than 100 levels"),
    "depth-of-tuples": (nested(101, lambda inner: (inner,)), r"nested deeper than 100 levels"),
    "depth-of-frozen": (nested(101, models.Frozen), r"nested deeper than 100 levels"),
    "very-deep": (nested(100_000), r"nested deeper than 100 levels"),
    "cycle": (
        cycle(),
        r"^order\['items'\]\[1\]\['parent'\]: is order again; a value that contains itself cannot be carried",
    ),
}


@pytest.mark.parametrize(("value", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_is_refused_with_the_path_and_what_to_do(codec: Codec, value: object, message: str) -> None:
    with pytest.raises(errors.SerializationError, match=message):
        codec.encode(value, what="order")


@pytest.mark.parametrize(
    "make", [lambda inner: [inner], lambda inner: (inner,), models.Frozen, lambda inner: {1: inner}]
)
def test_the_deepest_that_is_allowed_comes_back(codec: Codec, make: Callable[[object], object]) -> None:
    value = nested(100, make)
    assert codec.decode(codec.encode(value)) == value


def test_a_local_class_is_refused_with_its_reason(codec: Codec) -> None:
    @dataclass
    class Local:
        x: int

    with pytest.raises(errors.SerializationError, match=r"defined in a function"):
        codec.encode(Local(1))


def test_a_value_that_grows_by_sharing_is_stopped() -> None:
    with pytest.raises(errors.SerializationError, match=r"more containers than max_bytes"):
        Codec(max_bytes=10_000).encode(bomb(90))


def test_a_value_too_large_is_refused_with_its_size() -> None:
    with pytest.raises(errors.SerializationError, match=r"^data: takes 5,002 bytes and the limit is 1,000"):
        Codec(max_bytes=1000).encode("x" * 5000, what="data")


def test_an_encode_that_raises_is_named(types: TypeRegistry) -> None:
    types.register(models.Plain, encode=lambda _: 1 / 0, decode=lambda _: None)
    with pytest.raises(
        errors.SerializationError, match=r"encode= of tests.codec.models:Plain raised ZeroDivisionError"
    ):
        Codec(types).encode([models.Plain()])


def test_a_nearly_full_stack_gives_a_serialization_error(codec: Codec) -> None:
    def descend() -> object:
        try:
            return descend()
        except RecursionError:
            return codec.encode(nested(90))

    with pytest.raises(errors.SerializationError, match=r"nested too deep|call stack"):
        descend()


GADGETS = [
    *(
        "os:system",
        "builtins:eval",
        "builtins:exec",
        "builtins:__import__",
        "builtins:getattr",
        "builtins:compile",
        "posix:system",
    ),
    *(
        "subprocess:Popen",
        "subprocess:check_output",
        "importlib:import_module",
        "codecs:decode",
        "pickle:loads",
        "ctypes:CDLL",
    ),
    *("operator:attrgetter", "types:FunctionType", "types:CodeType", "tests.codec.models:__builtins__"),
    *("tests.codec.models:Item.__init__", "tests.codec.models:Item.__class__", "tests.codec.models:functools.partial"),
    *(
        "tests.codec.models:enum",
        "tests.codec.models:attrs.define",
        "tests.codec.models.Item",
        "",
        ":",
        "a:",
        ":b",
        "builtins:",
    ),
    *(
        "tests.codec.models:Outer.Inner.__eq__",
        "antigravity:x",
        "tests.codec.models:models:Item",
        "builtins:memoryview",
    ),
]
KINDS = ["type", "dataclass", "attrs", "struct", "pydantic", "namedtuple", "enum", "flag", "ext", "exception"]


@pytest.mark.parametrize("name", GADGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_gadget_is_never_built(types: TypeRegistry, kind: str, name: str) -> None:
    types.reach({"__name__": "user", "__builtins__": builtins, "builtins": builtins, "models": models})
    node = {"$t": kind, "c": name, "v": "RED" if kind == "enum" else {}, "own": True, "a": ["echo"], "m": ""}
    with pytest.raises(errors.SerializationError):
        Codec(types).decode(msgspec.json.encode(node))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_reachable_class_is_built_only_as_what_it_is(types: TypeRegistry, kind: str) -> None:
    types.reach({"__name__": "user", "subprocess": subprocess})
    node = {"$t": kind, "c": "subprocess:Popen", "v": {"args": "true"}, "own": True, "a": ["true"], "m": ""}
    with pytest.raises(errors.SerializationError):
        Codec(types).decode(msgspec.json.encode(node))


def test_no_module_is_imported_and_no_module_attribute_hook_runs(types: TypeRegistry) -> None:
    lazy = ModuleType("lazy")
    lazy.__getattr__ = lambda name: pytest.fail(f"asked for {name}")  # type: ignore[method-assign]
    types.reach({"__name__": "user", "lazy": lazy})
    before = set(sys.modules)
    assert types.lookup("lazy.sub:Cls") is types.lookup("antigravity:Cls") is types.lookup("lazy:Cls") is None
    assert set(sys.modules) == before


DAMAGED = [
    b"",
    b"{",
    b"\xff",
    b'{"$t":"nope"}',
    b'{"$t":1}',
    b'{"$t":["tuple"]}',
    b'{"$t":"tuple"}',
    b'{"$t":"tuple","v":1}',
    b'{"$t":"dict","v":[[1]]}',
    b'{"$t":"dict","v":[[[],1]]}',
    b'{"$t":"set","v":[[]]}',
    b'{"$t":"int","v":"zz"}',
    b'{"$t":"int","v":5}',
    b'{"$t":"float","v":"1"}',
    b'{"$t":"bytes","v":"!"}',
    b'{"$t":"datetime","v":"no"}',
    b'{"$t":"datetime","v":"2026-01-01T00:00:00","z":5}',
    b'{"$t":"zoneinfo","v":"../../etc/passwd"}',
    b'{"$t":"zoneinfo","v":"No/Where"}',
    b'{"$t":"fraction","v":[1,0]}',
    b'{"$t":"path","k":"str","v":"x"}',
    b'{"$t":"complex","v":["a","b"]}',
    b'{"$t":"dataclass","c":5,"v":{}}',
    b'{"$t":"dataclass","c":{"o":"builtins:list","a":["builtins:int"]},"v":{}}',
    b'{"$t":"exception","own":true,"c":"builtins:int","a":[]}',
    b'{"$t":"exception","own":true,"c":"builtins:OSError","a":[],"x":{"errno":[],"characters_written":"x"}}',
    b'{"$t":"exception","own":true,"c":"builtins:UnicodeDecodeError","a":[],"x":{"start":"x"}}',
    b'{"$t":"exception","own":true,"c":"builtins:ExceptionGroup","a":["m"],"g":[]}',
    b'{"$t":"exception","own":true,"c":"builtins:ValueError","a":[],"cause":1}',
    b'{"$t":"exception"}',
    b'{"$new":1}',
    b'{"$z":"zlib","n":5,"v":"!"}',
    b'{"$z":"zlib","n":5,"v":"AAAA"}',
    b'{"$z":"zlib"}',
    b'{"$z":"br","n":5,"v":"AAAA"}',
    b'{"$z":"zstd","n":5,"v":"AAAA"}',
    b'[{"$z":"zlib","n":1,"v":""}]',
    b"[" * 100_000 + b"]" * 100_000,
    b'{"$t":"tuple","v":[' * 5000 + b"]}" * 5000,
    b'{"$t":"tuple","v":[' * 110 + b"]}" * 110,
]


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_data_is_a_serialization_error_and_nothing_else(codec: Codec, data: bytes) -> None:
    with pytest.raises(errors.SerializationError):
        codec.decode(data)


def packed(raw: bytes, length: int) -> bytes:
    text = base64.b64encode(zlib.compress(raw)).decode()
    return b'{"$z":"zlib","n":%d,"v":"%s"}' % (length, text.encode())


@pytest.mark.parametrize("length", [10, 999, 1_000_001])
@pytest.mark.parametrize("read", [Codec(max_bytes=1000).decode, lambda data: digest(data, max_bytes=1000)])
def test_a_decompression_bomb_is_refused(read: Callable[[bytes], object], length: int) -> None:
    with pytest.raises(errors.SerializationError):
        read(packed(b"[" + b" " * 1_000_000, length))


def test_a_compressed_value_that_is_cut_short_is_refused(codec: Codec) -> None:
    text = base64.b64encode(zlib.compress(b'"' + b"a" * 50 + b'"')[:-6]).decode()
    with pytest.raises(errors.SerializationError, match=r"cut short|does not"):
        codec.decode(b'{"$z":"zlib","n":52,"v":"%s"}' % text.encode())


def test_missing_zstd_says_what_to_install(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Codec(compress_over=0, compression="zstd").encode(["x"] * 100)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    with pytest.raises(errors.SerializationError, match=r"install outlive\[zstd\]"):
        codec.decode(data)


def test_a_zstd_bomb_is_refused() -> None:
    bomb = compression.pack(b" " * 1_000_000, "zstd").replace(b'"n":1000000', b'"n":900')
    with pytest.raises(errors.SerializationError, match=r"does not"):
        Codec(max_bytes=1000).decode(bomb)


def test_what_does_not_pay_is_not_compressed() -> None:
    assert Codec(compress_over=0).encode([1, 2]) == b"[1,2]"
