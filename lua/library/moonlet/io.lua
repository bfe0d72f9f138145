---@meta moonlet

-- Waiting for I/O: streams, datagrams, files, processes, signals, file descriptors. See ../moonlet.lua.

---@class moonlet
---@field net moonlet.net The network, and pipes.
---@field fs moonlet.fs Files.
---@field process moonlet.process Other programs.
---@field signal moonlet.signal Signals of the operating system.
local moonlet = {}

---Waits until a file descriptor, or a Python object with fileno(), can be read, or is at its end, or has an error.
---Errors: OSError for a bad descriptor; Closed.
---@param fd integer | moonlet.PythonObject
---@param timeout? number seconds
---@return boolean ready false: not within the timeout
function moonlet.wait_readable(fd, timeout) end

---Waits until a file descriptor, or a Python object with fileno(), can be written.
---Errors: as wait_readable.
---@param fd integer | moonlet.PythonObject
---@param timeout? number seconds
---@return boolean ready false: not within the timeout
function moonlet.wait_writable(fd, timeout) end

---To be called before a file descriptor is closed that tasks may wait for: they get moonlet.Closed.
---Errors: what is no file descriptor.
---@param fd integer | moonlet.PythonObject
function moonlet.notify_closing(fd) end

---A connection over TCP or a Unix socket, a pipe, or a terminal. A to-be-closed variable closes it. Reading takes nothing before all that was asked for is there, so errors, timeouts and cancels lose nothing; one task reads at a time.
---@class moonlet.Stream
---@field kind "tcp"|"unix"|"pipe"|"tty"
---@field closed boolean Whether it was closed on this side.
---@field local_address string As "127.0.0.1:80", or a path; "" if there is none.
---@field local_host string? Of TCP.
---@field local_port integer? Of TCP.
---@field peer_address string That of the other side.
---@field peer_host string? Of TCP.
---@field peer_port integer? Of TCP.
local Stream = {}

---Waits for some bytes.
---Errors: OSError, such as ConnectionResetError; TimeoutError; Closed; another task that reads.
---@param n? integer at most so many
---@param timeout? number seconds
---@return string? data nil at the end
function Stream:read(n, timeout) end

---Waits for n bytes.
---Errors: those of read; EOFError if the end comes before.
---@param n integer
---@param timeout? number seconds
---@return string? data nil at the end
function Stream:read_exactly(n, timeout) end

---Waits for a delimiter, and takes it, too.
---Errors: those of read; EOFError if the end comes before; ValueError if it is not within `max` bytes.
---@param delimiter string
---@param max? integer
---@param timeout? number seconds
---@return string? data what is before the delimiter; nil at the end
function Stream:read_until(delimiter, max, timeout) end

---Waits for a line, which ends with "\n" or "\r\n" or the stream.
---Errors: those of read; ValueError if it is longer than `max` bytes.
---@param max? integer
---@param timeout? number seconds
---@return string? line without its end; nil at the end of the stream
function Stream:read_line(max, timeout) end

---For `for line in stream:lines() do`.
---Errors: none; the iteration those of read.
---@return fun(): string?
function Stream:lines() end

---Waits for the end.
---Errors: those of read; ValueError if there are more than `max` bytes.
---@param max? integer
---@param timeout? number seconds
---@return string
function Stream:read_all(max, timeout) end

---Writes a string, or a list of strings, and waits until the system has taken it. When the wait ends before, what is left is written all the same, later.
---Errors: OSError, such as BrokenPipeError; TimeoutError; Closed.
---@param data string | string[]
---@param timeout? number seconds
function Stream:write(data, timeout) end

---No more will be written: the other side reads the end. Reading goes on.
---Errors: OSError; Closed.
function Stream:shutdown() end

---Closes it. Who waits for it gets Closed.
---Errors: none.
function Stream:close() end

---The file descriptor.
---Errors: Closed.
---@return integer
function Stream:fileno() end

---Whether what is written is sent at once (TCP). It is by default.
---Errors: OSError; Closed; a stream of another kind.
---@param on? boolean true by default
function Stream:nodelay(on) end

---After how much silence it is asked whether the other side is still there (TCP).
---Errors: OSError; Closed; a stream of another kind.
---@param seconds integer | false | nil never, if there is none
function Stream:keepalive(seconds) end

---What accepts connections. `for stream in listener do` goes on until it is closed; a to-be-closed variable closes it.
---@class moonlet.Listener
---@field address string As "127.0.0.1:80", or a path.
---@field host string? Of TCP.
---@field port integer? Of TCP.
---@field closed boolean Whether it was closed.
---@overload fun(): moonlet.Stream?
local Listener = {}

---Waits for the next connection.
---Errors: TimeoutError; Closed; OSError.
---@param timeout? number seconds
---@return moonlet.Stream
function Listener:accept(timeout) end

