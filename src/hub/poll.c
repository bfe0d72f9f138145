/* Which file descriptors can be read or written: an epoll set of the scheduler's own, in which each
   descriptor is armed for one event. So one that was closed, and whose number is another's now, is
   noticed when it is armed next (epoll knows files, not numbers). */

#include "hub.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { READ = 1, WRITE = 2, BATCH = 512 };

typedef struct poller {
    int fd;
    uint32_t generation; /* of the descriptor that was added last */
    struct epoll_event events[BATCH];
} poller;

#define POLLER "moonlet.poller"

static poller *check(lua_State *L) { return luaL_checkudata(L, 1, POLLER); }

static int close_poller(lua_State *L) {
    poller *p = check(L);
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
    return 0;
}

/* new_poller(): the poller, and its own file descriptor, which can be read when poller_take has
   something to give. */
static int new_poller(lua_State *L) {
    poller *p = lua_newuserdatauv(L, sizeof *p, 0);
    p->fd = epoll_create1(EPOLL_CLOEXEC);
    p->generation = 0;
    if (p->fd < 0) return luaL_error(L, "epoll_create1: %s", strerror(errno));
    if (luaL_newmetatable(L, POLLER)) {
        lua_pushcfunction(L, close_poller);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    lua_pushinteger(L, p->fd);
    return 2;
}

/* poller_arm(poller, fd, events, generation): waits once for events of `fd`: 1 that it can be read, 2
   written, 3 either. `generation` is what this returned for the descriptor before, or 0. Returns the
   same if the poller knows the file; another generation if it does not, as it is new or was closed
   meanwhile; 0 if it is one that never has to wait (a regular file); or an errno, negative. */
static int arm(lua_State *L) {
    poller *p = check(L);
    int fd = (int)luaL_checkinteger(L, 2);
    lua_Integer wanted = luaL_checkinteger(L, 3);
    uint32_t generation = (uint32_t)luaL_checkinteger(L, 4);
    struct epoll_event event = {.events = EPOLLONESHOT};
    if (wanted & READ) event.events |= EPOLLIN | EPOLLRDHUP;
    if (wanted & WRITE) event.events |= EPOLLOUT;
    int result = -1;
    if (generation) {
        event.data.u64 = (uint64_t)generation << 32 | (uint32_t)fd;
        result = epoll_ctl(p->fd, EPOLL_CTL_MOD, fd, &event);
    }
    if (result != 0 && (!generation || errno == ENOENT)) {
        generation = ++p->generation ? p->generation : ++p->generation;
        event.data.u64 = (uint64_t)generation << 32 | (uint32_t)fd;
        result = epoll_ctl(p->fd, EPOLL_CTL_ADD, fd, &event);
        if (result != 0 && errno == EEXIST) {
            result = epoll_ctl(p->fd, EPOLL_CTL_MOD, fd, &event);
        }
    }
    if (result == 0) {
        lua_pushinteger(L, generation);
    } else {
        lua_pushinteger(L, errno == EPERM ? 0 : -errno);
    }
    return 1;
}

/* poller_remove(poller, fd) */
static int remove_fd(lua_State *L) {
    poller *p = check(L);
    struct epoll_event event = {0}; /* for old kernels */
    epoll_ctl(p->fd, EPOLL_CTL_DEL, (int)luaL_checkinteger(L, 2), &event);
    return 0;
}

/* poller_take(poller, list): fills the list with descriptor, generation and events of what was waited
   for and has come, one after the other. Returns how many there are. */
static int take(lua_State *L) {
    poller *p = check(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    int count;
    do {
        count = epoll_wait(p->fd, p->events, BATCH, 0);
    } while (count < 0 && errno == EINTR);
    for (int i = 0; i < count; i++) {
        const struct epoll_event *e = &p->events[i];
        lua_Integer events = 0;
        if (e->events & ~(uint32_t)EPOLLOUT) events |= READ;
        if (e->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) events |= WRITE;
        lua_pushinteger(L, (lua_Integer)(e->data.u64 & 0xffffffff));
        lua_rawseti(L, 2, 3 * i + 1);
        lua_pushinteger(L, (lua_Integer)(e->data.u64 >> 32));
        lua_rawseti(L, 2, 3 * i + 2);
        lua_pushinteger(L, events);
        lua_rawseti(L, 2, 3 * i + 3);
    }
    lua_pushinteger(L, count < 0 ? 0 : count);
    return 1;
}

void ml_poll_register(lua_State *L) {
    static const luaL_Reg functions[] = {{"new_poller", new_poller},
                                         {"poller_arm", arm},
                                         {"poller_remove", remove_fd},
                                         {"poller_take", take},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
