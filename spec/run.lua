-- Runs busted in the interpreter that runs this file, the program or lua5.4:
--   build/moonlet spec/run.lua [options] [files]

-- .busted names an interpreter for the command `busted`: not here.
table.insert(arg, 1, "--ignore-lua")
require "busted.runner" { standalone = false }
