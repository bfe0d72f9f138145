-- moonlet.fs: files and directories, without keeping other tasks waiting.

local moonlet = require "moonlet"
local support = require "spec.support"
local fs = moonlet.fs
local py = moonlet.python
local message, error_of = support.message, support.error_of
local is = support.is

--- Runs f(path of a new directory) in a task.
local function task(f)
    return support.task(function()
        local directory = fs.mkdtemp()
        local ok, err = pcall(f, directory)
        fs.rmtree(directory)
        if not ok then
            error(err, 0)
        end
    end)
end

describe("a file", function()
    it("is written and read in one go", task(function(dir)
        fs.write(dir .. "/a", "one\0\xff\n")
        fs.append(dir .. "/a", { "two", "three" })
        assert.equal("one\0\xff\ntwothree", fs.read(dir .. "/a"))
        fs.write(dir .. "/a", "")
        assert.equal("", fs.read(dir .. "/a"))
    end))

    it("is as large as it is", task(function(dir)
        local big = ("0123456789"):rep(500000)
        fs.write(dir .. "/big", big)
        assert.is_true(fs.read(dir .. "/big") == big)
        assert.equal(5000000, fs.stat(dir .. "/big").size)
    end))

    it("is read by lines, bytes, and up to delimiters", task(function(dir)
        fs.write(dir .. "/a", "one\r\ntwo\n\nkey=value;rest")
        local f <close> = fs.open(dir .. "/a")
        assert.equal("one", f:read_line())
        assert.equal("tw", f:read(2))
        assert.equal("o", f:read_line())
        assert.equal("", f:read_line())
        assert.equal("key", f:read_until "=")
        assert.equal("val", f:read_exactly(3))
        assert.equal("ue;rest", f:read_all())
        assert.is_nil(f:read())
        local all = {}
        for line in fs.lines(dir .. "/a") do
            all[#all + 1] = line
        end
        assert.same({ "one", "two", "", "key=value;rest" }, all)
    end))

    it("has a position, of which reading ahead is not a part", task(function(dir)
        local f <close> = fs.open(dir .. "/a", "w+")
        f:write "0123456789"
        assert.equal(10, f:seek())
        assert.equal(0, f:seek("set"))
        assert.equal("012", f:read_exactly(3))
        assert.equal(3, f:seek())
        f:write "abc"
        assert.equal("6789", f:read_all())
        assert.equal(8, f:seek("end", -2))
        assert.equal("89", f:read())
        assert.equal(2, f:seek("cur", -8))
        f:truncate()
        f:sync()
        assert.equal("01", fs.read(dir .. "/a"))
        assert.equal(2, f:stat().size)
        assert.matches("'set', 'cur' or 'end' expected, got 'x'", message(f.seek, f, "x"))
        assert.matches("Invalid argument", message(f.seek, f, "set", -1))
    end))

    it("is seen to have grown", task(function(dir)
        fs.write(dir .. "/a", "one\n")
        local f <close> = fs.open(dir .. "/a")
        assert.equal("one", f:read_line())
        assert.is_nil(f:read_line())
        fs.append(dir .. "/a", "two\n")
        assert.equal("two", f:read_line())
    end))

    it("is opened in the modes of Lua's io.open, and x", task(function(dir)
        local path = dir .. "/a"
        is(error_of(fs.open, path), py.builtins.FileNotFoundError)
        is(error_of(fs.open, path, "r+"), py.builtins.FileNotFoundError)
        local f = fs.open(path, "x")
        f:write "abc"
        f:close()
        is(error_of(fs.open, path, "x"), py.builtins.FileExistsError)
        f = fs.open(path, "a+b")
        f:seek "set"
        f:write "def"
        f:seek "set"
        assert.equal("abcdef", f:read_all())
        f:close()
        assert.equal("bad argument #2 to 'open' (there is no mode 'rw')", message(fs.open, path, "rw"))
        assert.equal("bad argument #1 to 'open' (string expected, got nil)", message(fs.open))
        assert.equal("bad argument #1 to 'open' (it has a zero byte)", message(fs.open, "a\0b"))
        is(error_of(fs.open, dir), py.builtins.IsADirectoryError)
    end))

    it("tells of errors as Python does", task(function(dir)
        local err = error_of(fs.read, dir .. "/none")
        is(err, py.builtins.FileNotFoundError)
        assert.equal(("[Errno 2] No such file or directory: '%s/none'"):format(dir), py.builtins.str(err))
        assert.equal(dir .. "/none", err.filename)
        local f <close> = fs.open(dir .. "/a", "w")
        assert.matches("Bad file descriptor", message(f.read, f))
        assert.equal("bad argument #1 to 'write' (string expected, got number)", message(f.write, f, 1))
    end))

    it("is closed once, and not used afterwards", task(function(dir)
        local f = fs.open(dir .. "/a", "w")
        f:close()
        f:close()
        assert.is_true(f.closed)
        assert.equal(("moonlet.Closed: file %s/a is closed"):format(dir), message(f.write, f, "x"))
        is(error_of(f.read, f), moonlet.Closed)
        do
            local g <close> = fs.open(dir .. "/a")
            f = g
        end
        assert.is_true(f.closed)
    end))

    it("does not keep other tasks waiting", function()
        -- A pipe that nobody writes blocks one thread, not the tasks.
        local path = os.tmpname()
        os.remove(path)
        os.execute("mkfifo " .. path)
        moonlet.run(function()
            local reader = moonlet.spawn(fs.read, path)
            for _ = 1, 10 do
                moonlet.sleep(0.001)
            end
            assert.equal("waiting", reader.status)
            fs.write(path, "through the pipe")
            assert.equal("through the pipe", reader:join(10))
        end)
        os.remove(path)
    end)

    it("is closed when opening it was cancelled", task(function(dir)
        fs.write(dir .. "/a", "x")
        local function descriptors()
            return #fs.list "/proc/self/fd"
        end
        local before = descriptors()
        for _ = 1, 20 do
            local t = moonlet.spawn(fs.open, dir .. "/a")
            moonlet.sleep(0)
            t:cancel()
            t:wait()
        end
        moonlet.sleep(0.05)
        assert.equal(before, descriptors())
        do
            fs.open(dir .. "/a")
        end
        support.collect()
        assert.equal(before, descriptors())
    end))
end)

describe("moonlet.fs", function()
    it("makes, lists and removes", task(function(dir)
        fs.mkdir(dir .. "/d")
        is(error_of(fs.mkdir, dir .. "/d"), py.builtins.FileExistsError)
        fs.mkdir(dir .. "/x/y/z", { parents = true })
        fs.mkdir(dir .. "/x/y/z", { parents = true })
        fs.write(dir .. "/f", "x")
        fs.symlink("f", dir .. "/s")
        local names, types = fs.list(dir)
        assert.same({ "d", "f", "s", "x" }, names)
        assert.same({ d = "directory", f = "file", s = "link", x = "directory" }, types)
        local seen = {}
        for name, kind in fs.scandir(dir) do
            seen[name] = kind
        end
        assert.same(types, seen)
        is(error_of(fs.rmdir, dir .. "/x"), py.builtins.OSError)
        fs.rmtree(dir .. "/x")
        fs.rmdir(dir .. "/d")
        fs.unlink(dir .. "/f")
        assert.is_false(fs.exists(dir .. "/s"))
        assert.equal("link", fs.lstat(dir .. "/s").type)
        assert.equal("f", fs.readlink(dir .. "/s"))
        fs.unlink(dir .. "/s")
        assert.same({}, (fs.list(dir)))
        is(error_of(fs.unlink, dir .. "/f"), py.builtins.FileNotFoundError)
        is(error_of(fs.list, dir .. "/f"), py.builtins.FileNotFoundError)
        assert.matches("there is no option 'parent'", message(fs.mkdir, dir, { parent = true }))
    end))

    it("renames, copies and links", task(function(dir)
        fs.write(dir .. "/a", "a")
        fs.rename(dir .. "/a", dir .. "/b")
        fs.copy(dir .. "/b", dir .. "/c")
        fs.link(dir .. "/b", dir .. "/d")
        fs.append(dir .. "/b", "b")
        assert.same({ false, "ab", "a", "ab" },
            { fs.exists(dir .. "/a"), fs.read(dir .. "/b"), fs.read(dir .. "/c"), fs.read(dir .. "/d") })
        assert.equal(fs.realpath(dir) .. "/b", fs.realpath(dir .. "/./b"))
        is(error_of(fs.rename, dir .. "/none", dir .. "/x"), py.builtins.FileNotFoundError)
        assert.equal("bad argument #2 to 'rename' (string expected, got nil)", message(fs.rename, "a"))
    end))

    it("tells what there is", task(function(dir)
        fs.write(dir .. "/a", "abc")
        fs.chmod(dir .. "/a", 384)
        local stat = fs.stat(dir .. "/a")
        assert.same({ "file", 3, 384, 1 }, { stat.type, stat.size, stat.mode & 511, stat.nlink })
        assert.is_true(math.abs(stat.mtime - os.time()) < 100)
        assert.equal("directory", fs.stat(dir).type)
        assert.is_true(fs.exists(dir))
        assert.is_false(fs.exists(dir .. "/a/b"))
        is(error_of(fs.stat, dir .. "/none"), py.builtins.FileNotFoundError)
    end))

    it("makes files and directories whose names are new", task(function(dir)
        local f <close>, path = fs.mkstemp(dir .. "/t-")
        f:write "x"
        assert.equal("x", fs.read(path))
        assert.matches("/t%-......$", path)
        local other = fs.mkdtemp(dir .. "/d-")
        assert.equal("directory", fs.stat(other).type)
    end))

    it("watches a directory", task(function(dir)
        local watcher <close> = fs.watch(dir)
        is(error_of(watcher.wait, watcher, 0.01), py.builtins.TimeoutError)
        fs.write(dir .. "/a", "x")
        local name, what = watcher:wait(5)
        assert.same({ "a", "rename" }, { name, what })
        name, what = watcher:wait(5)
        assert.same({ "a", "change" }, { name, what })
        is(error_of(fs.watch, dir .. "/none"), py.builtins.FileNotFoundError)
        local t = moonlet.spawn(function()
            while true do
                watcher:wait()
            end
        end)
        moonlet.sleep(0.01)
        watcher:close()
        is(error_of(t.join, t), moonlet.Closed)
    end))
end)
