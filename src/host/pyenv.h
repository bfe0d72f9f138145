/* Finding the interpreter that a user names. */

#ifndef ML_PYENV_H
#define ML_PYENV_H

#include <stddef.h>

/* `path` is an interpreter, or a directory with bin/python (a virtual environment): its path goes
   to `executable`. It is run once to see that it is the CPython that moonlet embeds. 0, or -1 with
   a message in `error`. */
int ml_pyenv_find(const char *path, char *executable, size_t size, char *error, size_t error_size);

#endif
