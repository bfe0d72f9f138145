#define _GNU_SOURCE /* realpath, pipe2 */
#include "pyenv.h"

#include "../python/embed.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* What `executable -I -c code` prints, at most size - 1 bytes. 0, or -1. */
static int ask(const char *executable, const char *code, char *answer, size_t size) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    char *argv[] = {(char *)executable, "-I", "-S", "-c", (char *)code, NULL};
    pid_t child;
    int failed = posix_spawn(&child, executable, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    size_t length = 0;
    while (!failed && length < size - 1) {
        ssize_t n = read(ends[0], answer + length, size - 1 - length);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        length += (size_t)n;
    }
    answer[length] = '\0';
    close(ends[0]);
    int status = 0;
    if (!failed) {
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
    }
    return failed || status ? -1 : 0;
}

int ml_pyenv_find(const char *path, char *executable, size_t size, char *error,
                  size_t error_size) {
    struct stat info;
    if (stat(path, &info) != 0) {
        snprintf(error, error_size, "python '%s': %s", path, strerror(errno));
        return -1;
    }
    const char *rest = S_ISDIR(info.st_mode) ? "/bin/python" : "";
    /* getpath.py of CPython wants it absolute, but not resolved: a venv's python is a link. */
    char here[PATH_MAX] = "";
    if (path[0] != '/' && !getcwd(here, sizeof here - 1)) here[0] = '\0';
    if (here[0]) strcat(here, "/");
    int length = snprintf(executable, size, "%s%s%s", here, path, rest);
    if (length < 0 || (size_t)length >= size) {
        snprintf(error, error_size, "python '%s': the name is too long", path);
        return -1;
    }
    if (access(executable, X_OK) != 0) {
        snprintf(error, error_size,
                 "python '%s': an interpreter or a virtual environment expected (%s: %s)", path,
                 executable, strerror(errno));
        return -1;
    }
    char version[64];
    static const char code[] =
        "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2], end='')";
    if (ask(executable, code, version, sizeof version) != 0 || !version[0]) {
        snprintf(error, error_size, "python '%s': it does not run as a Python interpreter", path);
        return -1;
    }
    const char *wanted = ml_py_kind();
    if (strcmp(version, wanted) == 0) return 0;
    snprintf(error, error_size, "python '%s' is %s, but this moonlet embeds %s", path, version,
             wanted);
    return -1;
}
