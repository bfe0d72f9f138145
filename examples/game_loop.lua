-- A game loop: 60 frames a second, in each of which 1,000 behaviours that are written in Python run as
-- tasks, inside a budget of 4 ms. The loop is the host's; here it is in Lua, in game_loop.c in C.
--
--     moonlet examples/game_loop.lua [FRAMES]

local moonlet = require "moonlet"
local py = moonlet.python

local FRAMES = tonumber((...)) or 120
local BEHAVIOURS = 1000
local RATE, BUDGET = 60, 4 -- frames a second, milliseconds

-- Plain blocking code: a behaviour waits for frames, and for the game's time, where it likes.
py.exec [[
import moonlet


class Animal:
    def __init__(self, number):
        self.x = float(number)
        self.speed = 1.0 + number % 3
        self.frames = 0
        self.rests = 0

    def live(self):
        while True:
            for _ in range(20):
                self.x += self.speed * moonlet.next_frame()
                self.frames += 1
            self.rests += 1


animals = []


def spawn_animals(count):
    for number in range(count):
        animals.append(Animal(number))
        moonlet.spawn(animals[-1].live)


def progress():
    return min(a.frames for a in animals), max(a.frames for a in animals)


def in_order():
    """Whether those that come later are never ahead of those before them."""
    return all(a.frames >= b.frames for a, b in zip(animals, animals[1:]))
]]
local game = py.import "__main__"

local clock = moonlet.frames
game.spawn_animals(BEHAVIOURS)

-- The host: one frame each 1/60 second, by the clock of moonlet.now(), which does not drift.
local start = moonlet.now()
local fair, ordered = true, true
for frame = 1, FRAMES do
    moonlet.step(BUDGET)
    -- What the budget was too small for goes on in the next step, before what comes then.
    local least, most = game.progress()
    fair = fair and most - least <= 1
    ordered = ordered and game.in_order()
    local left = start + frame / RATE - moonlet.now()
    if left > 0 then
        py.import("time").sleep(left) -- a game draws, and waits for the screen
    end
end

local least = game.progress()
print(("frames: %d, behaviours: %d"):format(clock.frame, BEHAVIOURS))
print("all moved: " .. tostring(least > 0))
print("fair: " .. tostring(fair) .. ", in order: " .. tostring(ordered))
