"""Exceptions as data: recorded with all a handler may look at, rebuilt as their own type where a trial shows it works.

A rebuilt exception gets its arguments and attributes back without its ``__init__``: ``CardDeclined("4711")`` may make
one argument into another message, and running it on that message would make a third. Data that builtin exceptions keep
outside ``__dict__`` (``OSError.errno``, ``UnicodeError.start``) is carried by name.

The traceback comes back as a note, because it is text: frames of another process can't be stood in, and must not be
faked. It is no part of what is compared on replay.
"""

from __future__ import annotations

import traceback
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Final, Protocol, cast

from outlive._codec.decode import Builder, Unreadable, plainly
from outlive._codec.encode import Shapes, Walker
from outlive._codec.nodes import Node
from outlive._codec.refusal import Refused
from outlive._codec.types import TypeRegistry, natural_name
from outlive.errors import StepError

TRACEBACK_NOTE: Final = "Traceback of the step, as recorded:\n"
_TRACEBACK_LIMIT: Final = 20_000
_HEAP_TYPE: Final = 1 << 9
_POINTER: Final = object().__sizeof__() // 2
# AttributeError.obj is whatever the attribute was looked for in: any object, of any size, that no handler decides by.
_NOT_CARRIED: Final = frozenset({"args", "obj", "__notes__", "__orig_class__"})


