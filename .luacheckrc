std = "lua54"
max_line_length = 120 -- as StyLua
exclude_files = { "build*/" }

files["spec"] = { std = "+busted" }
-- Declarations: functions without a body, lines as long as what they say.
files["lua/library"] = { ignore = { "212", "241" }, max_line_length = false }
