"""Lua for Python code, which there is only where Lua is."""

raise ImportError(
    "moonlet.lua needs the program moonlet, or a program with Lua that has loaded moonlet; "
    "this is moonlet for Python alone",
    name=__name__,
)