class Exceptions:
    """Records and rebuilds exceptions; with the builder that both the trial and every later decode use."""

    def __init__(self, *, types: TypeRegistry, shapes: Shapes, max_depth: int) -> None:
        self.max_depth = max_depth
        self.builder = Builder(types=types, shapes=shapes, rebuild=self.rebuild, max_depth=max_depth + 2)

    def record(self, walker: Walker, error: BaseException, depth: int) -> Node:
        """``error`` with its chain, as a tree.

        Raises:
            Refused: It contains itself, or stands too deep.
        """
        return self._record(walker, error, depth, set())

    def rebuild(self, builder: Builder, node: dict[str, Node], depth: int) -> BaseException:
        """The exception that was recorded, in the form that was decided then."""
        recorded = cast("str", builder.build(node.get("tb", ""), 0))
        if node.get("own"):
            made = self._rebuild_own(builder, node, depth)
        else:
            message = cast("str", builder.build(node["m"], 0))
            made = StepError(message, type_name=cast("str", builder.build(node["c"], 0)), traceback_text=recorded)
        notes = builder.items(node.get("n", []), depth)
        if recorded:
            notes.append(TRACEBACK_NOTE + recorded)
        if notes:
            _set(made, "__notes__", cast("list[str]", notes))
        if "cause" in node:
            _set(made, "__cause__", self._built_exception(builder, node["cause"], depth))
        if "context" in node:
            shared = node["context"] == "cause"
            _set(
                made,
                "__context__",
                made.__cause__ if shared else self._built_exception(builder, node["context"], depth),
            )
        _set(made, "__suppress_context__", bool(node.get("sc")))
        return made

    def _record(self, walker: Walker, error: BaseException, depth: int, seen: set[int]) -> Node:
        if id(error) in walker.recording:
            raise Refused("is an exception that contains itself")
        walker.enter(error, depth)
        seen.add(id(error))
        walker.recording.add(id(error))
        try:
            made: dict[str, Node] = {"$t": "exception"} | self._form(walker, error, depth, seen)
            if notes := _notes(error):
                made["n"] = [walker.text(note) for note in notes]
            if recorded := _traceback_text(error):
                made["tb"] = walker.text(recorded)
            self._add_chain(walker, error, depth, seen, made)
        finally:
            walker.recording.discard(id(error))
        return made

    def _add_chain(
        self, walker: Walker, error: BaseException, depth: int, seen: set[int], made: dict[str, Node]
    ) -> None:
        """Cause and context, each exception once: chains share members and may be circular; what is too deep is cut."""
        cause, context = error.__cause__, error.__context__
        if error.__suppress_context__:
            made["sc"] = True
        for name, linked in (("cause", cause), ("context", context)):
            if linked is None:
                continue
            if name == "context" and linked is cause:
                if "cause" in made:
                    made["context"] = "cause"
            elif id(linked) not in seen and id(linked) not in walker.recording and depth < self.max_depth:
                made[name] = self._record(walker, linked, depth + 1, seen)

    def _form(self, walker: Walker, error: BaseException, depth: int, seen: set[int]) -> dict[str, Node]:
        """Own type or text: decided here, once, and recorded."""
        if type(error) is StepError:
            return {"own": False, "c": walker.text(error.type_name), "m": walker.text(error.message)}
        message = safe_text(error)
        try:
            parts = self._own_parts(walker, error, depth, seen)
            self._try(error, parts, message)
        except Exception as obstacle:  # whatever stands in the way of the own type decides the form, nothing else
            if isinstance(obstacle, UnicodeEncodeError) and not walker.careful:
                raise  # a lone surrogate: all is walked again, carefully
            return {"own": False, "c": walker.text(safe_name(error)), "m": walker.text(message)}
        return {"own": True, "m": walker.text(message)} | parts

    def _own_parts(self, walker: Walker, error: BaseException, depth: int, seen: set[int]) -> dict[str, Node]:
        kind = type(error)
        parts: dict[str, Node] = {"c": walker.class_node(kind)}
        if (adapter := walker.types.adapter_of(kind)) is not None:
            parts["v"] = walker.adapted(error, adapter, depth)
            return parts
        if BaseExceptionGroup in kind.__mro__:
            group = cast("BaseExceptionGroup[BaseException]", error)
            parts["a"] = [walker.text(group.message)]
            parts["g"] = [self._record(walker, member, depth + 1, seen) for member in group.exceptions]
        else:
            parts["a"] = walker.items(error, error.args, depth + 1)
        state: dict[str, Node] = {}
        lost: list[str] = []
        for name, value in _state_of(error).items():
            try:
                state |= cast("dict[str, Node]", walker.attributes(error, {name: value}, depth))
            except Refused:
                lost.append(name)
        if state:
            parts["x"] = state
        if lost:
            parts["lost"] = [walker.text(name) for name in sorted(lost)]
        return parts

    def _try(self, error: BaseException, parts: dict[str, Node], message: str) -> None:
        """The trial: rebuild it now, with its own members in place of recorded ones, and see whether it is the same."""
        try:
            members = list(cast("BaseExceptionGroup[BaseException]", error).exceptions) if "g" in parts else None
            made = self._rebuild_own(self.builder, parts, 1, members)
        except Unreadable:
            raise
        except Exception as reason:  # what a foreign type does when it is rebuilt decides the form, nothing else
            raise Unreadable(plainly(reason)) from None
        if type(made) is not type(error) or safe_text(made) != message:
            raise Unreadable("comes back as something else")

    def _rebuild_own(
        self, builder: Builder, node: dict[str, Node], depth: int, members: list[BaseException] | None = None
    ) -> BaseException:
        cls = builder.known_class(node["c"])
        if not issubclass(cls, BaseException):
            raise Unreadable(f"is a {cls.__qualname__}, which is no exception any more")
        if "v" in node:
            return _expect_exception(builder.build(node["v"], depth))
        args = tuple(builder.items(node["a"], depth))
        if "g" in node and members is None:
            members = [self._built_exception(builder, member, depth) for member in cast("list[Node]", node["g"])]
        try:
            made = _blank(cls, args, members)
            _restore(made, builder.attributes(node.get("x"), depth))
        except (TypeError, ValueError, AttributeError) as error:
            raise Unreadable(f"could not be rebuilt: {cls.__qualname__}: {error}") from None
        return made

    def _built_exception(self, builder: Builder, node: Node, depth: int) -> BaseException:
        return _expect_exception(builder.build(node, depth + 1))


def as_text_only(walker: Walker, error: BaseException, *, room: int) -> Node:
    """The smallest record of ``error``, for when nothing else can be written; texts are cut at ``room`` characters."""
    made: dict[str, Node] = {"$t": "exception", "own": False, "c": walker.text(safe_name(error))}
    made["m"] = walker.text(safe_text(error)[:room])
    try:
        recorded = _traceback_text(error)
    except Exception:  # an exception that can't even be asked for its attributes
        recorded = ""
    if recorded:
        made["tb"] = walker.text(recorded[-room:])
    return made


def safe_text(error: BaseException) -> str:
    """``str(error)``, whatever its ``__str__`` does."""
    try:
        return "".join((str(error), ""))  # joined, so that it is no subclass of str
    except Exception as broken:
        kind, reason = type(error).__qualname__, type(broken).__qualname__
        return f"<the text of this {kind} could not be made: its __str__ raised {reason}>"


