"""How many of our own types a reader meets on the way of a hit, and on that of a miss that goes well.

The way begins where a picture's address is known (`ENTRY`) and is followed through every function of ours that is
called or handed on, as far as annotations tell whose it is; ports are named and not entered. What is counted are the
classes, enums, protocols and type aliases of `copperplate` that those functions name, or are methods of; errors have a
tree of their own and are counted apart. `python -m scripts.main_path_types [FOLDER]` measures another checkout.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
ENTRY: Final = ("http.picture_answers", "serve")
# What is no step of the way: refusals, counting, logging, and tests' crash points.
ASIDE: Final = frozenset(
    {
        "error_for",
        "failure_of",
        "_error_answer",
        "_refuse_method",
        "count",
        "log_request",
        "log_unexpected",
        "_cost",
        "_crash_point",
        "crash_point",
    }
    | {"_sweep_beside", "_look", "_look_again", "coalesced"}
    # A miss that goes well leaves nothing unstored or uncollected and records no failure.
    | {"_give_up", "_fail", "_log_failure", "log_failure", "_failure_of", "record_failure", "record_withdrawal"}
    | {
        "report_store",
        "handle_store_failure",
        "hold_or_release",
        "_record_uncollected",
        "finish_unstored",
        "_hand_over",
        "release",
        "_adopt",
        "finish",
        "_follow",
    }
    | {"is_lost", "_require_address", "report_missing", "resume", "forget"}
    # Callers who want nothing made, or an answer before the picture is there, leave the way of all others.
    | {"_cached_answer", "_early_answer"}
    # A miss that goes well has its rendition made by the leader, and a hit has one by the encoders of today.
    | {"make", "_renew"}
    # Keys are made in the pure recipes; headers are made of an entry.
    | {"original_key", "cache_key", "original_recipe", "validators", "of_picture", "elsewhere", "is_held"}
)
# What a hit does not come to.
NO_HIT: Final = frozenset({"generate", "_lead", "_make", "form_for", "_result_of", "_found"})
FORMS: Final = frozenset({"TypeVar", "Literal"})


@dataclass
class Module:
    """One file: what it defines, and what it imports of ours."""

    name: str
    functions: dict[str, ast.AST] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)


@dataclass
class Type:
    """A class or an alias."""

    module: Module
    node: ast.AST
    bases: list[str] = field(default_factory=list)
    methods: dict[str, ast.AST] = field(default_factory=dict)
    fields: dict[str, ast.AST] = field(default_factory=dict)


@dataclass
class Step:
    """A function on the way: where it stands, and whose method it is."""

    module: Module
    node: ast.AST
    owner: str | None = None


class Source:
    """Every definition of the package, by its simple name: none of those on the way is there twice."""

    def __init__(self, folder: Path) -> None:
        self.modules: dict[str, Module] = {}
        self.types: dict[str, Type] = {}
        package = folder / "src" / "copperplate"
        for file in sorted(package.rglob("*.py")):
            name = ".".join(file.relative_to(package).with_suffix("").parts).removesuffix(".__init__")
            self._read(Module(name), ast.parse(file.read_text()))

    def is_error(self, name: str) -> bool:
        """Whether it is raised."""
        if name not in self.types:
            return name in {"Exception", "BaseException"}
        return any(self.is_error(base) for base in self.types[name].bases)

    def method(self, owner: str | None, name: str) -> Step | None:
        """A method of a class that is no port; where nothing tells whose it is, of the one class that has it."""
        owners = [owner] if owner in self.types else []
        if not owners:
            owners = [each for each in self.types if name in self.types[each].methods and not self._is_edge(each)]
            if len(owners) != 1:
                return None
        found = self.types[owners[0]]
        if name in found.methods and "Protocol" not in found.bases:
            return Step(found.module, found.methods[name], owners[0])
        return None

    def _is_edge(self, name: str) -> bool:
        return self.types[name].module.name.partition(".")[0] in {"adapters", "local", "cli", "testing"}

    def _read(self, module: Module, tree: ast.Module) -> None:
        self.modules[module.name] = module
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("copperplate"):
                source = node.module.removeprefix("copperplate").removeprefix(".")  # type: ignore[union-attr]
                module.imported |= {each.asname or each.name: source for each in node.names}
        guarded = [each for node in tree.body if isinstance(node, ast.If) for each in node.body]
        for node in [*tree.body, *guarded]:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                module.functions[node.name] = node
            elif isinstance(node, ast.ClassDef):
                self.types.setdefault(node.name, _class(module, node))
            elif isinstance(node, ast.Assign) and _is_alias(node):
                self.types.setdefault(node.targets[0].id, Type(module, node))  # type: ignore[attr-defined]


def _class(module: Module, node: ast.ClassDef) -> Type:
    bases = [each.id for base in node.bases for each in ast.walk(base) if isinstance(each, ast.Name)]
    found = Type(module, node, bases)
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            found.fields[each.target.id] = each.annotation
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            found.methods[each.name] = each
            if any(isinstance(name, ast.Name) and name.id == "property" for name in each.decorator_list):
                found.fields[each.name] = each.returns or ast.Constant(None)
    if "__init__" in found.methods:
        found.fields |= _assigned(found.methods["__init__"])
    return found


def _assigned(init: ast.AST) -> dict[str, ast.AST]:
    """What tells the type of each attribute that a constructor sets."""
    assert isinstance(init, ast.FunctionDef)
    parameters = _parameters(init)
    fields = {}
    for node in ast.walk(init):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            value = node.value if isinstance(node, ast.Assign) else node.annotation
            if isinstance(target, ast.Attribute) and value is not None:
                fields[target.attr] = parameters.get(value.id, value) if isinstance(value, ast.Name) else value
    return fields


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, ast.AST]:
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return {each.arg: each.annotation for each in arguments if each.annotation is not None}


def _is_alias(node: ast.Assign) -> bool:
    target = node.targets[0]
    is_form = isinstance(node.value, ast.BinOp | ast.Subscript)
    return is_form and isinstance(target, ast.Name) and target.id[:1].isupper() and not target.id.isupper()


@dataclass
class Way:
    """What is met from the entry on, in order."""

    source: Source
    aside: frozenset[str]
    steps: list[str] = field(default_factory=list)
    types: set[str] = field(default_factory=set)
    errors: set[str] = field(default_factory=set)
    tuples: list[str] = field(default_factory=list)

    def follow(self, step: Step) -> None:
        """Walk one function, then those it calls or hands on."""
        name = getattr(step.node, "name", "")
        where = f"{step.module.name}:{step.owner + '.' if step.owner else ''}{name}"
        if where in self.steps or name in self.aside:
            return
        self.steps.append(where)
        self._meet(step.owner)
        assert isinstance(step.node, ast.FunctionDef | ast.AsyncFunctionDef)
        if step.node.returns is not None and "tuple[" in ast.unparse(step.node.returns):
            self.tuples.append(f"{where} -> {ast.unparse(step.node.returns)}")
        local = self._locals(step)
        for node in ast.walk(step.node):
            if isinstance(node, ast.Name):
                self._meet(node.id)
                self._enter(self._function(step.module, node.id))
            elif isinstance(node, ast.Attribute):
                owner = self._type_of(node.value, step, local)
                self._meet(owner)
                self._enter(self._attribute(node, owner, step.module))

    def _enter(self, step: Step | None) -> None:
        if step is not None:
            self.follow(step)

    def _meet(self, name: str | None) -> None:
        if name in self.source.types:
            (self.errors if self.source.is_error(name) else self.types).add(name)

    def _function(self, module: Module, name: str) -> Step | None:
        home = module if name in module.functions else self.source.modules.get(module.imported.get(name, "-"))
        return Step(home, home.functions[name]) if home is not None and name in home.functions else None

    def _attribute(self, node: ast.Attribute, owner: str | None, module: Module) -> Step | None:
        if owner is None and isinstance(node.value, ast.Name) and node.value.id in module.imported:
            home = self.source.modules.get(f"{module.imported[node.value.id]}.{node.value.id}".lstrip("."))
            return Step(home, home.functions[node.attr]) if home and node.attr in home.functions else None
        return self.source.method(owner, node.attr) if owner or node.attr.startswith("_") else None

    def _locals(self, step: Step) -> dict[str, str | None]:
        assert isinstance(step.node, ast.FunctionDef | ast.AsyncFunctionDef)
        local = {name: self._named(annotation) for name, annotation in _parameters(step.node).items()}
        if step.owner is not None:
            local["self"] = step.owner
        for node in ast.walk(step.node):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                self._bind(node.targets[0], node.value, step, local)
        return local

    def _bind(self, target: ast.expr, value: ast.expr, step: Step, local: dict[str, str | None]) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for each, part in zip(target.elts, value.elts, strict=False):
                self._bind(each, part, step, local)
        elif isinstance(target, ast.Name):
            local[target.id] = self._type_of(value, step, local)

    def _type_of(self, node: ast.AST, step: Step, local: dict[str, str | None]) -> str | None:
        match node:
            case ast.Name(id=name):
                return local.get(name, name if name in self.source.types else None)
            case ast.Await(value=value) | ast.Subscript(value=value):
                return self._type_of(value, step, local)
            case ast.Attribute(value=value, attr=name):
                owner = self.source.types.get(self._type_of(value, step, local) or "")
                return self._named(owner.fields[name]) if owner is not None and name in owner.fields else None
            case ast.Call(func=ast.Name(id=name)):
                function = self._function(step.module, name)
                return self._named(getattr(function.node, "returns", None)) if function else self._named(node.func)
            case ast.Call(func=ast.Attribute(value=value, attr=name)):
                owner = self.source.types.get(self._type_of(value, step, local) or "")
                return self._named(getattr(owner.methods.get(name), "returns", None)) if owner is not None else None
        return None

    def _named(self, annotation: ast.AST | None) -> str | None:
        """The type of ours in an annotation, such as that of a mapping's values."""
        names = [node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)] if annotation else []
        return next((name for name in names if name in self.source.types), None)


def measure(folder: Path = ROOT) -> dict[str, Way]:
    """What is met on the way of a hit, and of a miss."""
    source = Source(folder)
    module, name = ENTRY
    ways = {"hit": Way(source, ASIDE | NO_HIT), "miss": Way(source, ASIDE)}
    for way in ways.values():
        way.follow(Step(source.modules[module], source.modules[module].functions[name]))
    return ways


def main(folder: Path) -> None:
    """Print both counts, and what is counted."""
    for title, way in measure(folder).items():
        print(f"{title}: {len(way.types)} types, {len(way.errors)} errors, {len(way.steps)} functions")
        print("  types: " + ", ".join(sorted(way.types)))
        print("  errors: " + ", ".join(sorted(way.errors)))
        print("  tuples: " + ("; ".join(way.tuples) or "none"))
        print("  way: " + " > ".join(way.steps))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
