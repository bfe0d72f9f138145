#include "embed.h"
#include "pygreenlet.h"

#include <stdio.h>

#ifndef MOONLET_PYTHON
#define MOONLET_PYTHON "/usr/bin/python3"
#endif

static bool started;
static bool ours;

bool ml_py_started(void) { return started; }
bool ml_py_is_ours(void) { return ours; }

const char *ml_py_kind(void) { return ML_PYTHON_KIND; }

/* The exception that is set, in one line. */
static int fail(char *error, size_t size, const char *what) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *s = value ? PyObject_Str(value) : NULL;
    const char *text = s ? PyUnicode_AsUTF8(s) : NULL;
    snprintf(error, size, "%s: %s", what, text ? text : "unknown error");
    Py_XDECREF(s);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    PyErr_Clear();
    return -1;
}

static PyStatus configure(PyConfig *config, const ml_py_options *options) {
    const char *executable = options->executable ? options->executable : MOONLET_PYTHON;
    config->install_signal_handlers = options->signals;
    PyStatus status = PyConfig_SetBytesString(config, &config->program_name, executable);
    if (PyStatus_Exception(status)) return status;
    status = PyConfig_SetBytesString(config, &config->executable, executable);
    if (PyStatus_Exception(status)) return status;
    Py_ssize_t count = 0;
    while (options->argv && options->argv[count]) count++;
    return PyConfig_SetBytesArgv(config, count, options->argv);
}

static int start(const ml_py_options *options, char *error, size_t size) {
    PyPreConfig preconfig;
    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&preconfig);
    if (PyStatus_Exception(status)) goto failed;
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    status = configure(&config, options);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (!PyStatus_Exception(status)) {
        ours = true;
        return 0;
    }
failed:
    snprintf(error, size, "cannot start Python: %s",
             status.err_msg ? status.err_msg : "it wants to exit");
    return -1;
}

/* Python runs already: its modules are added by hand. */
static int attach(const ml_py_module *modules, char *error, size_t size) {
    if (!PyGILState_Check()) {
        /* Taken here it would have to be kept, and whoever released it would wait for ever. */
        snprintf(
            error, size,
            "Python runs already, but this thread has not got its GIL; take it before moonlet "
            "is loaded, and hold it while Lua runs");
        return -1;
    }
    PyObject *loaded = PyImport_GetModuleDict();
    for (const ml_py_module *m = modules; m->name; m++) {
        if (PyDict_GetItemString(loaded, m->name)) {
            snprintf(error, size,
                     "Python has imported another module '%s' already; load moonlet first",
                     m->name);
            return -1;
        }
    }
    for (const ml_py_module *m = modules; m->name; m++) {
        PyObject *module = m->init();
        if (!module) return fail(error, size, m->name);
        int result = PyDict_SetItemString(loaded, m->name, module);
        Py_DECREF(module);
        if (result != 0) return fail(error, size, m->name);
    }
    return 0;
}

static int add_path(const char *path) {
    PyObject *list = PySys_GetObject("path");
    PyObject *item = PyUnicode_DecodeFSDefault(path);
    int result = list && item ? PyList_Append(list, item) : -1;
    Py_XDECREF(item);
    return result;
}

int ml_py_start(const ml_py_options *options, const ml_py_module *modules, char *error,
                size_t size) {
    if (started) return 0;
    if (Py_IsInitialized()) {
        if (attach(modules, error, size) != 0) return -1;
    } else {
        for (const ml_py_module *m = modules; m->name; m++) {
            if (PyImport_AppendInittab(m->name, (PyObject * (*)(void)) m->init) != 0) {
                snprintf(error, size, "cannot start Python: out of memory");
                return -1;
            }
        }
        if (start(options, error, size) != 0) return -1;
        for (const ml_py_module *m = modules; m->name; m++) {
            PyObject *module = PyImport_ImportModule(m->name);
            if (!module) return fail(error, size, m->name);
            Py_DECREF(module);
        }
    }
    if (options->path && add_path(options->path) != 0) return fail(error, size, options->path);
    started = true;
    return 0;
}

void ml_py_finish(void) {
    if (!started || !ours || !Py_IsInitialized()) return;
    if (!PyGILState_Check()) return; /* another thread is in Python: it must not be pulled away */
    started = false;
    Py_FinalizeEx();
}
