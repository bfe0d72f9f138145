/* Python in the process: started by us, or found running. */

#ifndef ML_EMBED_H
#define ML_EMBED_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ml_py_options {
    const char *executable; /* the interpreter whose prefix and packages to use; NULL: Debian's */
    char *const *argv;      /* sys.argv, ended by NULL; NULL: empty */
    bool signals;           /* let Python handle SIGINT */
    const char *path;       /* a directory to add to sys.path, or NULL */
} ml_py_options;

typedef struct ml_py_module {
    const char *name;
    void *(*init)(void); /* PyObject *(*)(void) */
} ml_py_module;

/* Starts Python, isolated from its environment and in UTF-8 mode, with `modules` (ended by a
   NULL name) built in. If Python runs already, attaches: adds the modules; the calling thread must
   hold the GIL. Afterwards this thread holds the GIL. Repeated calls do nothing. 0, or -1 with a
   message in `error`. */
int ml_py_start(const ml_py_options *options, const ml_py_module *modules, char *error,
                size_t size);

/* Implementation and version that are embedded, as "cpython 3.11". Static. */
const char *ml_py_kind(void);

/* Whether ml_py_start has succeeded. */
bool ml_py_started(void);

/* Whether it was started by us, not found running. */
bool ml_py_is_ours(void);

/* Ends Python if ml_py_start has started it: runs its exit handlers, flushes its files. */
void ml_py_finish(void);

#endif