---Closes it. Who waits for a connection gets Closed.
---Errors: none.
function Listener:close() end

---A socket for datagrams. A to-be-closed variable closes it.
---@class moonlet.UdpSocket
---@field address string What it is bound to, as "127.0.0.1:53"; "" if to nothing.
---@field host string?
---@field port integer?
---@field closed boolean Whether it was closed.
local UdpSocket = {}

---From now on it sends there, and receives only from there.
---Errors: OSError; socket.gaierror; Closed.
---@param host string
---@param port integer
function UdpSocket:connect(host, port) end

---Sends a datagram; without a host, to where it is connected.
---Errors: OSError; socket.gaierror; Closed.
---@param data string
---@param host? string
---@param port? integer
function UdpSocket:send(data, host, port) end

---Waits for the next datagram.
---Errors: TimeoutError; Closed; OSError.
---@param timeout? number seconds
---@return string data
---@return string host who has sent it
---@return integer port
function UdpSocket:receive(timeout) end

---Whether it may send to all of a network.
---Errors: OSError; Closed.
---@param on? boolean true by default
function UdpSocket:broadcast(on) end

---Closes it. Who waits for a datagram gets Closed.
---Errors: none.
function UdpSocket:close() end

---@class moonlet.net
local net = {}

---Connects by TCP; of a host with several addresses, the first that answers.
---Errors: OSError, such as ConnectionRefusedError; socket.gaierror; TimeoutError.
---@param host string
---@param port integer
---@param options? number | { timeout?: number, nodelay?: boolean, keepalive?: integer } a number is the timeout, in seconds, for all of it; nodelay is true by default
---@return moonlet.Stream
function net.connect(host, port, options) end

---Connects to a Unix socket.
---Errors: OSError, such as FileNotFoundError; TimeoutError.
---@param path string
---@param timeout? number seconds
---@return moonlet.Stream
function net.connect_unix(path, timeout) end

---A listener for TCP connections.
---Errors: OSError; socket.gaierror.
---@param host string? all addresses of this machine by default
---@param port integer 0: any that is free
---@param backlog? integer how many connections the system keeps
---@return moonlet.Listener
function net.listen(host, port, backlog) end

---A listener on a Unix socket, whose file is removed when it is closed.
---Errors: OSError.
---@param path string
---@param backlog? integer
---@return moonlet.Listener
function net.listen_unix(path, backlog) end

---Calls handler(stream) in a task for each connection, and closes the stream afterwards, until the listener is closed and the last handler has returned. With a host and a port it makes the listener. Errors of handlers go to moonlet.on_error.
---Errors: those of listen; a cancel, which ends all connections.
---@param where moonlet.Listener | string | nil a listener, or a host
---@param port integer | fun(stream: moonlet.Stream) after a listener, the handler
---@param handler? fun(stream: moonlet.Stream)
function net.serve(where, port, handler) end

---A UDP socket.
---Errors: OSError; socket.gaierror.
---@param host? string where it is bound
---@param port? integer 0: any that is free
---@return moonlet.UdpSocket
function net.udp(host, port) end

---The addresses of a host.
---Errors: socket.gaierror.
---@param host string
---@param service? string | integer a name, as "http", or a port
---@return { address: string, port: integer, family: "inet" | "inet6" }[]
function net.resolve(host, service) end

---The name of the host that has an address.
---Errors: socket.gaierror.
---@param address string
---@return string
function net.reverse(address) end

---A pipe.
---Errors: OSError.
---@return moonlet.Stream reading
---@return moonlet.Stream writing
function net.pipe() end

---Two streams: what is written to one of them can be read from the other.
---Errors: OSError.
---@return moonlet.Stream
---@return moonlet.Stream
function net.socketpair() end

---A stream for a file descriptor, which belongs to it from now on; a file, if it is one.
---Errors: OSError.
---@param fd integer
---@return moonlet.Stream | moonlet.File
function net.open(fd) end

---The standard input.
---Errors: OSError.
---@return moonlet.Stream | moonlet.File
function net.stdin() end

---The standard output.
---Errors: OSError.
---@return moonlet.Stream | moonlet.File
function net.stdout() end

---The standard error output.
---Errors: OSError.
---@return moonlet.Stream | moonlet.File
function net.stderr() end

---An open file. A to-be-closed variable closes it. It reads as a stream does.
---@class moonlet.File
---@field path string
---@field closed boolean Whether it was closed.
local File = {}

---Reads some bytes.
---Errors: OSError; Closed.
---@param n? integer at most so many
---@param timeout? number seconds
---@return string? data nil at the end
function File:read(n, timeout) end

