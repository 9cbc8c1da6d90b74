"""Reads our docstrings for the documentation site: ``Example:`` is a section, roles of other tools become plain code."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|mod|meth|data|attr):`~?(?:imgframe\.)?([^`]+)`")


class PlainDocstrings(griffe.Extension):
    """Changes the text of each docstring before it is parsed, and takes names for what Python takes them for."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring is not None:
            text = ROLE.sub(r"`\1`", obj.docstring.value)
            text = re.sub(r"^( *)Example:$", r"\1Examples:", text, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r"::$", ":", text, flags=re.MULTILINE)

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Called with the whole package: a room's function stands before the module of the same name that holds it."""
        loader.resolve_aliases(implicit=True, external=False)
        functions = {}
        for room in _modules(pkg):
            for name, path in room.imports.items():
                module = room.members.get(name)
                if path == f"{room.path}.{name}.{name}" and isinstance(module, griffe.Module):
                    functions[module.path] = module.members[name]
                    room.members[name] = griffe.Alias(name, module.members[name], parent=room)
        for module in _modules(pkg):
            for member in module.members.values():
                if isinstance(member, griffe.Alias) and member.target_path in functions:
                    member.target = functions[member.target_path]


def _modules(module: griffe.Module) -> list[griffe.Module]:
    below = [one for one in module.members.values() if isinstance(one, griffe.Module)]
    return [module, *(deeper for one in below for deeper in _modules(one))]
