---@meta moonlet

-- What `require "moonlet"` gives, for the Lua language server: add share/moonlet/library to
-- Lua.workspace.library. Nothing here is run.

---A greenlet, of a Lua function or of a Python callable. It has the attributes of Python's, too.
---@class moonlet.Greenlet
---@field parent moonlet.Greenlet? Gets the results of the function, or the error that ended it; can be set. Errors if set to no greenlet, to one of another thread, or to one that makes a cycle.
---@field dead boolean Whether it has ended. Errors if set.
---@field [string] any Attributes of the Python object. AttributeError if there is none.
local Greenlet = {}

---Suspends the current greenlet and continues this one, in which a pending switch returns the arguments; the first starts the function with them.
---Errors: what ended a greenlet whose parent is the current one; another thread's greenlet; inside a finalizer.
---@param ... any
---@return any ... what the next switch back brings
function Greenlet:switch(...) end

---The same as switch, but here the error is raised.
---Errors: as switch; a greenlet that does not catch the error raises it in its parent, unless it is GreenletExit.
---@param err? any a Lua value, a Python exception or its class; GreenletExit by default
---@return any ... what the next switch back brings
function Greenlet:throw(err) end

---An object of Python. A string as key is an attribute (of a mapping, the item, nil if there is none); any other key an item.
---Errors: the exceptions that Python raises, which are such objects themselves.
---@class moonlet.PythonObject
---@field [any] any
---@overload fun(...: any): ...any
---@operator add(any): any
---@operator sub(any): any
---@operator mul(any): any
---@operator div(any): any
---@operator mod(any): any
---@operator pow(any): any
---@operator idiv(any): any
---@operator band(any): any
---@operator bor(any): any
---@operator bxor(any): any
---@operator shl(any): any
---@operator shr(any): any
---@operator concat(any): any
---@operator unm: any
---@operator bnot: any
---@operator len: integer

---The memory of a Python object. Indices are Python's: from 0, and from the end if negative.
---Errors: an index that is out of range; a value that does not fit the format; any use after the release.
---@class moonlet.Buffer
---@field shape integer[] The length of each dimension.
---@field strides integer[] The distance in bytes of the items of each dimension.
---@field ndim integer The number of dimensions.
---@field itemsize integer The bytes of an element.
---@field nbytes integer The bytes of all elements.
---@field format string The format of an element, as in Python's module struct.
---@field readonly boolean Whether writing is an error.
---@field object any The Python object.
---@field [integer] any An element; of a buffer with more dimensions a view, and a string that fills it.
---@field [moonlet.PythonObject] any Of a slice: a view; assigned to, a string of exactly its bytes.
---@operator len: integer
local Buffer = {}

---The element that the indices lead to, or the view if they are fewer than the dimensions.
---Errors: an index that is no integer or out of range; too many of them; a format that is not known.
---@param ... integer
---@return any
function Buffer:get(...) end

---Assigns the last argument to what the indices before it lead to.
---Errors: as get; a buffer that is read-only; a value that does not fit the format, a string of another length.
---@param ... any
function Buffer:set(...) end

---The bytes of the items i to j - 1, as of Python's b[i:j], in C's order.
---Errors: an index that is no integer.
---@param i? integer 0 by default
---@param j? integer the end by default
---@return string
function Buffer:string(i, j) end

---Writes the bytes of a string.
---Errors: a buffer that is read-only; a string that does not fill whole items, or does not fit.
---@param s string
---@param i? integer the first item, 0 by default
function Buffer:write(s, i) end

---Gives the memory back, as the end of a <close> variable does: then any use is an error. Errors: none.
function Buffer:release() end

---@class moonlet.Config
---@field lanes integer How many greenlets can have their stack in place at once. Errors if set to no positive integer, or to too large a one.

---What moonlet.open takes.
---@class moonlet.Settings
---@field filter? moonlet.Callable Called as filter(object, access, name) before every access to Python; PermissionError unless its result is true.
---@field modules? string[] The modules that can be imported, with what is in a package.
---@field eval? boolean Whether py.eval and py.exec can be used; without filter, not if there are modules.
---@field memory? integer How many bytes the Lua state may have.

---@alias moonlet.Callable moonlet.PythonObject | fun(...: any): ...any

---@class moonlet
---@field _VERSION string The version: "moonlet 0.1.0".
---@field GreenletExit moonlet.PythonObject The exception class that ends a greenlet without being an error.
---@field config moonlet.Config Settings of the process. Errors for any other name.
---@field python moonlet.python Python.
local moonlet = {}

---A new greenlet.
---Errors: a value that cannot be called; a parent that is no greenlet, or one of another thread.
---@param f moonlet.Callable what it will run
---@param parent? moonlet.Greenlet the current one by default
---@return moonlet.Greenlet
function moonlet.greenlet(f, parent) end

---The running greenlet; at first the thread's main greenlet, whose parent is nil.
---Errors: not enough memory.
---@return moonlet.Greenlet
function moonlet.current() end

---As debug.traceback, with Python's frames; of an exception, its own traceback comes first. A message handler for xpcall.
---Errors: a level that is no integer.
---@param thread thread
---@param message? any returned as it is if it is no string, exception or nil
---@param level? integer 1 by default, 0 of another thread
---@return any
---@overload fun(message?: any, level?: integer): any
function moonlet.traceback(thread, message, level) end

