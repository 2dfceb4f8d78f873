"""Arguments of steps and workflows, in one form however they were passed (R1)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import cast


class Binder:
    """Binds calls to a signature: positional and keyword forms give the same mapping; defaults are not filled in.

    Keys are parameter names; ``*args`` stands under ``"*args"`` and ``**kwargs`` under ``"**kwargs"``.
    """

    __slots__ = ("_label", "_names", "_required", "_signature", "_var_kw", "_var_pos")

    def __init__(self, function: Callable[..., object], *, skip_self: bool = False) -> None:
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())[1 if skip_self else 0 :]
        self._signature = signature.replace(parameters=parameters)
        self._label = function.__qualname__
        self._var_pos = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        self._var_kw = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
        plain = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        # the common case needs no inspect.Signature.bind, which costs more than the rest of a call
        self._names = tuple(p.name for p in parameters) if plain else None
        self._required = sum(p.default is p.empty for p in parameters)

    def bind(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        """The mapping of one call.

        Raises:
            TypeError: As calling the function would.
        """
        if not kwargs and self._names is not None and self._required <= len(args) <= len(self._names):
            return dict(zip(self._names, args, strict=False))
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._label}(): {error}") from None
        arguments = dict(bound.arguments)
        if self._var_pos is not None and self._var_pos in arguments:
            arguments["*" + self._var_pos] = list(cast("tuple[object, ...]", arguments.pop(self._var_pos)))
        if self._var_kw is not None and self._var_kw in arguments:
            arguments["**" + self._var_kw] = arguments.pop(self._var_kw)
        return arguments

    def spread(self, arguments: dict[str, object]) -> tuple[tuple[object, ...], dict[str, object]]:
        """The positional and keyword arguments for calling the function with what :meth:`bind` gave."""
        if self._names is not None:
            return (), arguments
        kwargs = dict(arguments)
        args: list[object] = []
        rest = cast("list[object]", kwargs.pop("*" + self._var_pos, [])) if self._var_pos is not None else []
        for name, parameter in self._signature.parameters.items():
            positional = parameter.kind is parameter.POSITIONAL_ONLY or (
                bool(rest) and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            )
            if not positional or name not in kwargs:
                break
            args.append(kwargs.pop(name))
        args.extend(rest)
        if self._var_kw is not None:
            kwargs.update(cast("dict[str, object]", kwargs.pop("**" + self._var_kw, {})))
        return tuple(args), kwargs
