"""The clock of village.lua: wakes villagers, whose lives are Lua functions, in virtual time."""

import heapq
import itertools

from greenlet import greenlet
from moonlet import LuaError


class Alarm(Exception):
    """Is thrown into a villager who shall drop everything."""

    def __init__(self, place):
        super().__init__(place)
        self.place = place


class Villager(greenlet):
    def __init__(self, name, life):
        super().__init__(life)
        self.name = name
        self.turns = 0
        self.due = None  # the number of the entry in the queue that will wake this one


class Clock:
    def __init__(self, say):
        self.say = say  # a Lua function
        self.now = 0
        self.queue = []  # (time, number, villager, action, arguments)
        self.numbers = itertools.count()  # equal times: first come, first served
        self.villagers = {}

    def add(self, name, life):
        villager = self.villagers[name] = Villager(name, life)
        self.schedule(0, villager, villager.switch)

    def alarm(self, time, name, place):
        villager = self.villagers[name]
        entry = (time, next(self.numbers), villager, villager.throw, (Alarm(place),))
        heapq.heappush(self.queue, entry)

    def schedule(self, delay, villager, action):
        villager.due = next(self.numbers)
        heapq.heappush(self.queue, (self.now + delay, villager.due, villager, action, ()))

    def run(self, end):
        while self.queue and self.queue[0][0] < end:
            self.now, number, villager, action, arguments = heapq.heappop(self.queue)
            if villager.dead or (action == villager.switch and number != villager.due):
                continue  # an alarm came first
            villager.turns += 1
            try:
                delay = action(*arguments)  # until the villager waits again
            except LuaError as error:
                self.say(villager.name, f"gives up: {getattr(error.value, 'reason', error)}")
                continue
            if not villager.dead:
                self.schedule(delay, villager, villager.switch)
        self.now = end
        for villager in filter(None, self.villagers.values()):  # true: started, and not dead
            villager.throw()  # GreenletExit

    def ranking(self, key):
        return sorted(self.villagers.values(), key=key)
