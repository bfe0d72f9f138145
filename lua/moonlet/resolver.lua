-- Names of hosts.

local hub = require "moonlet.hub"
local oserror = require "moonlet.oserror"
local request = require "moonlet.request"

local resolver = {}

local uv = request.uv

--- Checks a port.
function resolver.check_port(port, name, index)
    local n = math.type(port) == "float" and math.tointeger(port) or port
    if math.type(n) ~= "integer" then
        hub.bad_argument(index, name, "port", port)
    elseif n < 0 or n > 65535 then
        local text = "bad argument #%d to '%s' (port from 0 to 65535 expected, got %d)"
        hub.misuse("ValueError", text:format(index, name, n))
    end
    return n
end

--- Whether the text is an IPv4 address. (Those of IPv6 have so many forms that the system is asked.)
function resolver.is_address(host)
    local a, b, c, d = host:match "^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$"
    return a ~= nil and math.max(tonumber(a), tonumber(b), tonumber(c), tonumber(d)) < 256
end

--- The addresses of a host: a list of { address, port, family }, without repetitions. `kind` is "stream" or
--- "dgram". Raises socket.gaierror. One that is an address is not asked for.
function resolver.resolve(host, service, kind, what)
    if resolver.is_address(host) and (service == nil or math.type(service) == "integer") then
        return { { address = host, port = service or 0, family = "inet" } }
    end
    local ok, list = request.call(what, host, nil, nil, uv.getaddrinfo, host, service and tostring(service) or nil,
        { socktype = kind or "stream" })
    if not ok then
        oserror.raise(list, host .. (service and ":" .. service or ""))
    end
    local result, seen = {}, {}
    for _, found in ipairs(list) do
        local key = found.addr .. " " .. (found.port or 0)
        if not seen[key] then
            seen[key] = true
            result[#result + 1] = { address = found.addr, port = found.port or 0, family = found.family }
        end
    end
    return result
end

return resolver