---Reads n bytes.
---Errors: those of read; EOFError if the end comes before.
---@param n integer
---@param timeout? number seconds
---@return string? data nil at the end
function File:read_exactly(n, timeout) end

---Reads up to a delimiter, and takes it, too.
---Errors: those of read; EOFError if the end comes before; ValueError if it is not within `max` bytes.
---@param delimiter string
---@param max? integer
---@param timeout? number seconds
---@return string? data what is before the delimiter; nil at the end
function File:read_until(delimiter, max, timeout) end

---Reads a line.
---Errors: those of read; ValueError if it is longer than `max` bytes.
---@param max? integer
---@param timeout? number seconds
---@return string? line without its end; nil at the end of the file
function File:read_line(max, timeout) end

---For `for line in file:lines() do`.
---Errors: none; the iteration those of read.
---@return fun(): string?
function File:lines() end

---Reads the rest.
---Errors: those of read; ValueError if there are more than `max` bytes.
---@param max? integer
---@param timeout? number seconds
---@return string
function File:read_all(max, timeout) end

---Writes a string, or a list of strings.
---Errors: OSError; Closed.
---@param data string | string[]
function File:write(data) end

---Sets the position, as in Lua's io.
---Errors: OSError; Closed.
---@param whence? string "set", "end", or "cur", the default
---@param offset? integer 0 by default
---@return integer position
function File:seek(whence, offset) end

---As moonlet.fs.stat.
---Errors: OSError; Closed.
---@return table
function File:stat() end

---Cuts the file off.
---Errors: OSError; Closed.
---@param size? integer the position by default
function File:truncate(size) end

---Waits until what was written is on the disk.
---Errors: OSError; Closed.
function File:sync() end

---The file descriptor.
---Errors: Closed.
---@return integer
function File:fileno() end

---Closes it.
---Errors: OSError.
function File:close() end

---Tells of changes of a file, or in a directory. A to-be-closed variable closes it.
---@class moonlet.Watcher
---@field closed boolean Whether it was closed.
local Watcher = {}

---Waits for the next change.
---Errors: TimeoutError; Closed.
---@param timeout? number seconds
---@return string name of the file
---@return "change"|"rename" what rename: it has come or gone
function Watcher:wait(timeout) end

---Closes it. Who waits gets Closed.
---Errors: none.
function Watcher:close() end

---@class moonlet.fs
local fs = {}

---Opens a file.
---Errors: OSError, such as FileNotFoundError.
---@param path string
---@param mode? string "r", the default, "w", "a" as in Lua's io.open, "x" for a new file; with "+" for both reading and writing
---@return moonlet.File
function fs.open(path, mode) end

---All of a file.
---Errors: OSError.
---@param path string
---@return string
function fs.read(path) end

---Replaces the content of a file, which is made if it does not exist.
---Errors: OSError.
---@param path string
---@param data string | string[]
function fs.write(path, data) end

---Adds to the end of a file, which is made if it does not exist.
---Errors: OSError.
---@param path string
---@param data string | string[]
function fs.append(path, data) end

---For `for line in fs.lines(path) do`.
---Errors: OSError.
---@param path string
---@return fun(): string?
function fs.lines(path) end

---What there is: `type` ("file", "directory", "link", ...), `size`, `mode`, `uid`, `gid`, `ino`, `dev`, `nlink`, and the times `mtime`, `atime`, `ctime`, `birthtime` in seconds.
---Errors: OSError, such as FileNotFoundError.
---@param path string
---@return table
function fs.stat(path) end

---The same, of a symbolic link itself.
---Errors: OSError.
---@param path string
---@return table
function fs.lstat(path) end

---Whether there is something.
---Errors: OSError, such as PermissionError.
---@param path string
---@return boolean
function fs.exists(path) end

---What is in a directory.
---Errors: OSError.
---@param path string
---@return string[] names sorted
---@return table<string, string> types of each name
function fs.list(path) end

---For `for name, type in fs.scandir(path) do`.
---Errors: OSError.
---@param path string
---@return fun(): string?, string?
function fs.scandir(path) end

---Makes a directory.
---Errors: OSError, such as FileExistsError.
---@param path string
---@param options? { parents?: boolean, mode?: integer } parents: those above, too, and it may exist already
function fs.mkdir(path, options) end

---Removes an empty directory.
---Errors: OSError.
---@param path string
function fs.rmdir(path) end

---Removes a file.
---Errors: OSError.
---@param path string
function fs.unlink(path) end

---Removes a directory with all that is in it. Symbolic links are not followed.
---Errors: OSError.
---@param path string
function fs.rmtree(path) end

---Gives a file another name; what has that is replaced.
---Errors: OSError.
---@param from string
---@param to string
function fs.rename(from, to) end

