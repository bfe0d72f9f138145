"""Channels, queues and select."""

from types import GenericAlias

from moonlet import Closed, LuaTable, WouldBlock, _raw

__all__ = ["Case", "Channel", "LifoQueue", "PriorityQueue", "Queue", "channel", "lifo_queue",
           "priority_queue", "queue", "select"]

_channel = _raw("channel", "channel")
_send = _raw("channel", "methods.send")
_try_send = _raw("channel", "methods.try_send")
_receive = _raw("channel", "methods.receive")
_try_receive = _raw("channel", "methods.try_receive")
_close_channel = _raw("channel", "methods.close")
_on_send = _raw("channel", "methods.on_send")
_on_receive = _raw("channel", "methods.on_receive")
_select = _raw("select", "run")

_queue = _raw("queue", "queue")
_lifo_queue = _raw("queue", "lifo_queue")
_priority_queue = _raw("queue", "priority_queue")
_put = _raw("queue", "methods.put")
_try_put = _raw("queue", "methods.try_put")
_prioritized_put = _raw("queue", "prioritized.put")
_prioritized_try_put = _raw("queue", "prioritized.try_put")
_get = _raw("queue", "methods.get")
_try_get = _raw("queue", "methods.try_get")
_task_done = _raw("queue", "methods.task_done")
_join = _raw("queue", "methods.join")
_shutdown = _raw("queue", "methods.shutdown")
_qsize = _raw("queue", "methods.qsize")
_empty = _raw("queue", "methods.empty")
_full = _raw("queue", "methods.full")
_on_get = _raw("queue", "methods.on_get")
_on_put = _raw("queue", "methods.on_put")
_prioritized_on_put = _raw("queue", "prioritized.on_put")


class Case(LuaTable):
    """What select can do, such as ch.on_send(value)."""

    __slots__ = ()


class Channel(LuaTable):
    """Values go through it from one task to another."""

    __slots__ = ()
    __getattribute__ = object.__getattribute__  # its methods are called as fast as others'
    __class_getitem__ = classmethod(GenericAlias)

    def __new__(cls, capacity=0):
        return _channel(capacity)

    def send(self, value, timeout=None):
        """Gives the value to who waits for one, or to the buffer; waits if there is neither."""
        _send(self, value, timeout)

    def try_send(self, value):
        """The same if it need not wait; False if it would have to."""
        return _try_send(self, value)

    def receive(self, timeout=None):
        """Waits for a value, and returns it."""
        return _receive(self, timeout)

    def try_receive(self):
        """Returns a value if there is one, or raises WouldBlock."""
        result = _try_receive(self)
        if result is False:
            raise WouldBlock("there is no value in the channel")
        return result[1]

    def close(self):
        """No more values: raises Closed in who sends, and in who receives when none is left."""
        return _close_channel(self)

    def on_send(self, value):
        """For select: sends the value."""
        return _on_send(self, value)

    def on_receive(self):
        """For select: receives a value. The channel itself does so, too."""
        return _on_receive(self)

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return _receive(self)
        except Closed:
            if not self.closed:
                raise
            raise StopIteration from None

    @property
    def capacity(self):
        """How many values it holds."""
        return self["capacity"]

    @property
    def closed(self):
        """Whether it was closed."""
        return self["closed"]


class Queue(LuaTable):
    """Gives the items in the order in which they came."""

    __slots__ = ()
    __getattribute__ = object.__getattribute__
    __class_getitem__ = classmethod(GenericAlias)

    def __new__(cls, maxsize=0):
        return _queue(maxsize)

    def put(self, item, timeout=None):
        """Waits until there is room, and puts the item into the queue."""
        _put(self, item, timeout)

    def try_put(self, item):
        """The same if there is room; False if there is none."""
        return _try_put(self, item)

    def get(self, timeout=None):
        """Waits for an item, and takes it."""
        return _get(self, timeout)

    def try_get(self):
        """Takes an item if there is one, or raises WouldBlock."""
        result = _try_get(self)
        if result is False:
            raise WouldBlock("there is no item in the queue")
        return result[1]

    def task_done(self):
        """What was to be done with an item that was taken is done."""
        _task_done(self)

    def join(self, timeout=None):
        """Waits until task_done() was called for each item that was put."""
        _join(self, timeout)

    def shutdown(self, immediate=False):
        """No more items: raises Closed in who puts one, and in who gets one when none is left."""
        return _shutdown(self, bool(immediate))

    def qsize(self):
        """How many items are in it."""
        return _qsize(self)

    def empty(self):
        """Whether there is none."""
        return _empty(self)

    def full(self):
        """Whether who puts an item has to wait."""
        return _full(self)

    def on_get(self):
        """For select: takes an item. The queue itself does so, too."""
        return _on_get(self)

    def on_put(self, item):
        """For select: puts the item."""
        return _on_put(self, item)

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return _get(self)
        except Closed:
            if not self.closed:
                raise
            raise StopIteration from None

    @property
    def maxsize(self):
        """How many items it holds; 0: as many as there are."""
        return self["maxsize"]

    @property
    def closed(self):
        """Whether it was shut down."""
        return self["closed"]

    @property
    def unfinished(self):
        """For how many items that were put task_done() was not called yet."""
        return self["unfinished"]


class LifoQueue(Queue):
    """Gives the newest item first."""

    __slots__ = ()

    def __new__(cls, maxsize=0):
        return _lifo_queue(maxsize)


class PriorityQueue(Queue):
    """Gives the item with the smallest priority first, of equal ones the oldest."""

    __slots__ = ()

    def __new__(cls, maxsize=0):
        return _priority_queue(maxsize)

    def put(self, item, priority=None, timeout=None):
        """Waits until there is room, and puts the item, which may be its own priority."""
        _prioritized_put(self, item, priority, timeout)

    def try_put(self, item, priority=None):
        """The same if there is room; False if there is none."""
        return _prioritized_try_put(self, item, priority)

    def on_put(self, item, priority=None):
        """For select: puts the item."""
        return _prioritized_on_put(self, item, priority)


def select(*cases, timeout=None, default=False):
    """Waits until one of the cases can go on, does it, and returns its index and its result."""
    result = _select(timeout, default or None, *cases)
    if isinstance(result, str):
        return result, None
    return result if isinstance(result, tuple) else (result, None)


channel = Channel
queue = Queue
lifo_queue = LifoQueue
priority_queue = PriorityQueue
