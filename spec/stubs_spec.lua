-- The type stubs of the Python module moonlet say what there is: all of it and nothing else.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python

describe("the stubs for Python", function()
    local namespace = support.python [[
        import ast
        import collections.abc
        import moonlet
        import moonlet.lua
        from moonlet import LuaSequence  # which is made when it is first asked for

        # What every class or module has, and the base of a class of Python.
        COMMON = {*dir(object), "__module__", "__weakref__", "__slots__", "__abstractmethods__"}
        # Attributes are found by __getattribute__, which a stub calls __getattr__; some are set late.
        ANY = {"__getattr__", "__setattr__", "__delattr__", "__hash__"}
        LATE = {"LuaError": {"value"}}

        def is_public(name):
            return not name.startswith("_") or name.endswith("__")

        def names_of(body):
            names = {}
            for node in body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                    names[node.name] = node
                elif isinstance(node, ast.AnnAssign):
                    names[node.target.id] = node
                elif isinstance(node, ast.Assign):
                    names.update((t.id, node) for t in node.targets)
                elif isinstance(node, ast.ImportFrom):
                    names.update((a.asname, node) for a in node.names if a.asname == a.name)
            return names

        def parse(file):
            with open("python/program/moonlet/" + file) as f:
                return names_of(ast.parse(f.read()).body)

        def difference(real, declared):
            real = {n for n in real if is_public(n)}
            return "missing: {}; too many: {}".format(sorted(real - declared), sorted(declared - real))

        def module_difference(module, file):
            declared = {n for n in parse(file) if is_public(n)} - {"__getattr__"}
            real = {n for n in dir(module) if not n.startswith("__") or n == "__version__"}
            return difference(real, declared)

        def class_difference(name):
            stubs, real = parse("__init__.pyi"), getattr(moonlet, name)
            declared = names_of(stubs[name].body)
            bases = [getattr(b, "value", b).id for b in stubs[name].bases]
            bases = [b for b in bases if b != "Generic" and not hasattr(collections.abc, b)]
            inherited = {n for b in bases if b in stubs for n in names_of(stubs[b].body)}
            assert [b.__name__ for b in real.__bases__ if b is not object
                    and b.__module__ != "collections.abc"] == bases, (name, bases)
            late = LATE.get(name, set())
            return difference(set(vars(real)) - COMMON - late - (inherited - set(declared)),
                              set(declared) - COMMON - ANY - late)

        def classes():
            return [n for n, node in parse("__init__.pyi").items()
                    if isinstance(node, ast.ClassDef) and is_public(n)]
    ]]
    local none = "missing: []; too many: []"

    for name, file in pairs { moonlet = "__init__.pyi", ["moonlet.lua"] = "lua/__init__.pyi" } do
        it("declare everything in " .. name .. ", and nothing else", function()
            assert.equal(none, namespace.module_difference(py.import(name), file))
        end)
    end

    for name in py.iter(namespace.classes()) do
        it("declare what " .. name .. " has, and nothing else", function()
            assert.equal(none, namespace.class_difference(name))
        end)
    end
end)