---Copies a Python container, and those in it, to tables: mappings with their pairs, sets with true, sequences from index 1.
---Errors: TypeError for what is no container; ValueError for a key that no table can have, or two that are equal in Lua.
---@param o moonlet.PythonObject
---@param none? any what None becomes; where nil, a list with a hole gets a field n
---@return table
function moonlet.table(o, none) end

---Collects what is garbage in Lua and Python, with cycles through both. Does nothing inside of a finalizer.
---Errors: none.
---@return integer found how many objects Python's collector has found
function moonlet.collect() end

---Leaves the call f(...) to the thread of this Lua state, to be made soon, in whatever greenlet runs.
---Errors: a value that cannot be called. Those of the call itself go to sys.unraisablehook.
---@param f moonlet.Callable
---@param ... any
function moonlet.call_soon_threadsafe(f, ...) end

---Sets, once, what scripts of this Lua state may do.
---Errors: a setting that does not exist or has a bad value; a second call with settings.
---@param settings? moonlet.Settings
---@return moonlet
function moonlet.open(settings) end

---@class moonlet.python
---@field builtins moonlet.PythonObject The module builtins.
---@field none moonlet.PythonObject None as a value that a table can hold; in Python it is None.
---@field slice moonlet.PythonObject The class slice: py.slice(stop), py.slice(start, stop [, step]), as a key for o[...].
local python = {}

---A module, of a dotted name the last one.
---Errors: ImportError, what the module raises, PermissionError.
---@param name string
---@return moonlet.PythonObject
function python.import(name) end

---The value of a Python expression.
---Errors: SyntaxError, what the expression raises, PermissionError.
---@param expression string
---@param globals? moonlet.PythonObject a dict; that of __main__ by default
---@return any
function python.eval(expression, globals) end

---Runs Python statements; the indentation of the first line is taken off all.
---Errors: SyntaxError, what the statements raise, PermissionError.
---@param statements string
---@param globals? moonlet.PythonObject a dict; that of __main__ by default
function python.exec(statements, globals) end

---Marks a table as keyword arguments, if it is the last argument of a call.
---Errors: a value that is no table.
---@generic T: table
---@param t T
---@return T
function python.kw(t) end

---For `for x in py.iter(o) do`. Tuples arrive as several values, None as py.none.
---Errors: TypeError for what cannot be iterated; what the iterator raises.
---@param o any
---@return fun(iterator: moonlet.PythonObject): ...any
---@return moonlet.PythonObject iterator
function python.iter(o) end

---Enters a context manager, to be left by a <close> variable.
---Errors: TypeError for what is none; what __enter__ raises.
---@param o any
---@return moonlet.PythonObject o
---@return any ... what __enter__ returns, a tuple as several values
function python.with(o) end

---A bytes object (a Lua string arrives as str if it is UTF-8).
---Errors: a value that is no string.
---@param s string
---@return moonlet.PythonObject
function python.bytes(s) end

---A memoryview of a Lua string, read-only and not copied; of a Python object as in Python.
---Errors: a value of another type; TypeError for an object without a buffer.
---@param s string | moonlet.PythonObject
---@return moonlet.PythonObject
function python.memoryview(s) end

---The memory of an object with the buffer protocol, not copied.
---Errors: TypeError for an object that has none; BufferError or ValueError for one that does not give it.
---@param o any
---@return moonlet.Buffer
function python.buffer(o) end

---As in Python.
---Errors: TypeError for what is no class.
---@param o any
---@param class moonlet.PythonObject a class or a tuple of classes
---@return boolean
function python.isinstance(o, class) end

---The attribute, also where o.name would be an item.
---Errors: AttributeError; a name that is no string.
---@param o any
---@param name string
---@return any
function python.attr(o, name) end

---Sets the attribute, also where o.name = value would set an item.
---Errors: AttributeError; a name that is no string.
---@param o any
---@param name string
---@param value any
function python.setattr(o, name, value) end

---Python's del o.name.
---Errors: AttributeError; a name that is no string.
---@param o any
---@param name string
function python.delattr(o, name) end

---Python's o[key], also where o[key] would be an attribute.
---Errors: KeyError, IndexError; TypeError for an object without items.
---@param o any
---@param key any
---@return any
function python.item(o, key) end

---Python's o[key] = value.
---Errors: IndexError; TypeError for an object whose items cannot be set.
---@param o any
---@param key any
---@param value any
function python.setitem(o, key, value) end

---Python's del o[key]; the key can be a slice.
---Errors: KeyError, IndexError; TypeError for an object whose items cannot be deleted.
---@param o any
---@param key any
function python.delitem(o, key) end

---Whether Python's x in o.
---Errors: TypeError for an object that contains nothing.
---@param o any
---@param x any
---@return boolean
function python.contains(o, x) end

---A dict with the pairs of a table, the tables in it copied too; else what Python's dict makes.
---Errors: TypeError for a table as key; ValueError for keys that are equal in Python.
---@param t? any
---@return moonlet.PythonObject
function python.dict(t) end

---A list of t[1] to t[n], the tables in it copied too, n being t.n or the largest key; else what Python's list makes.
---Errors: any other key in the table; those of py.dict.
---@param t? any
---@return moonlet.PythonObject
function python.list(t) end

---The same as py.list, as a tuple.
---Errors: those of py.list.
---@param t? any
---@return moonlet.PythonObject
function python.tuple(t) end

---A set of the keys of a table if all values are true, else of the items that py.list gives.
---Errors: those of py.list; TypeError for what cannot be hashed.
---@param t? any
---@return moonlet.PythonObject
function python.set(t) end

return moonlet