def safe_name(error: BaseException) -> str:
    return natural_name(type(error))


def _set(error: BaseException, name: str, value: object) -> None:
    """Set an attribute also where the class, being frozen, forbids it."""
    BaseException.__setattr__(error, name, value)


def _expect_exception(value: object) -> BaseException:
    if not isinstance(value, BaseException):
        raise Unreadable("is damaged: an exception is missing")
    return value


class _New(Protocol):
    """``__new__`` of a builtin exception, called for a class derived from it."""

    def __call__(self, kind: type[BaseException], /, *args: object) -> BaseException: ...


def _blank(cls: type[BaseException], args: tuple[object, ...], members: list[BaseException] | None) -> BaseException:
    """An instance on which no code of its own has run."""
    if members is not None:
        return cast("_New", BaseExceptionGroup.__new__)(cls, args[0], members)
    base = next(parent for parent in cls.__mro__ if not parent.__flags__ & _HEAP_TYPE)
    slots = sum(
        isinstance(attribute, MemberDescriptorType)
        for parent in cls.__mro__[: cls.__mro__.index(base)]
        for attribute in cast("dict[str, object]", dict(vars(parent))).values()
    )
    if cls.__basicsize__ > base.__basicsize__ + (slots + 2) * _POINTER:
        raise TypeError("it keeps data in C that can't be seen from Python")
    made = cast("_New", base.__new__)(cls)
    _set(made, "args", args)
    return made


def _descriptors(cls: type[BaseException]) -> dict[str, MemberDescriptorType | GetSetDescriptorType]:
    """Where instances keep what is not in ``__dict__``: slots, and the members of builtin exceptions."""
    found: dict[str, MemberDescriptorType | GetSetDescriptorType] = {}
    for parent in cls.__mro__:
        if parent in {BaseException, BaseExceptionGroup}:
            break
        for name, attribute in vars(parent).items():
            if (
                isinstance(attribute, (MemberDescriptorType, GetSetDescriptorType))
                and not name.startswith("__")
                and name not in _NOT_CARRIED
            ):
                found.setdefault(name, attribute)
    return found


def _state_of(error: BaseException) -> dict[str, object]:
    state = {name: value for name, value in cast("dict[str, object]", vars(error)).items() if name not in _NOT_CARRIED}
    for name, descriptor in _descriptors(type(error)).items():
        try:
            value = cast("object", descriptor.__get__(error))
        except AttributeError:  # a slot that was never set
            continue
        if value is not None:  # an unset member reads as None, and setting None would make it a set one
            state[name] = value
    return state


def _restore(made: BaseException, state: dict[str, object]) -> None:
    descriptors = _descriptors(type(made))
    for name, value in state.items():
        if name in descriptors:
            descriptors[name].__set__(made, value)
        elif name not in _NOT_CARRIED:
            vars(made)[name] = value


def _notes(error: BaseException) -> list[str]:
    notes = cast("object", getattr(error, "__notes__", None))
    if not isinstance(notes, list):
        return []
    return [note for note in cast("list[object]", notes) if type(note) is str and not note.startswith(TRACEBACK_NOTE)]


def _traceback_text(error: BaseException) -> str:
    """What was recorded when it came from a step, then the frames it has passed since."""
    texts: list[str] = []
    if type(error) is StepError and error.traceback_text:
        texts.append(error.traceback_text)
    else:
        notes = cast("object", getattr(error, "__notes__", None))
        if isinstance(notes, list):
            held = cast("list[object]", notes)
            texts += [n.removeprefix(TRACEBACK_NOTE) for n in held if type(n) is str and n.startswith(TRACEBACK_NOTE)][
                :1
            ]
    try:
        texts.append("".join(traceback.format_tb(error.__traceback__)))
    except Exception:  # a source file that can't be read as text; the exception matters more than its frames
        texts.append("")
    text = "".join(texts)
    if len(text) <= _TRACEBACK_LIMIT:
        return text
    head, tail = text[: _TRACEBACK_LIMIT // 4], text[-_TRACEBACK_LIMIT * 3 // 4 :]
    return f"{head}\n  ... {len(text) - _TRACEBACK_LIMIT:,} characters left out ...\n{tail}"