---Copies a file.
---Errors: OSError.
---@param from string
---@param to string
function fs.copy(from, to) end

---Gives a file a second name.
---Errors: OSError.
---@param from string
---@param to string
function fs.link(from, to) end

---Makes a symbolic link.
---Errors: OSError.
---@param target string
---@param path string
function fs.symlink(target, path) end

---Where a symbolic link leads to.
---Errors: OSError.
---@param path string
---@return string
function fs.readlink(path) end

---The absolute path, without symbolic links.
---Errors: OSError.
---@param path string
---@return string
function fs.realpath(path) end

---Sets who may do what.
---Errors: OSError.
---@param path string
---@param mode integer
function fs.chmod(path, mode) end

---A new directory.
---Errors: OSError.
---@param prefix? string what its path begins with
---@return string path
function fs.mkdtemp(prefix) end

---A new file, open for both reading and writing.
---Errors: OSError.
---@param prefix? string what its path begins with
---@return moonlet.File
---@return string path
function fs.mkstemp(prefix) end

---A watcher of a file, or of what is in a directory.
---Errors: OSError.
---@param path string
---@return moonlet.Watcher
function fs.watch(path) end

---A program that runs, or has ended. A to-be-closed variable closes it.
---@class moonlet.Process
---@field stdin moonlet.Stream? What it reads, if that is a pipe.
---@field stdout moonlet.Stream? What it writes.
---@field stderr moonlet.Stream?
---@field pid integer
---@field ended boolean Whether it has ended.
---@field code integer? The exit status, as of wait; nil before the end.
local Process = {}

---Waits until the program has ended.
---Errors: TimeoutError.
---@param timeout? number seconds
---@return integer code its exit status; minus the number of the signal that has ended it
---@return string? signal the name of that
function Process:wait(timeout) end

---Sends it a signal.
---Errors: what is no signal; OSError.
---@param signal? string | integer SIGTERM by default
---@return boolean sent false: it has ended
function Process:kill(signal) end

---Closes the streams, ends the program with SIGKILL if it has not ended, and waits for it.
---Errors: none.
function Process:close() end

---What moonlet.process.spawn takes: the program, its arguments, and options. "pipe" is the default of stdin, stdout and stderr.
---@class moonlet.ProcessOptions
---@field [integer] string | number
---@field stdin? "pipe" | "inherit" | "null" | integer | moonlet.Stream | moonlet.File
---@field stdout? "pipe" | "inherit" | "null" | integer | moonlet.Stream | moonlet.File
---@field stderr? "pipe" | "inherit" | "null" | "stdout" | integer | moonlet.Stream | moonlet.File
---@field cwd? string The directory it begins in.
---@field env? table<string, string | number> Replaces the environment.
---@field uid? integer
---@field gid? integer
---@field detached? boolean In a session of its own.
---@field input? string What it reads; of run.
---@field timeout? number Seconds; of run.

---@class moonlet.process
local process = {}

---Starts a program, which is searched for in PATH.
---Errors: OSError, such as FileNotFoundError.
---@param file string | moonlet.ProcessOptions the program; or a table with it, its arguments and options
---@param args? table the list of its arguments, strings and numbers
---@param options? moonlet.ProcessOptions
---@return moonlet.Process
function process.spawn(file, args, options) end

---Runs a program to its end. A cancel and the timeout kill it.
---Errors: OSError; TimeoutError.
---@param file string | moonlet.ProcessOptions the program; or a table with it, its arguments and options
---@param args? table the list of its arguments, strings and numbers
---@param options? moonlet.ProcessOptions
---@return integer code as of Process:wait
---@return string? stdout what it has written, if that is a pipe
---@return string? stderr
function process.run(file, args, options) end

---Keeps the signals that come. `for name in listener do` goes on until it is closed; a to-be-closed variable closes it.
---@class moonlet.SignalListener
---@field closed boolean Whether it was closed.
---@overload fun(): string?
local SignalListener = {}

---Waits for the next signal.
---Errors: Closed.
---@param timeout? number seconds
---@return string? name nil: none within the timeout
function SignalListener:wait(timeout) end

---The signals do what they did before. Who waits for one gets Closed.
---Errors: none.
function SignalListener:close() end

---@class moonlet.signal
local signal = {}

---Waits for a signal, which meanwhile does not do what it does otherwise.
---Errors: what is no signal; OSError for SIGKILL and SIGSTOP.
---@param name string | integer | table "SIGTERM"; or several, of which the first is waited for
---@param timeout? number seconds
---@return string? name nil: none within the timeout
function signal.wait(name, timeout) end

---From now on keeps the signals of these names, which no longer do what they do otherwise.
---Errors: as wait.
---@param ... string | integer
---@return moonlet.SignalListener
function signal.listen(...) end

return moonlet
