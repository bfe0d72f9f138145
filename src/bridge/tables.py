"""Views of Lua tables, made of the abstract classes of Python's collections.

Run by source.c, with the helpers of luasequence.c in its namespace.
"""
# flake8: noqa: F821

import copy
import operator
from _collections_abc import ItemsView, KeysView, MutableSequence, ValuesView


class LuaKeys(KeysView):
    """The keys of a Lua table, live."""

    __slots__ = ()

    def __len__(self):
        return count(self._mapping)

    def __repr__(self):
        return "{}({!r})".format(type(self).__name__, list(self))


class LuaValues(ValuesView):
    """The values of a Lua table, live."""

    __slots__ = ()
    __len__ = LuaKeys.__len__
    __repr__ = LuaKeys.__repr__

    def __iter__(self):
        return iterate_values(self._mapping)

    def __contains__(self, value):
        return any(v is value or v == value for v in self)


class LuaItems(ItemsView):
    """The pairs of key and value of a Lua table, live."""

    __slots__ = ()
    __len__ = LuaKeys.__len__
    __repr__ = LuaKeys.__repr__

    def __iter__(self):
        return iterate_items(self._mapping)

    def __contains__(self, item):
        key, value = item
        own = self._mapping[key]
        return own is not None and (own is value or own == value)


class LuaSequence(MutableSequence):
    """The items 1 to #t of a Lua table as a sequence of Python, live.

    The first has index 0; negative indices and slices are as in a list. It cannot hold None, which
    in Lua would end it.
    """

    __slots__ = ("_table",)

    def __init__(self, table):
        check_table(table)
        self._table = table

    @property
    def table(self):
        """The table it shows."""
        return self._table

    def __repr__(self):
        return "{}({!r})".format(type(self).__name__, list(self))

    def __len__(self):
        return len(self._table)

    def __iter__(self):
        index = 0
        while index < len(self._table):
            index += 1
            yield self._table[index]

    def __reversed__(self):
        for index in range(len(self._table), 0, -1):
            yield self._table[index]

    def _position(self, index):
        """Where Lua has the item with this index."""
        index, size = operator.index(index), len(self._table)
        if not -size <= index < size:
            raise IndexError("LuaSequence index out of range")
        return index % size + 1

    def __getitem__(self, index):
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self._table))
            return [self._table[i + 1] for i in range(start, stop, step)]
        return self._table[self._position(index)]

    def __setitem__(self, index, value):
        if not isinstance(index, slice):
            check_items((value,))
            self._table[self._position(index)] = value
            return
        values = tuple(value)
        check_items(values)
        start, stop, step = index.indices(len(self._table))
        if step == 1:
            splice(self._table, start, max(stop - start, 0), values)
            return
        positions = range(start + 1, stop + 1, step)
        if len(positions) != len(values):
            raise ValueError("attempt to assign sequence of size {} to extended slice of size {}"
                             .format(len(values), len(positions)))
        for position, item in zip(positions, values):
            self._table[position] = item

    def __delitem__(self, index):
        if not isinstance(index, slice):
            splice(self._table, self._position(index) - 1, 1, ())
            return
        start, stop, step = index.indices(len(self._table))
        if step == 1:
            splice(self._table, start, max(stop - start, 0), ())
            return
        rest = list(self)
        del rest[index]
        splice(self._table, 0, len(self._table), tuple(rest))

    def insert(self, index, value):
        """Insert the value before the item with this index."""
        check_items((value,))
        start = slice(index, None).indices(len(self._table))[0]
        splice(self._table, start, 0, (value,))

    def append(self, value):
        """Add the value at the end."""
        check_items((value,))
        self._table[len(self._table) + 1] = value

    def extend(self, values):
        """Add all values of an iterable at the end."""
        self[len(self._table):] = values

    def clear(self):
        """Remove all items."""
        del self[:]

    def reverse(self):
        """Put the items in the reverse order."""
        self[:] = self[::-1]


def check_items(values):
    """Raise TypeError if a sequence of Lua cannot hold one of the values."""
    if any(value is None for value in values):
        raise TypeError("a LuaSequence cannot hold None, which is nil in Lua")


def deepcopy(table, memo):
    """Copy a table with all it contains; the copies have the same metatables."""
    key = "moonlet", address(table)
    if key not in memo:
        memo[key] = new = copy_empty(table)
        for name, value in raw_items(table):
            raw_set(new, copy.deepcopy(name, memo), copy.deepcopy(value, memo))
    return memo[key]
